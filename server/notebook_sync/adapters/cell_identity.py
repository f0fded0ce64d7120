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
_LONGEST_COMPARED = 4000
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
    position = place = 0
    known_keys, stranger_keys = [_key(cell) for cell in known], [_key(cell) for cell in strangers]
    for hunk in [*compare(known_keys, stranger_keys), None]:
        stop = hunk.start if hunk else len(known)
        for offset in range(stop - position):  # the same on both sides
            adopted[id(strangers[place + offset])] = known[position + offset]["id"]
        if hunk:
            _match_similar(known[hunk.start : hunk.stop], strangers[hunk.new_start : hunk.new_stop], adopted)
            position, place = hunk.stop, hunk.new_stop
    return adopted


def _match_similar(known: list[Json], strangers: list[Json], adopted: dict[int, str]) -> None:
    """Match changed cells in order. Only those without an id: a new id with new content is a new cell."""
    first = 0
    for stranger in strangers:
        if stranger["id"] is not None:
            continue
        for place in range(first, len(known)):
            if _similar(known[place], stranger):
                adopted[id(stranger)] = known[place]["id"]
                first = place + 1
                break


def _similar(one: Json, other: Json) -> bool:
    if one["cell_type"] != other["cell_type"]:
        return False
    matcher = SequenceMatcher(
        None, one["source"][:_LONGEST_COMPARED], other["source"][:_LONGEST_COMPARED], autojunk=False
    )
    return matcher.quick_ratio() >= _SIMILAR and matcher.ratio() >= _SIMILAR


def _key(cell: Json) -> str:
    return f"{cell['cell_type']}\n{cell['source']}"
