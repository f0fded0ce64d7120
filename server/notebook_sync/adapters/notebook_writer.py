"""Notebooks in normal form as file content: the bytes that nbformat writes.

The writer is our own because the standard one is all Python once it indents, and most of a save's
time: a notebook of 20 MB with a million lines of output takes it four times as long.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring  # in C where there is a C compiler, without \\u for what UTF-8 has
from typing import Any

from notebook_sync.adapters.notebook_form import Json

FIRST_MINOR_WITH_IDS = 5
_SPLIT_MIME = ("application/javascript", "image/svg+xml")


def write_notebook(notebook: Json) -> bytes:
    """The file content of a notebook in normal form."""
    with_ids = notebook["nbformat_minor"] >= FIRST_MINOR_WITH_IDS
    cells = [_split_cell(cell, with_ids) for cell in notebook["cells"]]
    return indented({**notebook, "cells": cells}).encode("utf-8") + b"\n"


def indented(value: Any, level: int = 0) -> str:
    """A JSON value as ``json.dumps`` with indent 1, sorted keys and no escapes for Unicode writes it."""
    if isinstance(value, str):
        return encode_basestring(value)
    if not value or not isinstance(value, (dict, list)):
        return json.dumps(value)
    inner = "\n" + " " * (level + 1)
    if isinstance(value, dict):
        parts = [f"{encode_basestring(key)}: {indented(value[key], level + 1)}" for key in sorted(value)]
        opening, closing = "{", "}"
    else:
        parts = [encode_basestring(v) if type(v) is str else indented(v, level + 1) for v in value]
        opening, closing = "[", "]"
    return f"{opening}{inner}{f',{inner}'.join(parts)}{inner[:-1]}{closing}"


def _split_cell(cell: Json, with_id: bool) -> Json:
    split = {**cell, "source": cell["source"].splitlines(True)}
    if not with_id:
        del split["id"]
    if "outputs" in cell:
        split["outputs"] = [_split_output(output) for output in cell["outputs"]]
    if "attachments" in cell:
        split["attachments"] = {name: _split_bundle(bundle) for name, bundle in cell["attachments"].items()}
    return split


def _split_output(output: Json) -> Json:
    if output["output_type"] == "stream":
        return {**output, "text": output["text"].splitlines(True)}
    if "data" in output:
        return {**output, "data": _split_bundle(output["data"])}
    return output


def _split_bundle(bundle: Json) -> Json:
    return {
        mime: value.splitlines(True)
        if isinstance(value, str) and (mime.startswith("text/") or mime in _SPLIT_MIME)
        else value
        for mime, value in bundle.items()
    }
