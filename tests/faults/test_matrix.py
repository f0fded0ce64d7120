"""The table of faults says what the trials said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.matrix import Case, Matrix, Outcome

GOOD = Outcome(Case("all is well", 1, "valkey"), 10, 9, 0, 0, 0, 0, 1.0, 0.0, 0.1)


@pytest.mark.parametrize("harm", ["lost_stored", "lost", "doubled", "reloads"])
def test_any_harm_is_not_right(harm: str) -> None:
    assert GOOD.right
    bad: Outcome = replace(GOOD, **{harm: 1})  # type: ignore[arg-type]  # each of them is a number
    assert not bad.right
    assert not replace(GOOD, wrong="a copy differs").right


def test_it_is_written_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix()
    matrix.add(GOOD)
    matrix.add(replace(GOOD, case=Case("worse", 2, "redis"), lost_stored=3))
    monkeypatch.delenv("COLLAB_MATRIX", raising=False)
    matrix.write()
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("COLLAB_MATRIX", str(tmp_path / "faults.md"))
    matrix.write()
    head, _, first, second = (tmp_path / "faults.md").read_text().splitlines()
    assert head.startswith("| fault | servers | store | words | acknowledged |")
    assert first.startswith("| all is well | 1 | valkey | 10 | 9 | 0 |")
    assert second.startswith("| worse | 2 | redis | 10 | 9 | 3 |")
    rows = json.loads((tmp_path / "faults.json").read_text())
    assert [row["right"] for row in rows] == [True, False]
