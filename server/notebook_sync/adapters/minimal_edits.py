"""Bring a Y document to a wanted content with the fewest edits, so that carets, undo and what others
type at the same moment survive.

pycrdt counts the offsets of a ``Y.Text`` in UTF-8 bytes (F11): all offsets here are made from
characters, so an edit never lies inside one.
"""

from __future__ import annotations

from typing import Any

from pycrdt import Array, Doc, Map, Text

from notebook_sync.adapters.cell_order import staying
from notebook_sync.adapters.merge_base import digest_of
from notebook_sync.adapters.notebook_form import Json, is_safe
from notebook_sync.adapters.text_merge import character_hunks, compare

Slots = list[str | None]
"""The cell ids of the Y array's entries; None for an entry that is no cell."""


def edit_text(text: Text, wanted: str) -> None:
    """Make ``text`` say ``wanted``."""
    current = str(text)
    if len(text) != len(current.encode("utf-8")):  # it holds embedded objects: offsets would be wrong
        text.clear()
        text.insert(0, wanted)
        return
    hunks = character_hunks(current, wanted)
    # From the end, so that the offsets of what is still to do stay right.
    position, offset = len(current), len(text)
    for hunk in reversed(hunks):
        offset -= len(current[hunk.stop : position].encode("utf-8"))
        length = len(current[hunk.start : hunk.stop].encode("utf-8"))
        position, offset = hunk.start, offset - length
        if length:
            del text[offset : offset + length]
        if hunk.new_stop > hunk.new_start:
            text.insert(offset, wanted[hunk.new_start : hunk.new_stop])


def edit_notebook(doc: Doc[Any], current: Json, places: list[int], wanted: Json) -> set[str]:
    """Make the notebook in ``doc`` be ``wanted``, in one transaction.

    ``current`` is its normal form, ``places`` the index of each cell in the Y array. Both notebooks
    are in normal form with an id for each cell. Without a difference nothing is written.
    """
    if current == wanted:
        return set()
    with doc.transaction():
        _edit_meta(doc.get("meta", type=Map), current, wanted)
        if current["cells"] == wanted["cells"]:
            return set()
        return _Cells(doc.get("cells", type=Array), current["cells"], places).become(wanted["cells"])


def _edit_meta(meta: Map[Any], current: Json, wanted: Json) -> None:
    if current["nbformat_minor"] != wanted["nbformat_minor"]:
        meta["nbformat_minor"] = wanted["nbformat_minor"]
    if current["metadata"] != wanted["metadata"]:
        _edit_object(meta, "metadata", current["metadata"], wanted["metadata"])


def _edit_object(parent: Map[Any], key: str, current: Json, wanted: Json) -> None:
    """Change what differs in the object under ``key``."""
    inner = parent.get(key)
    if not isinstance(inner, Map):
        parent[key] = Map(wanted)
        return
    for name in [name for name in current if name not in wanted and name in inner]:
        del inner[name]
    for name, value in wanted.items():
        if name not in current or current[name] != value:
            inner[name] = value


class _Cells:
    """The cells of a document while they are edited."""

    def __init__(self, array: Array[Any], current: list[Json], places: list[int]) -> None:
        self._array = array
        self._current = {cell["id"]: cell for cell in current}
        self._slots: Slots = [None] * len(array)
        for cell, place in zip(current, places, strict=True):
            self._slots[place] = cell["id"]

    def become(self, wanted: list[Json]) -> set[str]:
        self._repair()
        ids = [cell["id"] for cell in wanted]
        here = [cell_id for cell_id in self._slots if cell_id is not None]
        same_type = {
            cell["id"]
            for cell in wanted
            if cell["id"] in self._current and self._current[cell["id"]]["cell_type"] == cell["cell_type"]
        }
        changed = {cell["id"] for cell in wanted if self._current.get(cell["id"]) != cell}
        stay = staying(here, ids, lambda cell_id: 2 if cell_id in changed else 3) & same_type
        carried = self._remove(stay, {cell["id"]: cell for cell in wanted})
        place = 0
        for cell in wanted:
            if cell["id"] in stay:
                place = self._slots.index(cell["id"], place)
                self._edit(self._array[place], self._current[cell["id"]], cell)
            else:
                self._slots.insert(place, cell["id"])
                self._array.insert(place, _new_cell(cell, *carried.get(cell["id"], (None, None))))
            place += 1
        return set(here) - stay

    def _repair(self) -> None:
        """Write down what reading repairs: else a cell would be another one after the edits."""
        for place in reversed(range(len(self._slots))):
            entry = self._array[place]
            if not isinstance(entry, Map):
                continue
            cell_id = self._slots[place]
            if cell_id is None:  # an exact copy of another cell
                del self._array[place]
                del self._slots[place]
            elif entry.get("id") != cell_id:
                entry["id"] = cell_id

    def _remove(self, stay: set[str], wanted: dict[str, Json]) -> dict[str, tuple[bool | None, str | None]]:
        """Take out all cells but ``stay``; returns their trust and execution state, for those that move."""
        carried = {}
        for place in reversed(range(len(self._slots))):
            cell_id = self._slots[place]
            if cell_id is None or cell_id in stay:
                continue
            carried[cell_id] = _carried(self._array[place], self._current[cell_id], wanted.get(cell_id))
            del self._array[place]
            del self._slots[place]
        return carried

    def _edit(self, entry: Map[Any], current: Json, wanted: Json) -> None:
        if current["source"] != wanted["source"]:
            source = entry.get("source")
            if isinstance(source, Text):
                edit_text(source, wanted["source"])
            else:
                entry["source"] = Text(wanted["source"])
        if current["metadata"] != wanted["metadata"]:
            _edit_object(entry, "metadata", current["metadata"], wanted["metadata"])
        for key in ("execution_count", "attachments"):
            _edit_value(entry, key, current, wanted)
        if current.get("outputs") != wanted.get("outputs"):
            _edit_outputs(entry, current["outputs"], wanted["outputs"])


def _edit_value(entry: Map[Any], key: str, current: Json, wanted: Json) -> None:
    if current.get(key) == wanted.get(key):
        return
    if key in wanted:
        entry[key] = wanted[key]
    elif key in entry:
        del entry[key]


def _carried(entry: Map[Any], current: Json, wanted: Json | None) -> tuple[bool | None, str | None]:
    """The trust and the execution state of a cell that moves. Trust is for the outputs that it had."""
    if wanted is None or current["cell_type"] != "code" or wanted["cell_type"] != "code":
        return None, None
    metadata = entry.get("metadata")
    marked = isinstance(metadata, (Map, dict)) and bool(metadata.get("trusted"))
    state = entry.get("execution_state")
    trusted = marked and (current["outputs"] == wanted["outputs"] or is_safe(wanted["outputs"]))
    return trusted, state if isinstance(state, str) else None


def _edit_outputs(entry: Map[Any], current: list[Json], wanted: list[Json]) -> None:
    outputs = entry.get("outputs")
    if not isinstance(outputs, Array) or len(outputs) != len(current):
        entry["outputs"] = Array()
        outputs, current = entry["outputs"], []
    fresh: list[Json] = []
    hunks = compare([digest_of(output) for output in current], [digest_of(output) for output in wanted])
    for hunk in reversed(hunks):
        if hunk.start < hunk.stop:
            del outputs[hunk.start : hunk.stop]
        for place, output in enumerate(wanted[hunk.new_start : hunk.new_stop], hunk.start):
            outputs.insert(place, _new_output(output))
            fresh.append(output)
    # What came from the file was not trusted by anybody here.
    metadata = entry.get("metadata")
    if not is_safe(fresh) and isinstance(metadata, Map) and metadata.get("trusted"):
        metadata["trusted"] = False


def _new_cell(cell: Json, trusted: bool | None, execution_state: str | None) -> Map[Any]:
    """A Y cell as jupyter_ydoc makes them."""
    fields: Json = {
        **cell,
        "source": Text(cell["source"]),
        "metadata": Map(dict(cell["metadata"])),
    }
    if cell["cell_type"] == "code":
        trusted = is_safe(cell["outputs"]) if trusted is None else trusted
        fields["metadata"] = Map({**cell["metadata"], "trusted": trusted})
        fields["outputs"] = Array([_new_output(output) for output in cell["outputs"]])
        fields["execution_state"] = execution_state or "idle"
    return Map(fields)


def _new_output(output: Json) -> Map[Any]:
    if output["output_type"] == "stream":
        return Map({**output, "text": Text(output["text"])})
    return Map(dict(output))
