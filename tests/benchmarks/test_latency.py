"""A benchmark round, small, against the floor: correctness figures only, never timings."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from benchmarks.__main__ import latency_table
from benchmarks.latency import Workload, medians, one_round, write_notebooks
from benchmarks.targets import Floor

SMALL = Workload(clients=4, rooms=2, seconds=1.5, pace=0.02, load_processes=2)


def test_seeded_notebooks_are_valid(tmp_path: Path) -> None:
    paths = write_notebooks(tmp_path / "root", SMALL)
    assert paths == ["group-0.ipynb", "group-1.ipynb"]
    for path in paths:
        nbformat.validate(json.loads((tmp_path / "root" / path).read_text()))


@pytest.mark.system
def test_a_round_counts_every_key_and_loses_none() -> None:
    round = one_round(Floor(), SMALL)
    assert round.target == "floor"
    assert round.keys > 100
    assert round.words > 5
    # two other writers and a watcher see each key of a room, but for deletions, which have no clock
    assert round.keys * 3 * 0.7 < round.samples <= round.keys * 3
    assert (round.lost, round.doubled, round.missing_on_disk, round.reloads_forced) == (0, 0, 0, 0)
    assert round.faults == []
    assert round.wrong_copies == []
    assert 0 < round.latency_ms["p50"] <= round.latency_ms["p99"] <= round.latency_ms["max"]
    assert round.server_cpu > 0
    table = latency_table([round, round], SMALL)
    assert [column.header for column in table.columns] == ["", "floor"]
    assert medians([round, round])["floor"]["keys"] == round.keys
