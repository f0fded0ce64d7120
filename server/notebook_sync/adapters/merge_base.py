"""The slim form of a notebook: enough of it to be the base of a three-way merge (rule 17).

Outputs and attachments are most of a notebook's bytes and are only ever compared, so the base
keeps their hashes. It is stored with each checkpoint, so it is compressed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

from notebook_sync.adapters.notebook_form import Json
from notebook_sync.core.errors import CorruptRecord

VERSION = 1
_LEVEL = 6


def slim_notebook(notebook: Json) -> bytes:
    """The slim form of a notebook in normal form."""
    slim = {
        "v": VERSION,
        "metadata": notebook["metadata"],
        "nbformat_minor": notebook["nbformat_minor"],
        "cells": [slim_cell(cell) for cell in notebook["cells"]],
    }
    return zlib.compress(_canonical(slim), _LEVEL)


def slim_cell(cell: Json) -> Json:
    """A cell with hashes in place of its outputs and attachments."""
    slim = dict(cell)
    if "outputs" in cell:
        slim["outputs"] = [digest_of(output) for output in cell["outputs"]]
    if "attachments" in cell:
        slim["attachments"] = digest_of(cell["attachments"])
    return slim


def read_slim(slim: bytes) -> Json:
    """The notebook of a slim form, hashes in place of outputs. Raises ``CorruptRecord``."""
    try:
        base = json.loads(zlib.decompress(slim))
    except (zlib.error, ValueError) as error:
        raise CorruptRecord(f"a stored merge base can't be read ({error})") from None
    if not isinstance(base, dict) or base.get("v") != VERSION:
        raise CorruptRecord("a stored merge base has a version that this program does not know")
    return base


def slim_text(text: str) -> bytes:
    """The slim form of a text file."""
    return zlib.compress(text.encode("utf-8"), _LEVEL)


def read_slim_text(slim: bytes) -> str:
    """The text of a slim form. Raises ``CorruptRecord``."""
    try:
        return zlib.decompress(slim).decode("utf-8")
    except (zlib.error, ValueError) as error:
        raise CorruptRecord(f"a stored merge base can't be read ({error})") from None


def digest_of(value: Any) -> str:
    """A hash of a JSON value: 32 hex digits, the same for equal values."""
    return hashlib.sha256(_canonical(value)).hexdigest()[:32]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode("utf-8")
