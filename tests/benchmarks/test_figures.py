"""Percentiles and costs are what they say."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from benchmarks.figures import Cost, percentile, spread


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100), (0, 1)])
def test_nearest_rank(percent: float, expected: float) -> None:
    assert percentile(list(range(1, 101)), percent) == pytest.approx(expected, abs=1)


def test_the_largest_is_the_maximum_and_nothing_has_none() -> None:
    assert spread([3.0, 1.0, 2.0])["max"] == 3.0
    assert spread([3.0, 1.0, 2.0])["p50"] == 2.0
    assert math.isnan(spread([])["p99"])


def test_a_process_has_costs(tmp_path: Path) -> None:
    cost = Cost.of(os.getpid(), tmp_path)
    assert cost.own_cpu > 0
    assert cost.own_rss > 2**20
