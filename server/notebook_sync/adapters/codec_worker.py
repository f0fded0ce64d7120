"""The codec as pure functions: file content to document and back. They run in a worker process.

Each takes and returns plain bytes and small frozen values, so that calls cross to the worker cheaply.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pycrdt import Array, Doc, Map, Text, merge_updates

from notebook_sync.adapters import merge_base, notebook_form, text_view, ydoc_form
from notebook_sync.adapters.merged_mark import merged_mark, set_merged_mark
from notebook_sync.adapters.minimal_edits import edit_notebook, edit_text
from notebook_sync.adapters.notebook_form import Json
from notebook_sync.adapters.notebook_merge import merge_notebooks
from notebook_sync.adapters.notebook_writer import write_notebook
from notebook_sync.adapters.text_merge import merge_text
from notebook_sync.core.errors import CorruptRecord, InvariantBroken, RoomError
from notebook_sync.core.ids import DocumentKind
from notebook_sync.core.replica import SEED_MARK, STATE
from notebook_sync.core.state_vector import decode_state_vector
from notebook_sync.ports import Merged, Rendered, Size, ViewMerged

T = TypeVar("T")

UNCHANGED = Size(2**31, 2**31)
"""Of what is not smaller than before."""

_FIRST_CELL: Json = {
    "id": None,
    "cell_type": "code",
    "execution_count": None,
    "metadata": {"trusted": True},
    "outputs": [],
    "source": "",
}
"""What a notebook without cells gets to type in: nobody else's output is in it."""
SEED_FORM = 1
"""Another number for each change of the operations that a file becomes."""
_ANY_CELL, _ANY_TEXT = b"\x01\x05cells", b"\x01\x06source"
"""How an update names the root that the first item ever put into it belongs to, deleted or not."""


def seed(kind: DocumentKind, data: bytes, trusted: bool, lineage: str = "") -> bytes:
    """A v1 update that holds the file content ``data``. The mark of the ``lineage`` comes last, so that
    whoever has it has all of the seed (rule 10).

    The same content in the same lineage gives the same operations, so that two servers that both seed it
    have one history and not two (docs/adr/0015); without a lineage the client id is random (rule 14).
    An empty notebook file becomes a new notebook; a notebook without cells gets one to type in.
    ``trusted`` marks the code cells as the contents manager does. Raises ``UnreadableDocument``.
    """
    name = _seed_name(kind, data, trusted, lineage)
    doc: Doc[Any] = Doc(client_id=int.from_bytes(name[:4], "big") or 1)
    if is_notebook(kind):
        notebook = notebook_form.new_notebook() if not data.strip() else notebook_form.read_notebook(data)
        _seed_notebook(doc, notebook, trusted, name)
    elif (cls := ydoc_form.class_of(kind)) is not None:
        ydoc_form.set_whole(cls(doc), kind, data)
    else:
        source = ydoc_form.source_of(doc)
        source += ydoc_form.read_text(kind, data)
    doc.get(STATE, type=Map)[SEED_MARK] = lineage
    return doc.get_update()


def _seed_name(kind: DocumentKind, data: bytes, trusted: bool, lineage: str) -> bytes:
    """32 bytes that tell this seed from all that are not the same to the last operation."""
    if not lineage:
        return secrets.token_bytes(32)
    described = f"{SEED_FORM}\n{lineage}\n{kind}\n{trusted}\n"
    return hashlib.sha256(described.encode() + data).digest()


def render(kind: DocumentKind, state: bytes) -> Rendered:
    """The file content of the document with the whole state ``state`` (a v1 update).

    For a notebook these are the bytes that Jupyter's contents manager would write. It never fails
    for a damaged cell. Raises ``RoomError`` if ``state`` is no update.
    """
    doc = load(state)
    if is_notebook(kind):
        notebook, _, trusted = read_document(doc)
        data = write_notebook(notebook)
        cells = tuple(cell["id"] for cell in notebook["cells"])
        untouched = not cells and _ANY_CELL not in state
        return Rendered(
            data,
            _digest(data),
            merge_base.slim_notebook(notebook),
            trusted,
            cells,
            untouched=untouched,
            merged=merged_mark(doc),
        )
    if (cls := ydoc_form.class_of(kind)) is not None:
        data = ydoc_form.get_whole(cls(doc), kind)
        return Rendered(data, _digest(data), slim_whole(data), merged=merged_mark(doc))
    text = str(ydoc_form.source_of(doc))
    data = ydoc_form.write_text(kind, text)
    untouched = not text and _ANY_TEXT not in state
    slim_text = merge_base.slim_text(text)
    return Rendered(data, _digest(data), slim_text, untouched=untouched, merged=merged_mark(doc))


def slim(kind: DocumentKind, data: bytes) -> bytes:
    """The slim form of file content, to be kept as a merge base. Raises ``UnreadableDocument``."""
    if is_notebook(kind):
        return merge_base.slim_notebook(notebook_form.read_notebook(data))
    if ydoc_form.class_of(kind) is not None:
        return slim_whole(render(kind, seed(kind, data, False)).data)
    return merge_base.slim_text(ydoc_form.read_text(kind, data))


def merge(
    kind: DocumentKind,
    state: bytes,
    base: bytes | None,
    theirs: bytes,
    seen: tuple[str, ...] = (),
    once: bool = False,
) -> Merged:
    """Bring the changes from ``base`` (slim form) to ``theirs`` (file content) into a document.

    The update holds only the edits, by a fresh client id, against the whole state ``state``; it may
    be applied to a document that has moved on since. Cells in ``seen`` are not brought back (rule 28).
    Raises ``UnreadableDocument`` for ``theirs`` (also if it is an empty notebook file: another program
    may be in the middle of writing it), ``RoomError`` for ``state``, ``InvariantBroken`` if the edits
    don't make the merged content.
    """
    doc = load(state)
    if once and merged_mark(doc) == _digest(theirs):
        # Its edits are here already: who made them ended before recording that this is common now. Merged
        # once more from the older base they could come twice.
        return Merged(None, None, slim=slim(kind, theirs), theirs=_ids_in(kind, theirs), size=UNCHANGED)
    edits: list[bytes] = []
    subscription = doc.observe(lambda event: edits.append(event.update))
    try:
        if is_notebook(kind):
            outcome = _merge_notebook(doc, base, theirs, seen)
        elif (cls := ydoc_form.class_of(kind)) is not None:
            outcome = _merge_whole(cls(doc), kind, base, theirs)
        else:
            outcome = _merge_text(ydoc_form.source_of(doc), kind, base, theirs)
        if once and edits:
            set_merged_mark(doc, _digest(theirs))
    finally:
        doc.unobserve(subscription)
    loser = theirs if outcome.conflicts else None
    return Merged(
        _one(edits),
        loser,
        outcome.conflicts,
        outcome.slim,
        outcome.theirs,
        outcome.size,
        outcome.removed,
    )


def _ids_in(kind: DocumentKind, data: bytes) -> tuple[str, ...]:
    """The ids of a file's cells, those that have one."""
    cells = notebook_form.read_notebook(data)["cells"] if is_notebook(kind) else ()
    return tuple(cell["id"] for cell in cells if cell["id"] is not None)


def merge_view(state: bytes, base: bytes | None, file: bytes) -> ViewMerged:
    """See ``text_view.merge_view``; ``state`` is the view's whole state (a v1 update)."""
    doc = load(state)
    edits: list[bytes] = []
    subscription = doc.observe(lambda event: edits.append(event.update))
    try:
        outcome = text_view.merge_view(doc, base, file)
    finally:
        doc.unobserve(subscription)
    return replace(outcome, update=_one(edits))


def _one(edits: list[bytes]) -> bytes | None:
    """One update of many."""
    return merge_updates(*edits) if len(edits) > 1 else edits[0] if edits else None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a merge came to, besides its edits."""

    conflicts: tuple[str, ...]
    slim: bytes
    size: Size
    theirs: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()


def _merge_notebook(doc: Doc[Any], slim_base: bytes | None, data: bytes, seen: tuple[str, ...]) -> _Outcome:
    theirs = notebook_form.read_notebook(data)
    base = _known(merge_base.read_slim, slim_base)
    ours, places, _ = read_document(doc)
    merge = merge_notebooks(base, ours, theirs, seen)
    removed = edit_notebook(doc, ours, places, merge.notebook)
    result = read_document(doc)[0]
    written = write_notebook(result)
    if result != merge.notebook and written != write_notebook(merge.notebook):
        raise InvariantBroken("the edits of a merge must make the merged notebook, and made another")
    size = Size(len(result["cells"]), len(written))
    taken = tuple((cell["id"], cell["source"]) for cell in ours["cells"] if cell["id"] in removed)
    return _Outcome(merge.conflicts, merge_base.slim_notebook(theirs), size, merge.theirs, taken)


def _known(read: Callable[[bytes], T], slim_base: bytes | None) -> T | None:
    """The base, or None: without one a merge is careful, with a damaged one it would be stuck."""
    try:
        return None if slim_base is None else read(slim_base)
    except CorruptRecord:
        return None


def _merge_text(source: Text, kind: DocumentKind, slim_base: bytes | None, data: bytes) -> _Outcome:
    theirs, ours = ydoc_form.read_text(kind, data), str(source)
    slim_theirs = merge_base.slim_text(theirs)
    base = _known(merge_base.read_slim_text, slim_base)
    if base is None:
        differs = () if theirs == ours else ("the text",)
        return _Outcome(differs, slim_theirs, Size(0, len(ours.encode("utf-8"))))
    merged = merge_text(base, ours, theirs)
    with source.doc.transaction():
        edit_text(source, merged.text)
    if str(source) != merged.text:
        raise InvariantBroken("the edits of a merge must make the merged text, and made another")
    conflicts = tuple(f"line {line}" for line in merged.conflicts)
    return _Outcome(conflicts, slim_theirs, Size(0, len(merged.text.encode("utf-8"))))


def _merge_whole(
    document: ydoc_form.YDocument, kind: DocumentKind, base: bytes | None, data: bytes
) -> _Outcome:
    """A type whose parts we do not know: one side's content as it is."""
    ours = ydoc_form.get_whole(document, kind)
    theirs = render(kind, seed(kind, data, False)).data
    slim_theirs = slim_whole(theirs)
    if theirs == ours or slim_theirs == base:
        return _Outcome((), slim_theirs, Size(0, len(ours)))
    if slim_whole(ours) != base:
        return _Outcome(("the content",), slim_theirs, Size(0, len(ours)))
    ydoc_form.set_whole(document, kind, data)
    return _Outcome((), slim_theirs, Size(0, len(theirs)))


# --- shared with the merge -----------------------------------------------------------------------


def is_notebook(kind: DocumentKind) -> bool:
    """Whether documents of this kind have cells."""
    return kind.type == "notebook"


def slim_whole(data: bytes) -> bytes:
    """The slim form of a type whose parts we do not know: a hash of it all."""
    return zlib.compress(b"sha256:" + _digest(data).encode("ascii"))


def fresh_client_id() -> int:
    """A random client id (rule 14), of 32 bits as Yjs makes them.

    Yjs can hold 53, but y-py 0.6 cannot: it garbles a longer id and sends the content back under it, doubled.
    """
    return secrets.randbits(32) or 1


def load(state: bytes) -> Doc[Any]:
    """A document with the whole state ``state``, under a client id that is not in it.

    Raises ``RoomError``.
    """
    while True:
        doc: Doc[Any] = Doc(client_id=fresh_client_id())
        try:
            doc.apply_update(state)
        except BaseException as error:  # noqa: BLE001 - the CRDT library panics with a BaseException
            raise RoomError(f"the document's state can't be read ({type(error).__name__}: {error})") from None
        if doc.client_id not in decode_state_vector(doc.get_state()):
            return doc


def read_document(doc: Doc[Any]) -> tuple[Json, list[int], bool]:
    """The notebook of ``doc`` in normal form, the index of each cell in the Y array, and whether all is
    trusted."""
    meta_map, cells_array = doc.get("meta", type=Map), doc.get("cells", type=Array)
    with doc.transaction():  # one for all the reads below: each would open its own
        meta = meta_map.to_py() or {}
        raw_cells = [notebook_form.clean(cell) for cell in cells_array.to_py() or []]
    cells, places = notebook_form.normal_cells(raw_cells)
    notebook_form.name_cells(cells)
    notebook = notebook_form.normal_notebook(
        notebook_form.clean(meta.get("metadata")), notebook_form.clean(meta.get("nbformat_minor")), cells
    )
    return notebook, places, notebook_form.all_trusted(raw_cells)


def _seed_notebook(doc: Doc[Any], notebook: Json, trusted: bool, name: bytes) -> None:
    from jupyter_ydoc.ynotebook import YNotebook

    taken = {cell["id"] for cell in notebook["cells"]}
    cells = []
    for number, cell in enumerate(notebook["cells"] or [_FIRST_CELL]):
        marked = {**cell, "id": cell["id"] or _named_cell(name, number, taken)}
        if cell["cell_type"] == "code" and cell is not _FIRST_CELL:
            marked["metadata"] = {**cell["metadata"], "trusted": trusted}
        cells.append(marked)
    YNotebook(doc).set({**notebook, "cells": cells})


def _named_cell(name: bytes, number: int, taken: set[Any]) -> str:
    """A cell id, 8 hex digits, added to ``taken``: the same for the same seed."""
    while True:
        name = hashlib.sha256(name + number.to_bytes(4, "big")).digest()
        cell_id = name[:4].hex()
        if cell_id not in taken:
            taken.add(cell_id)
            return cell_id


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
