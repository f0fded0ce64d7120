"""A disk for local copies, in memory and real, behind one face, and documents to keep on it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Protocol

from notebook_sync.adapters.local_copies import FileLocalCopies
from notebook_sync.adapters.memory_copies import MemoryDisk, MemoryLocalCopies
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Cursor, LocalCopies, LocalHead

LIMITS = Limits()
D, E = DocumentId("d" * 32), DocumentId("e" * 32)
L, M = Lineage("1" * 32), Lineage("2" * 32)
G = Generation("9" * 32)
_nodes = itertools.count(1)


def new_node() -> NodeId:
    """A node id that was never used."""
    return NodeId(f"{next(_nodes):016x}")


def head(
    document: DocumentId = D,
    lineage: Lineage = L,
    path: str = "a.ipynb",
    cursor: Cursor | None = None,
    provisional: bool = False,
) -> LocalHead:
    """A notebook's head."""
    return LocalHead(document, lineage, DocumentKey(NOTEBOOK, path), cursor, provisional)


def cursor(seq: int) -> Cursor:
    """A place in the one log of these tests."""
    return Cursor(G, seq, bytes([seq % 256]) * 8)


class Disk(Protocol):
    """Somewhere servers keep their copies."""

    def server(self, node: NodeId | None = None) -> LocalCopies:
        """A server on this disk, to be entered; a new one if no ``node`` is given."""
        ...


class InMemory:
    """The twin."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def server(self, node: NodeId | None = None) -> MemoryLocalCopies:
        return MemoryLocalCopies(self.disk, node or new_node())


class OnFiles:
    """The real one, in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def server(self, node: NodeId | None = None) -> FileLocalCopies:
        return FileLocalCopies(self.directory, node or new_node(), LIMITS)
