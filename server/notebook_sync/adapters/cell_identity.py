"""Which cells of two versions are the same cell.

The id says it. Files of nbformat 4.4 and older have no ids, and some programs give all cells new ones
each time they write: without more than the id, every cell of such a file would be deleted and added
again, under the carets of everybody. So cells whose id is missing or unknown are matched by content.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher

from notebook_sync.adapters.notebook_form import Json
from notebook_sync.adapters.text_merge import compare

_SIMILAR = 0.5
_MOST_COMPARED = 400
"""Pairs of changed cells; beyond it they count as other cells."""
_LONGEST_COMPARED = 2000
"""Characters of a cell that are looked at to find a similar one."""


def adopt_ids(known: list[Json], cells: list[Json], fresh: Callable[[], str]) -> list[Json]:
    """``cells``, those that are cells of ``known`` under its ids, the rest under their own or a fresh one."""
    known_ids = {cell["id"] for cell in known}
    own_ids = {cell["id"] for cell in cells}
    open_known = [cell for cell in known if cell["id"] not in own_ids]
    strangers = [cell for cell in cells if cell["id"] is None or cell["id"] not in known_ids]
    adopted = _matched(open_known, strangers)
    return [{**cell, "id": adopted.get(id(cell)) or cell["id"] or fresh()} for cell in cells]


def _matched(known: list[Json], strangers: list[Json]) -> dict[int, str]:
    """The known id for each stranger (by its ``id()``) that is a known cell."""
    adopted: dict[int, str] = {}
    known, strangers = _match_equal(known, strangers, adopted)
    nameless = [cell for cell in strangers if cell["id"] is None]  # a new id with new content is a new cell
    if len(known) * len(nameless) <= _MOST_COMPARED:
        _match_similar(known, nameless, adopted)
    return adopted


def _match_equal(
    known: list[Json], strangers: list[Json], adopted: dict[int, str]
) -> tuple[list[Json], list[Json]]:
    """Match cells of the same content, those in the same order first; returns what is left of both."""
    known_keys, stranger_keys = [_key(cell) for cell in known], [_key(cell) for cell in strangers]
    position = place = 0
    left: list[Json] = []
    for hunk in [*compare(known_keys, stranger_keys), None]:
        stop = hunk.start if hunk else len(known)
        for offset in range(stop - position):  # the same on both sides
            adopted[id(strangers[place + offset])] = known[position + offset]["id"]
        if hunk:
            left += known[hunk.start : hunk.stop]
            position, place = hunk.stop, hunk.new_stop
    for stranger in [cell for cell in strangers if id(cell) not in adopted]:  # those that moved
        found = next((cell for cell in left if _key(cell) == _key(stranger)), None)
        if found is not None:
            adopted[id(stranger)] = found["id"]
            left.remove(found)
    return left, [cell for cell in strangers if id(cell) not in adopted]


def _match_similar(known: list[Json], strangers: list[Json], adopted: dict[int, str]) -> None:
    """Match changed cells, the most similar first."""
    pairs = sorted(
        (
            (ratio, -place, -number)
            for place, one in enumerate(known)
            for number, other in enumerate(strangers)
            if (ratio := _similarity(one, other)) >= _SIMILAR
        ),
        reverse=True,
    )
    used: set[int] = set()
    for _, place, number in pairs:
        stranger = strangers[-number]
        if -place not in used and id(stranger) not in adopted:
            used.add(-place)
            adopted[id(stranger)] = known[-place]["id"]


def _similarity(one: Json, other: Json) -> float:
    if one["cell_type"] != other["cell_type"]:
        return 0.0
    matcher = SequenceMatcher(
        None, one["source"][:_LONGEST_COMPARED], other["source"][:_LONGEST_COMPARED], autojunk=False
    )
    return matcher.ratio() if matcher.quick_ratio() >= _SIMILAR else 0.0


def _key(cell: Json) -> str:
    return f"{cell['cell_type']}\n{cell['source']}"
