"""Names of the things the engine talks about (see docs/glossary.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

DocumentId = NewType("DocumentId", str)
"""A document's id in a namespace: 32 hex digits, kept over renames, ended by a delete."""

Lineage = NewType("Lineage", str)
"""Which CRDT history a document has: 32 hex digits, made when the document is first reserved."""

Generation = NewType("Generation", str)
"""Which incarnation of the log in Redis a ``seq`` belongs to: 32 hex digits, never a counter (rule 3)."""

NodeId = NewType("NodeId", str)
"""One run of one server process: 16 hex digits, never reused after a restart (rule 14)."""

ConnectionId = NewType("ConnectionId", int)
"""One socket of one person on this node."""

ClientId = NewType("ClientId", int)
"""The id a Yjs document writes under."""

UserId = NewType("UserId", str)
"""A person's stable user name on this server."""


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """How a file is seen as a document: ``format`` json, text or base64; ``type`` notebook, file, …"""

    format: str
    type: str

    def __str__(self) -> str:
        return f"{self.format}:{self.type}"


NOTEBOOK = DocumentKind("json", "notebook")


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """A document as people name it: its kind and its path from the server's root, without a leading slash."""

    kind: DocumentKind
    path: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"

    @property
    def is_text_of_notebook(self) -> bool:
        """Whether this is a notebook's file as text: a view beside the notebook, which alone is saved."""
        return self.kind.format == "text" and self.kind != NOTEBOOK and self.path.endswith(".ipynb")
