"""A notebook's file as people see it in a text editor: a document of its own beside the notebook's.

Its text is merged with the file cell by cell, as a third hand at the notebook, and only while it is a
valid notebook; lines of JSON would be merged into what is none. Pure; runs in the worker process.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pycrdt import Doc

from notebook_sync.adapters import merge_base, notebook_form, ydoc_form
from notebook_sync.adapters.merged_mark import merged_mark, set_merged_mark
from notebook_sync.adapters.minimal_edits import edit_text
from notebook_sync.adapters.notebook_form import NBFORMAT, Json
from notebook_sync.adapters.notebook_merge import merge_notebooks
from notebook_sync.adapters.notebook_writer import write_notebook
from notebook_sync.core.errors import CorruptRecord, UnreadableDocument
from notebook_sync.core.ids import DocumentKind
from notebook_sync.ports import ViewMerged

TEXT = DocumentKind("text", "file")


def merge_view(doc: Doc[Any], slim_base: bytes | None, file: bytes) -> ViewMerged:
    """Bring the text in ``doc`` and the content of the notebook's ``file`` together, and edit ``doc``.

    ``slim_base``: the text that both were last (``merge_base.slim_text``), None if it is not known: then
    no cell is deleted. The result's ``update`` is None: the caller saw the edits. Raises
    ``UnreadableDocument`` if ``file`` is no notebook.
    """
    source = ydoc_form.source_of(doc)
    text, file_text = str(source), ydoc_form.read_text(TEXT, file)
    theirs_now = notebook_form.read_notebook(file)
    digest = hashlib.sha256(file_text.encode("utf-8")).hexdigest()
    base = file_text if merged_mark(doc) == digest else _known(slim_base)
    if text == file_text:
        return ViewMerged(slim=merge_base.slim_text(text))
    if text == base:
        wanted, outcome = file_text, ViewMerged()
    elif (notebook := valid_notebook(text)) is None:
        return ViewMerged(valid=False)
    elif file_text == base:
        return ViewMerged(data=text.encode("utf-8"), slim=merge_base.slim_text(text))
    else:
        wanted, outcome = _three_way(base, theirs_now, file_text, notebook, text)
    with doc.transaction():
        edit_text(source, wanted)
        set_merged_mark(doc, hashlib.sha256(wanted.encode("utf-8")).hexdigest())
    return ViewMerged(outcome.data, None, merge_base.slim_text(wanted), outcome.loser, outcome.conflicts)


def _known(slim_base: bytes | None) -> str | None:
    """The base, or None: without one a merge is careful, with a damaged one it would be stuck."""
    try:
        return None if slim_base is None else merge_base.read_slim_text(slim_base)
    except CorruptRecord:
        return None


def _three_way(
    base_text: str | None, file: Json, file_text: str, view: Json, view_text: str
) -> tuple[str, ViewMerged]:
    """What the text becomes, and what the file."""
    notebook_form.name_cells(file["cells"])
    base = None if base_text is None else valid_notebook(base_text)
    slim = None if base is None else merge_base.read_slim(merge_base.slim_notebook(base))
    merge = merge_notebooks(slim, file, view)
    loser = view_text.encode("utf-8") if merge.conflicts else None
    if merge.notebook == file:
        return file_text, ViewMerged(loser=loser, conflicts=merge.conflicts)
    data = write_notebook(merge.notebook)
    return data.decode("utf-8"), ViewMerged(data=data, loser=loser, conflicts=merge.conflicts)


def valid_notebook(text: str) -> Json | None:
    """The notebook in a text, in normal form; None unless it is a valid one of version 4.

    Stricter than what is done with files: somebody is in the middle of typing it. Cells of the same id
    are allowed, for that is what copying one in an editor makes; the second gets an id of its own.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or raw.get("nbformat") != NBFORMAT:
        return None
    from nbformat.validator import iter_validate  # importing it takes longer than what is done here

    try:
        if next(iter(iter_validate(raw)), None) is not None:
            return None
        return notebook_form.read_notebook(text.encode("utf-8"))
    except (UnreadableDocument, UnicodeEncodeError):
        return None
