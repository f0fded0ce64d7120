"""Notebooks for tests, and documents as browsers hold them."""

from __future__ import annotations

import json
from typing import Any

from pycrdt import Array, Doc, Map

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.notebook_form import Json, read_notebook
from notebook_sync.core.ids import NOTEBOOK, DocumentKind

TEXT = DocumentKind("text", "file")
METADATA: Json = {
    "kernelspec": {"display_name": "Python 3", "name": "python3"},
    "language_info": {"name": "python"},
}


def markdown(cell_id: str, source: str, **metadata: Any) -> Json:
    return {"cell_type": "markdown", "id": cell_id, "metadata": metadata, "source": source}


def code(cell_id: str, source: str, *outputs: Json, count: int | None = None, **metadata: Any) -> Json:
    return {
        "cell_type": "code",
        "execution_count": count,
        "id": cell_id,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source,
    }


def stream(text: str) -> Json:
    return {"output_type": "stream", "name": "stdout", "text": text}


def html(text: str) -> Json:
    return {"output_type": "display_data", "data": {"text/html": text}, "metadata": {}}


def notebook(*cells: Json, minor: int = 5, metadata: Json = METADATA) -> Json:
    return {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def file_of(content: Json) -> bytes:
    """A notebook as some other program would write it."""
    return json.dumps(content, ensure_ascii=False).encode()


def state_of(content: Json, *, trusted: bool = True) -> bytes:
    return codec_worker.seed(NOTEBOOK, file_of(content), trusted)


def live(state: bytes) -> Doc[Any]:
    """A document of somebody who has it open."""
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    return doc


def cells_of(doc: Doc[Any]) -> Array[Any]:
    cells: Array[Any] = doc.get("cells", type=Array)
    return cells


def cell_of(doc: Doc[Any], cell_id: str) -> Map[Any]:
    """The Y cell with this id."""
    for cell in cells_of(doc):
        if isinstance(cell, Map) and cell.get("id") == cell_id:
            return cell
    raise AssertionError(f"there is no cell {cell_id}")


def shown(doc: Doc[Any]) -> Json:
    """The notebook that is in a document, in normal form."""
    return read_notebook(codec_worker.render(NOTEBOOK, doc.get_update()).data)


def sources(content: Json) -> list[tuple[str, str]]:
    return [(cell["id"], cell["source"]) for cell in content["cells"]]
