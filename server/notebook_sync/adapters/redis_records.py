"""Names of keys in Redis, and reading what is stored under them. See functions.lua for the fields."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_sync.adapters.log_chain import next_chain
from notebook_sync.core.errors import CorruptRecord
from notebook_sync.core.ids import DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.ports import Cursor, LogEntry


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of one document's keys; all are in one slot, by the document's id in braces."""

    prefix: str

    @classmethod
    def of(cls, namespace: str, document: DocumentId) -> Keys:
        return cls(f"jc:{namespace}:{{{document}}}:")

    @property
    def meta(self) -> str:
        return f"{self.prefix}meta"

    @property
    def log(self) -> str:
        return f"{self.prefix}log"

    @property
    def files(self) -> str:
        return f"{self.prefix}files"

    @property
    def updates(self) -> str:
        """The channel of log entries."""
        return f"{self.prefix}updates"

    @property
    def awareness(self) -> str:
        """The channel of awareness."""
        return f"{self.prefix}awareness"

    def parts(self, snapshot: str, count: int) -> list[str]:
        return [f"{self.prefix}snap:{snapshot}:{k}" for k in range(count)]


@contextlib.contextmanager
def readable(key: str) -> Iterator[None]:
    """What fails inside was stored by nobody of ours: ``CorruptRecord`` naming the key."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CorruptRecord(f"{key} can't be read: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Head:
    """What ``jc1_load`` says besides entries; ``cursor`` is the snapshot's place, ``seq`` the log's end."""

    lineage: Lineage
    seq: int
    snapshot: str
    parts: int
    cursor: Cursor

    @classmethod
    def of(cls, answer: Sequence[Any]) -> Head:
        lineage, generation, seq, snapshot, parts, snapshot_seq, chain = (raw.decode() for raw in answer[:7])
        cursor = Cursor(Generation(generation), int(snapshot_seq), bytes.fromhex(chain))
        return cls(Lineage(lineage), int(seq), snapshot, int(parts), cursor)


def end_of(cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor:
    """The place after ``entries``, which follow ``cursor``."""
    return Cursor(cursor.generation, entries[-1].seq, entries[-1].chain) if entries else cursor


def read_entries(raw: Sequence[Any], after: Cursor, key: str) -> list[LogEntry]:
    """Stream entries; raises ``CorruptRecord`` unless each follows the one before by number and chain."""
    entries: list[LogEntry] = []
    seq, chain = after.seq, after.chain
    for name, flat in raw:
        with readable(f"{key}: the entry after {seq}"):
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            node = NodeId(fields[b"w"].decode())
            updates = tuple(fields[b"u%d" % i] for i in range(len(fields) - 2))
            found = (int(name.split(b"-")[0]), bytes.fromhex(fields[b"c"].decode()))
        seq, chain = seq + 1, next_chain(chain, node, updates)
        if found != (seq, chain):
            raise CorruptRecord(f"{key}: the entry {found[0]} does not follow the one before")
        entries.append(LogEntry(seq, node, updates, chain))
    return entries


def path_name(path: str) -> bytes:
    """A path as a key: any name that a file system gives can be one."""
    return path.encode("utf-8", "surrogateescape")


def index_member(key: DocumentKey) -> bytes:
    """A document's name in the index: its path first, so that what is below a folder is together."""
    return path_name(key.path) + b"\0" + str(key.kind).encode()
