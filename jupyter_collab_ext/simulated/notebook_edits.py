"""Edits of a shared notebook as the stock front end makes them, one transaction each.

A notebook is a root array ``cells`` of maps (``id``, ``cell_type``, ``source`` as text, ``metadata``,
``outputs`` as an array of maps with stream ``text`` as text, ``execution_count``, ``execution_state``),
a root map ``meta`` and a root map ``state``. Indexes into text are bytes of its UTF-8 form.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pycrdt import Array, Doc, Map, Text, TextEvent

from jupyter_collab_ext.simulated.frames import decode_state_vector

AnyDoc = Doc[Any]
Cell = Map[Any]


def cells(doc: AnyDoc) -> Array[Any]:
    """The notebook's cells."""
    found: Array[Any] = doc.get("cells", type=Array)
    return found


def cell_ids(doc: AnyDoc) -> list[str]:
    """Ids of all cells in order, doubled ones included."""
    return [cell["id"] for cell in cells(doc)]


def find_cell(doc: AnyDoc, cell_id: str) -> tuple[int, Cell]:
    """Index and cell of the first cell with this id; raises ``KeyError``."""
    for index, cell in enumerate(cells(doc)):
        if cell["id"] == cell_id:
            return index, cell
    raise KeyError(cell_id)


def insert_cell(doc: AnyDoc, index: int, cell_id: str, source: str = "", cell_type: str = "code") -> Cell:
    """Add a cell at ``index`` (0 … number of cells)."""
    cell: dict[str, Any] = {
        "id": cell_id,
        "cell_type": cell_type,
        "source": Text(source),
        "metadata": Map({}),
    }
    if cell_type == "code":
        cell |= {"outputs": Array([]), "execution_count": None, "execution_state": "idle"}
    cells(doc).insert(index, Map(cell))
    _, added = find_cell(doc, cell_id)
    return added


def delete_cell(doc: AnyDoc, cell_id: str) -> None:
    """Remove the first cell with this id; raises ``KeyError``."""
    index, _ = find_cell(doc, cell_id)
    del cells(doc)[index]


def move_cell(doc: AnyDoc, cell_id: str, to: int) -> None:
    """Move a cell so that it stands at index ``to``, the stock way: insert a copy, delete the original.

    What somebody else types into the original at that moment is lost with it, by the shared model's
    design: a scripted person moves only cells that nobody else types in.
    """
    index, cell = find_cell(doc, cell_id)
    with doc.transaction():
        copy = _copy_cell(cell)
        del cells(doc)[index]
        cells(doc).insert(min(to, len(cells(doc))), copy)


def _copy_cell(cell: Cell) -> Cell:
    copied: dict[str, Any] = {}
    for name, value in cell.items():
        if isinstance(value, Text):
            copied[name] = Text(str(value))
        elif isinstance(value, Map):
            copied[name] = Map(value.to_py() or {})
        elif isinstance(value, Array):
            copied[name] = Array([_output(**output) for output in value.to_py() or []])
        else:
            copied[name] = value
    return Map(copied)


def _output(**fields: Any) -> Cell:
    if fields.get("output_type") == "stream":
        fields["text"] = Text(fields["text"])
    return Map(fields)


class Caret:
    """Where a person types in a cell, as a byte index that follows the edits of others.

    It keeps to the character on its left, as an editor's caret does: what others insert before it moves
    it, what they insert just behind it does not. ``release()`` it when it is no longer needed.
    (pycrdt's own sticky indexes fail in text with characters of more than one byte.)
    """

    def __init__(self, text: Text, index: int) -> None:
        self.text = text
        self.index = index
        self._own = False
        self._subscription = text.observe(self._on_change)

    def release(self) -> None:
        """Follow no more edits."""
        self.text.unobserve(self._subscription)

    def type(self, key: str) -> None:
        """Insert ``key`` (one character) as one update."""
        with self._edit():
            self.text.insert(self.index, key)
        self.index += len(key.encode())

    def backspace(self) -> None:
        """Delete the one-byte character on the caret's left as one update."""
        with self._edit():
            del self.text[self.index - 1 : self.index]
        self.index -= 1

    @contextmanager
    def _edit(self) -> Iterator[None]:
        self._own = True
        try:
            yield
        finally:
            self._own = False

    def _on_change(self, event: TextEvent) -> None:
        if not self._own:
            self.index = _follow(self.index, event.delta)  # type: ignore[attr-defined]  # absent in its types


def _follow(index: int, delta: list[dict[str, Any]]) -> int:
    """Where byte ``index`` is after ``delta``, keeping to what is on its left."""
    at = 0
    for step in delta:
        if at >= index:
            break
        match step:
            case {"retain": int(length)}:
                at += length
            case {"insert": str(text)}:
                length = len(text.encode())
                at, index = at + length, index + length
            case {"delete": int(length)}:
                index -= min(length, index - at)
    return index


def typed_position(doc: AnyDoc) -> dict[str, Any]:
    """The place just behind the last character that this document's own client inserted, as carets are
    told in awareness."""
    clock = decode_state_vector(doc.get_state()).get(doc.client_id, 0)
    item = {"client": doc.client_id, "clock": max(0, clock - 1)}
    return {"type": None, "tname": None, "item": item, "assoc": -1}


def line_starts(text: Text) -> list[int]:
    """Byte indexes at which the lines of ``text`` begin, 0 first."""
    data = str(text).encode()
    return [0, *(at + 1 for at, byte in enumerate(data) if byte == 0x0A)]


def clear_outputs(cell: Cell) -> None:
    """Start of a run: outputs gone, count unset, busy; one update."""
    with cell.doc.transaction():
        outputs: Array[Any] = cell["outputs"]
        if len(outputs):
            outputs.clear()
        cell["execution_count"] = None
        cell["execution_state"] = "running"


def append_stream(cell: Cell, text: str) -> None:
    """A chunk of standard output: appended to the last stream output, or a new one; one update."""
    outputs: Array[Any] = cell["outputs"]
    if len(outputs) and outputs[len(outputs) - 1].get("name") == "stdout":
        stream: Text = outputs[len(outputs) - 1]["text"]
        stream.insert(len(stream), text)
    else:
        outputs.append(_output(output_type="stream", name="stdout", text=text))


def append_display(cell: Cell, text: str) -> None:
    """A result with a text form, as its own output; one update."""
    outputs: Array[Any] = cell["outputs"]
    outputs.append(Map({"output_type": "display_data", "metadata": {}, "data": {"text/plain": text}}))


def finish_run(cell: Cell, count: int) -> None:
    """End of a run: the count, and idle; one update."""
    with cell.doc.transaction():
        cell["execution_count"] = float(count)
        cell["execution_state"] = "idle"


@dataclass(frozen=True, slots=True)
class CellContent:
    """A cell as people see it, the same for a document and for a file."""

    id: str
    cell_type: str
    source: str
    outputs: tuple[str, ...]
    """Each output's text, streams of one name joined."""
    execution_count: int | None


def read_document(doc: AnyDoc) -> list[CellContent]:
    """All cells of a document as they stand in the array, doubled ones included."""
    return [_cell_content(cell.to_py() or {}) for cell in cells(doc)]


def read_notebook(notebook: dict[str, Any]) -> list[CellContent]:
    """All cells of a parsed ``.ipynb``."""
    return [_cell_content(cell) for cell in notebook["cells"]]


def _cell_content(cell: dict[str, Any]) -> CellContent:
    count = cell.get("execution_count")
    return CellContent(
        id=str(cell.get("id", "")),
        cell_type=str(cell["cell_type"]),
        source=_joined(cell["source"]),
        outputs=tuple(_output_text(output) for output in cell.get("outputs") or ()),
        execution_count=None if count is None else int(count),
    )


def _output_text(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"{output['name']}: {_joined(output['text'])}"
    return _joined((output.get("data") or {}).get("text/plain", ""))


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
