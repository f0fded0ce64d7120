"""Which cells are the same cell."""

from __future__ import annotations

from itertools import count

from notebook_sync.adapters.cell_identity import adopt_ids
from notebook_sync.adapters.notebook_form import Json


def cell(cell_id: str | None, source: str, cell_type: str = "code") -> Json:
    return {"id": cell_id, "source": source, "cell_type": cell_type}


def adopted(known: list[Json], cells: list[Json]) -> list[str]:
    fresh = count(1)
    result = adopt_ids(known, cells, lambda: f"fresh{next(fresh)}")
    assert [item["source"] for item in result] == [item["source"] for item in cells]
    return [item["id"] for item in result]


def test_known_ids_are_kept_whatever_the_content() -> None:
    known = [cell("a", "one"), cell("b", "two")]
    assert adopted(known, [cell("b", "one"), cell("a", "two"), cell("c", "one")]) == ["b", "a", "c"]


def test_equal_cells_are_matched_in_order() -> None:
    known = [cell("a", "same"), cell("b", "same"), cell("c", "other")]
    assert adopted(known, [cell(None, "same"), cell(None, "other")]) in (["a", "c"], ["b", "c"])
    assert adopted(known, [cell(None, "same"), cell(None, "same"), cell(None, "same")]) == [
        "a",
        "b",
        "fresh1",
    ]


def test_cells_that_moved_or_changed_are_found() -> None:
    known = [cell("a", "import numpy as np"), cell("b", "plot(x, y)"), cell("c", "end")]
    cells = [cell(None, "end"), cell(None, "plot(x, y, z)"), cell(None, "import numpy as np")]
    assert adopted(known, cells) == ["c", "b", "a"]


def test_the_most_similar_wins() -> None:
    known = [cell("a", "abcdefgh"), cell("b", "abcdefxy")]
    assert adopted(known, [cell(None, "abcdefxz")]) == ["b"]
    assert adopted(known, [cell(None, "abcdefxz"), cell(None, "abcdefxw")]) in (["b", "a"], ["a", "b"])


def test_other_types_and_other_texts_are_other_cells() -> None:
    known = [cell("a", "print(1)")]
    assert adopted(known, [cell(None, "print(1)", "raw")]) == ["fresh1"]
    assert adopted(known, [cell(None, "zzz")]) == ["fresh1"]


def test_a_new_id_with_changed_content_is_a_new_cell() -> None:
    assert adopted([cell("a", "print(1)")], [cell("n", "print(2)")]) == ["n"]
    assert adopted([cell("a", "print(1)")], [cell("n", "print(1)")]) == ["a"]
