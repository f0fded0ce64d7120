"""The codec as pure functions: file content to document and back. They run in a worker process.

Each takes and returns plain bytes and small frozen values, so that calls cross to the worker cheaply.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from typing import Any

from pycrdt import Array, Doc, Map

from notebook_sync.adapters import merge_base, notebook_form, ydoc_form
from notebook_sync.adapters.notebook_form import Json
from notebook_sync.core.errors import RoomError
from notebook_sync.core.ids import DocumentKind
from notebook_sync.ports import Rendered


def seed(kind: DocumentKind, data: bytes, trusted: bool) -> bytes:
    """A v1 update that holds the file content ``data``, by a fresh random client id (rule 14).

    An empty notebook file becomes a new notebook; a notebook without cells gets one to type in.
    ``trusted`` marks the code cells as the contents manager does. Raises ``UnreadableDocument``.
    """
    doc: Doc[Any] = Doc(client_id=fresh_client_id())
    if is_notebook(kind):
        notebook = notebook_form.new_notebook() if not data.strip() else notebook_form.read_notebook(data)
        _seed_notebook(doc, notebook, trusted)
    elif (cls := ydoc_form.class_of(kind)) is not None:
        ydoc_form.set_whole(cls(doc), kind, data)
    else:
        source = ydoc_form.source_of(doc)
        source += ydoc_form.read_text(kind, data)
    return doc.get_update()


def render(kind: DocumentKind, state: bytes) -> Rendered:
    """The file content of the document with the whole state ``state`` (a v1 update).

    For a notebook these are the bytes that Jupyter's contents manager would write. It never fails
    for a damaged cell. Raises ``RoomError`` if ``state`` is no update.
    """
    doc = load(state)
    if is_notebook(kind):
        notebook, _, trusted = read_document(doc)
        data = notebook_form.write_notebook(notebook)
        return Rendered(data, _digest(data), merge_base.slim_notebook(notebook), trusted)
    if (cls := ydoc_form.class_of(kind)) is not None:
        data = ydoc_form.get_whole(cls(doc), kind)
        return Rendered(data, _digest(data), slim_whole(data))
    text = str(ydoc_form.source_of(doc))
    data = ydoc_form.write_text(kind, text)
    return Rendered(data, _digest(data), merge_base.slim_text(text))


def slim(kind: DocumentKind, data: bytes) -> bytes:
    """The slim form of file content, to be kept as a merge base. Raises ``UnreadableDocument``."""
    if is_notebook(kind):
        return merge_base.slim_notebook(notebook_form.read_notebook(data))
    if ydoc_form.class_of(kind) is not None:
        return slim_whole(render(kind, seed(kind, data, False)).data)
    return merge_base.slim_text(ydoc_form.read_text(kind, data))


# --- shared with the merge -----------------------------------------------------------------------


def is_notebook(kind: DocumentKind) -> bool:
    return kind.type == "notebook"


def slim_whole(data: bytes) -> bytes:
    """The slim form of a type whose parts we do not know: a hash of it all."""
    return zlib.compress(b"sha256:" + _digest(data).encode("ascii"))


def fresh_client_id(taken: frozenset[int] = frozenset()) -> int:
    """A random client id (53 bits, as Yjs allows) that is not in ``taken`` (rule 14)."""
    while True:
        client_id = secrets.randbits(53)
        if client_id and client_id not in taken:
            return client_id


def load(state: bytes, client_id: int | None = None) -> Doc[Any]:
    """A document with the whole state ``state``. Raises ``RoomError``."""
    doc: Doc[Any] = Doc(client_id=client_id or fresh_client_id())
    try:
        doc.apply_update(state)
    except BaseException as error:  # noqa: BLE001 - the CRDT library panics with a BaseException
        raise RoomError(f"the document's state can't be read ({type(error).__name__}: {error})") from None
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


def _seed_notebook(doc: Doc[Any], notebook: Json, trusted: bool) -> None:
    from jupyter_ydoc.ynotebook import YNotebook

    taken = {cell["id"] for cell in notebook["cells"]}
    cells = []
    for cell in notebook["cells"]:
        marked = {**cell, "id": cell["id"] or fresh_cell_id(taken)}
        if cell["cell_type"] == "code":
            marked["metadata"] = {**cell["metadata"], "trusted": trusted}
        cells.append(marked)
    YNotebook(doc).set({**notebook, "cells": cells})


def fresh_cell_id(taken: set[Any]) -> str:
    """A random cell id, 8 hex digits, added to ``taken``."""
    while True:
        cell_id = secrets.token_hex(4)
        if cell_id not in taken:
            taken.add(cell_id)
            return cell_id


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
