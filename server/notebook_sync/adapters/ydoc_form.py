"""Documents that are not notebooks: text files, and the types that other packages add to jupyter_ydoc.

A text file is one ``Y.Text`` named ``source``. Any other type of jupyter_ydoc's entry points (``blob``,
``chat``, …) is only read and set as a whole through its own class. A type that nobody knows is
served and saved as a text file.
"""

from __future__ import annotations

import base64
import binascii
import json
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from pycrdt import Doc, Text

from notebook_sync.core.errors import UnreadableDocument
from notebook_sync.core.ids import DocumentKind

_TEXT_TYPES = ("file", "unicode")


class YDocument(Protocol):
    """What is used of jupyter_ydoc's document classes."""

    def __init__(self, ydoc: Doc[Any]) -> None: ...

    def get(self) -> Any: ...

    def set(self, value: Any) -> None: ...


def class_of(kind: DocumentKind) -> type[YDocument] | None:
    """The class of a type that is neither notebook nor text; None for text files and unknown types."""
    if kind.type in _TEXT_TYPES:
        return None
    for entry in entry_points(group="jupyter_ydoc", name=kind.type):
        try:
            return cast("type[YDocument]", entry.load())
        except ImportError as error:
            raise UnreadableDocument(
                f'Documents of type "{kind.type}" need {entry.value}, which does not load ({error}).'
            ) from None
    return None


def is_base64(kind: DocumentKind) -> bool:
    """Whether the document holds the file's bytes as base64 text."""
    return kind.format == "base64"


def source_of(doc: Doc[Any]) -> Text:
    """The text of a text file's document."""
    source: Text = doc.get("source", type=Text)
    return source


def read_text(kind: DocumentKind, data: bytes) -> str:
    """The text that the document of a file with content ``data`` has. Raises ``UnreadableDocument``."""
    if is_base64(kind):
        return base64.encodebytes(data).decode("ascii")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(
            f"This file is not UTF-8 text (byte {error.start + 1}): save it as UTF-8 to edit it together."
        ) from None
    return text.replace("\r\n", "\n")


def write_text(kind: DocumentKind, text: str) -> bytes:
    """The file content of a text. Raises ``UnreadableDocument`` for base64 that is none."""
    if not is_base64(kind):
        return text.encode("utf-8")
    try:
        return base64.decodebytes(text.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise UnreadableDocument(f"This document should hold base64 and does not ({error}).") from None


def set_whole(document: YDocument, kind: DocumentKind, data: bytes) -> None:
    """Give a document of a class of its own the content of a file."""
    document.set(data if kind.type == "blob" else read_text(kind, data))


def get_whole(document: YDocument, kind: DocumentKind) -> bytes:
    """The file content of a document of a class of its own."""
    value = document.get()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, str):
        return write_text(kind, value)
    return json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8") + b"\n"
