"""The normal form of notebooks: what a file and a document are compared, merged and written as.

A notebook in normal form is plain JSON data: nbformat 4, texts joined, no ``trusted`` marks, and
nothing that the notebook schema refuses in a cell, so that it can always be written as a valid file.
What a client or another program made wrong is repaired, always in the same way, so that the same
document gives the same bytes each time (F07: one bad cell must not stop a notebook from being saved).

nbformat is imported only to convert notebooks of version 3 and older: its import takes longer than
most of what is done here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from notebook_sync.core.errors import UnreadableDocument

Json = dict[str, Any]
"""A JSON object."""

NBFORMAT = 4
NEWEST_MINOR = 5

_MAX_SAFE_INTEGER = 2**53 - 1
"""Above it JavaScript keeps no exact integers; a browser would have read a float."""

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_JSON_MIME = re.compile(r"application/(.*\+)?json")
_CELL_KEYS = {
    "code": ("cell_type", "execution_count", "id", "metadata", "outputs", "source"),
    "markdown": ("attachments", "cell_type", "id", "metadata", "source"),
    "raw": ("attachments", "cell_type", "id", "metadata", "source"),
}
_OUTPUT_KEYS = {
    "stream": ("name", "output_type", "text"),
    "display_data": ("data", "metadata", "output_type"),
    "execute_result": ("data", "execution_count", "metadata", "output_type"),
    "error": ("ename", "evalue", "output_type", "traceback"),
}


# --- reading files -------------------------------------------------------------------------------


def read_notebook(data: bytes) -> Json:
    """The notebook in the file content ``data``, in normal form; cells without an id have id None.

    Raises ``UnreadableDocument``, also for an empty file: see ``new_notebook``.
    """
    raw = _parse(data)
    major = raw.get("nbformat")
    if major in (1, 2, 3) and major is not True:
        raw = _converted(data, raw)
    elif major != NBFORMAT:
        raise UnreadableDocument(
            f"This is not a notebook of a known version (nbformat {major!r}, not 1 to 4)."
        )
    cells = raw.get("cells")
    if not isinstance(cells, list):
        raise UnreadableDocument('This notebook has no list of "cells".')
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            raise UnreadableDocument(f"Cell {number} of this notebook is not a JSON object.")
    minor = raw.get("nbformat_minor")
    return normal_notebook(raw.get("metadata"), minor, normal_cells(cells)[0])


def new_notebook() -> Json:
    """What an empty file stands for: a notebook without cells."""
    return normal_notebook({}, NEWEST_MINOR, [])


def _parse(data: bytes) -> Json:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(
            f"This notebook is not UTF-8 text (byte {error.start + 1}): save it as UTF-8."
        ) from None
    if not text.strip():
        raise UnreadableDocument("This notebook file is empty.")
    try:
        raw = clean(json.loads(text))
    except RecursionError:
        raise UnreadableDocument("This notebook is nested too deeply to be read.") from None
    except ValueError as error:
        hint = " It holds conflict marks of git: resolve them first." if "\n<<<<<<<" in text else ""
        raise UnreadableDocument(f"This notebook is not valid JSON ({error}).{hint}") from None
    if not isinstance(raw, dict):
        raise UnreadableDocument("This notebook is not a JSON object.")
    return raw


def _converted(data: bytes, raw: Json) -> Json:
    if not isinstance(raw.get("cells" if raw["nbformat"] == 1 else "worksheets"), list):
        # The converters would make an empty notebook of it, and that would be saved over it.
        raise UnreadableDocument(
            f"This notebook of version {raw['nbformat']} can't be converted: it has no cells."
        )
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read: Callable[..., Any] = nbformat.reads
            converted = read(data.decode("utf-8-sig"), as_version=NBFORMAT)
            plain: Json = clean(json.loads(json.dumps(converted)))
    except Exception as error:  # noqa: BLE001 - the converters raise whatever bad input makes them raise
        raise UnreadableDocument(f"This old notebook can't be converted to version 4 ({error}).") from None
    return plain


# --- the normal form -----------------------------------------------------------------------------


def clean(value: Any) -> Any:
    """``value`` with only what JSON, UTF-8 and a Y document can all hold.

    Whole floats become integers (browsers write 1.0 for 1), integers that JavaScript can't hold
    become floats, half surrogate pairs U+FFFD, bytes base64 text; keys of objects become strings.
    """
    if isinstance(value, str):
        return _clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return int(value) if abs(value) <= _MAX_SAFE_INTEGER and value.is_integer() else value
    if isinstance(value, int):
        return value if abs(value) <= _MAX_SAFE_INTEGER else _as_float(value)
    if isinstance(value, Mapping):
        return {_clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Iterable):
        return [clean(item) for item in value]
    return str(value)


def _clean_text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Two halves written apart (😀) are joined; what stays alone has no meaning.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _as_float(value: int) -> float | str:
    try:
        return float(value)
    except OverflowError:
        return str(value)


def normal_notebook(metadata: Any, minor: Any, cells: list[Json]) -> Json:
    """A notebook in normal form of parts of which only ``cells`` already is."""
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    for key in ("orig_nbformat", "orig_nbformat_minor", "signature"):
        metadata.pop(key, None)
    # The document model adds these two to every notebook; without them here each would look edited.
    metadata.setdefault("language_info", {"name": ""})
    metadata.setdefault("kernelspec", {"name": "", "display_name": ""})
    if isinstance(minor, bool) or not isinstance(minor, int) or minor < 0:
        minor = NEWEST_MINOR
    return {"cells": cells, "metadata": metadata, "nbformat": NBFORMAT, "nbformat_minor": minor}


def normal_cells(raw_cells: list[Any]) -> tuple[list[Json], list[int]]:
    """Cells in normal form and, for each, its index in ``raw_cells``.

    What is not an object is left out, and so is an exact copy of a cell with the same id (two
    moves of one cell at once make one). A different cell with a taken id gets an id of its own,
    the same each time; one without an id keeps None.
    """
    cells: list[Json] = []
    places: list[int] = []
    first: dict[str, Json] = {}
    for place, raw in enumerate(raw_cells):
        if not isinstance(raw, dict):
            continue
        cell = normal_cell(raw)
        cell_id = cell["id"]
        if cell_id in first:
            if cell == first[cell_id]:
                continue
            cell["id"] = _derived_id(cell_id, first)
        if cell["id"] is not None:
            first[cell["id"]] = cell
        cells.append(cell)
        places.append(place)
    return cells, places


def name_cells(cells: list[Json]) -> None:
    """Give each cell without an id one that stays the same while the others stay."""
    taken = {cell["id"]: cell for cell in cells if cell["id"] is not None}
    for cell in cells:
        if cell["id"] is None:
            cell["id"] = _derived_id("", taken)
            taken[cell["id"]] = cell


def _derived_id(cell_id: str, taken: Mapping[str, Json]) -> str:
    number = 1
    while True:
        derived = hashlib.sha256(f"{cell_id}#{number}".encode()).hexdigest()[:12]
        if derived not in taken:
            return derived
        number += 1


def normal_cell(raw: Json) -> Json:
    """One cell in normal form, whatever ``raw`` lacks; its id is None if it has none that is valid."""
    cell_type = raw.get("cell_type")
    if cell_type not in _CELL_KEYS:
        cell_type = "raw" if "outputs" not in raw and raw else "code"
    metadata = raw.get("metadata")
    cell_id = raw.get("id")
    cell: Json = {
        "cell_type": cell_type,
        "id": cell_id if isinstance(cell_id, str) and _CELL_ID.fullmatch(cell_id) else None,
        "metadata": _without_trusted(metadata) if isinstance(metadata, dict) else {},
        "source": _joined(raw.get("source", "")),
    }
    if cell_type == "code":
        outputs = raw.get("outputs")
        cell["execution_count"] = _count(raw.get("execution_count"))
        cell["outputs"] = [normal_output(output) for output in outputs] if isinstance(outputs, list) else []
    elif isinstance(raw.get("attachments"), dict) and raw["attachments"]:
        cell["attachments"] = {name: _joined_bundle(bundle) for name, bundle in raw["attachments"].items()}
    return cell


def _without_trusted(metadata: Json) -> Json:
    return {key: value for key, value in metadata.items() if key != "trusted"}


def normal_output(raw: Any) -> Json:
    """One output in normal form. What is none of the four known types is kept as JSON to be shown."""
    output_type = raw.get("output_type") if isinstance(raw, dict) else None
    if output_type not in _OUTPUT_KEYS:
        return {"output_type": "display_data", "data": {"application/json": raw}, "metadata": {}}
    output: Json = {key: raw[key] for key in _OUTPUT_KEYS[output_type] if key in raw}
    if output_type == "stream":
        output["name"] = _joined(output.get("name") or "stdout")
        output["text"] = _joined(output.get("text", ""))
    elif output_type == "error":
        traceback = output.get("traceback")
        output["ename"] = _joined(output.get("ename", ""))
        output["evalue"] = _joined(output.get("evalue", ""))
        output["traceback"] = [_joined(line) for line in traceback] if isinstance(traceback, list) else []
    else:
        metadata = output.get("metadata")
        output["data"] = _joined_bundle(output.get("data"))
        output["metadata"] = metadata if isinstance(metadata, dict) else {}
        if output_type == "execute_result":
            output["execution_count"] = _count(output.get("execution_count"))
    return output


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _joined_bundle(bundle: Any) -> Json:
    if not isinstance(bundle, dict):
        return {} if bundle is None else {"application/json": bundle}
    return {mime: value if _JSON_MIME.fullmatch(mime) else _joined(value) for mime, value in bundle.items()}


# --- trust ---------------------------------------------------------------------------------------


def is_safe(outputs: Any) -> bool:
    """Whether outputs (normal or as found in a document) hold nothing that a browser would run."""
    if not isinstance(outputs, list):
        return True
    return not any(
        isinstance(output, dict) and output.get("output_type") in ("execute_result", "display_data")
        for output in outputs
    )


def all_trusted(raw_cells: list[Any]) -> bool:
    """Whether each code cell is marked trusted or needs no trust, by nbformat's rule."""
    for cell in raw_cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        metadata = cell.get("metadata")
        marked = isinstance(metadata, dict) and bool(metadata.get("trusted"))
        if not marked and not is_safe(cell.get("outputs")):
            return False
    return True
