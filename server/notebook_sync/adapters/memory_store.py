"""The memory twin of the update store: for tests and simulation, on the same contract suite.

Deterministic: ids are counted, nothing waits unless told to.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from notebook_sync.adapters.compaction import fold
from notebook_sync.adapters.log_chain import START, next_chain
from notebook_sync.adapters.memory_channel import MemoryChannel
from notebook_sync.adapters.memory_faults import Faults
from notebook_sync.core.errors import DocumentEnded
from notebook_sync.core.ids import DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.paths import within
from notebook_sync.ports import (
    Appended,
    Attendance,
    Batch,
    Compacted,
    Cursor,
    EntryPublished,
    Loaded,
    LogEntry,
    NotCompacted,
    NotSeeded,
    StaleHistory,
    Trimmed,
)


@dataclass(slots=True)
class Lease:
    """Who has it until when; nobody gets it until then when ``owner`` is ""."""

    owner: NodeId
    ends: float
    fence: int
    ttl: float
    run_id: str


@dataclass(slots=True)
class Leases:
    """A document's leases by purpose, the run of the store in which it was seeded, and the time before which
    none is granted because it was founded again."""

    held: dict[str, Lease] = field(default_factory=dict)
    run_id: str | None = None
    after: float = 0.0


@dataclass(slots=True)
class _Document:
    lineage: Lineage | None = None
    ended: bool = False
    generation: Generation | None = None
    seq: int = 0
    chain: bytes = START
    snapshot: bytes = b""
    snapshot_at: tuple[int, bytes] = (0, START)
    log: list[LogEntry] = field(default_factory=list)
    numbers: dict[NodeId, tuple[int, Appended]] = field(default_factory=dict)
    trims: list[tuple[int, float]] = field(default_factory=list)
    leases: Leases = field(default_factory=Leases)


@dataclass(slots=True)
class _Sentinel:
    incarnation: str
    run_id: str
    until: float


class MemoryStore:
    """See ``ports.UpdateStore``.

    Args:
        channel: hears of appends.
        limits: ``compact_keep`` counts.
        now: the store's clock, seconds.
        recovery_window: seconds that recovery lasts after a loss or a restart.

    ``faults``, ``flush``, ``restart`` and ``rollback`` break it on purpose.
    """

    def __init__(
        self,
        channel: MemoryChannel | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        recovery_window: float = 0.0,
    ) -> None:
        self.faults = Faults()
        self.run_id = "run-1"
        self._recovery_window = recovery_window
        self._channel = channel
        self._limits = limits or Limits()
        self._now = now
        self._ids = itertools.count(1)
        self._incarnations = itertools.count(1)
        self._runs = itertools.count(2)
        self._sentinel: _Sentinel | None = None
        self._index: dict[DocumentKey, DocumentId] = {}
        self._documents: dict[DocumentId, _Document] = defaultdict(_Document)

    # --- faults -------------------------------------------------------------------------------

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self._index.clear()
        self._documents.clear()
        self._sentinel = None

    def restart(self) -> None:
        """Be another run of the server on the same data, as after a restart."""
        self.run_id = f"run-{next(self._runs)}"

    def rollback(self, document: DocumentId, to_seq: int) -> None:
        """Lose a document's newest entries and leases, as a restart from an older file does (rule 3).

        ``to_seq`` must not be before the snapshot.
        """
        stored = self._documents[document]
        if to_seq < stored.snapshot_at[0]:
            raise ValueError("the snapshot is newer than that")
        stored.log = [entry for entry in stored.log if entry.seq <= to_seq]
        at_end = [entry.chain for entry in stored.log if entry.seq == to_seq]
        stored.seq, stored.chain = to_seq, at_end[0] if at_end else stored.snapshot_at[1]
        stored.leases.held.clear()
        stored.numbers = {node: last for node, last in stored.numbers.items() if last[1].seq <= to_seq}
        self.restart()

    def leases_of(self, document: DocumentId) -> tuple[Leases, Generation | None]:
        """For the twin of leases, which are kept with the document and lost with it."""
        stored = self._documents[document]
        return stored.leases, stored.generation

    async def attend(self) -> Attendance:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        now, known = self._now(), self._sentinel
        if known is None or known.run_id != self.run_id:
            incarnation = known.incarnation if known else f"incarnation-{next(self._incarnations)}"
            known = self._sentinel = _Sentinel(incarnation, self.run_id, now + self._recovery_window)
        # A clock that was set back must not make recovery last longer than its window.
        known.until = min(known.until, now + self._recovery_window)
        self.faults.after()
        return Attendance(known.incarnation, known.run_id, max(0.0, known.until - now))

    # --- names --------------------------------------------------------------------------------

    async def document_id(self, key: DocumentKey, proposal: DocumentId | None = None) -> DocumentId:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        found = self._index.get(key)
        if found is None:
            taken = proposal is None or proposal in self._index.values() or self._documents[proposal].ended
            found = DocumentId(f"{next(self._ids):032x}") if taken or proposal is None else proposal
            self._index[key] = found
        self.faults.after()
        return found

    async def find_document(self, key: DocumentKey) -> DocumentId | None:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        return self._index.get(key)

    async def rename(self, old: str, new: str) -> None:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        moving = [key for key in self._index if within(key.path, old)] if old != new else []
        moved = {DocumentKey(key.kind, new + key.path[len(old) :]): self._index.pop(key) for key in moving}
        if moved:
            self._end(new)
        self._index |= moved
        self.faults.after()

    async def forget(self, path: str) -> None:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        self._end(path)
        self.faults.after()

    def _end(self, path: str) -> None:
        for key in [key for key in self._index if within(key.path, path)]:
            self._documents[self._index.pop(key)].ended = True

    # --- content ------------------------------------------------------------------------------

    async def reserve(self, document: DocumentId, proposal: Lineage) -> Lineage:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        stored = self._documents[document]
        if stored.ended:
            raise DocumentEnded(f"{document}: this document has ended, its file is gone")
        stored.lineage = stored.lineage or proposal
        self.faults.after()
        return stored.lineage

    async def load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        return self._load(document)

    def _load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        stored = self._documents[document]
        if stored.lineage is None or stored.ended:
            return None
        if stored.generation is None:
            return NotSeeded(stored.lineage)
        tail = tuple(entry for entry in stored.log if entry.seq > stored.snapshot_at[0])
        cursor = Cursor(stored.generation, stored.seq, stored.chain)
        return Loaded(stored.lineage, stored.snapshot, tail, cursor)

    async def seed(
        self,
        document: DocumentId,
        lineage: Lineage,
        generation: Generation,
        snapshot: bytes,
        *,
        again: bool = False,
    ) -> bool:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        stored = self._documents[document]
        if stored.ended or stored.lineage not in (None, lineage):
            return False
        if stored.generation is None:
            stored.lineage, stored.generation, stored.snapshot = lineage, generation, snapshot
            stored.leases.run_id = self.run_id
            if again and self._recovery_window:
                stored.leases.after = self._now() + self._limits.lease_ttl + self._limits.lease_grace
        self.faults.after()
        return stored.generation == generation

    async def append(self, document: DocumentId, batch: Batch) -> Appended | StaleHistory:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        stored = self._documents[document]
        if stored.ended:
            return StaleHistory(None, None)
        if (stored.lineage, stored.generation) != (batch.lineage, batch.generation):
            return StaleHistory(stored.lineage, stored.generation)
        last = stored.numbers.get(batch.node)
        if last is not None and batch.number <= last[0]:
            return last[1]
        stored.seq += 1
        stored.chain = next_chain(stored.chain, batch.node, batch.updates)
        appended = Appended(stored.seq, stored.chain)
        stored.numbers[batch.node] = (batch.number, appended)
        entry = LogEntry(stored.seq, batch.node, batch.updates, stored.chain)
        stored.log.append(entry)
        self._trim(stored)
        if self._channel is not None:
            small = sum(map(len, batch.updates)) <= self._limits.channel_inline
            published = EntryPublished(batch.generation, entry.seq, entry if small else None)
            self._channel.publish(document, published)
        self.faults.after()
        return appended

    async def since(self, document: DocumentId, cursor: Cursor) -> tuple[LogEntry, ...] | Trimmed:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        stored = self._documents[document]
        if not _is_place(stored, cursor):
            return Trimmed()
        return tuple(entry for entry in stored.log if entry.seq > cursor.seq)

    async def confirms(self, document: DocumentId, cursor: Cursor) -> bool:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        return _is_place(self._documents[document], cursor)

    async def compact(self, document: DocumentId) -> Compacted | NotCompacted:
        """See ``ports.UpdateStore``."""
        await self.faults.before()
        stored, loaded = self._documents[document], self._load(document)
        self._trim(stored)
        if not isinstance(loaded, Loaded) or not loaded.tail:
            return NotCompacted("there is nothing to compact")
        stored.snapshot = fold([loaded.snapshot, *(u for entry in loaded.tail for u in entry.updates)])
        stored.snapshot_at = (loaded.cursor.seq, loaded.cursor.chain)
        stored.trims.append((loaded.cursor.seq, self._now() + self._limits.compact_keep))
        self._trim(stored)
        self.faults.after()
        return Compacted(loaded.cursor.seq)

    def _trim(self, stored: _Document) -> None:
        while stored.trims and stored.trims[0][1] <= self._now():
            upto, _ = stored.trims.pop(0)
            stored.log = [entry for entry in stored.log if entry.seq > upto]


def _is_place(stored: _Document, cursor: Cursor) -> bool:
    if stored.ended or stored.generation != cursor.generation or cursor.seq > stored.seq:
        return False
    chains = {0: START, **{entry.seq: entry.chain for entry in stored.log}}
    chains |= {stored.seq: stored.chain, stored.snapshot_at[0]: stored.snapshot_at[1]}
    follow = sum(entry.seq > cursor.seq for entry in stored.log)
    return chains.get(cursor.seq) == cursor.chain and follow == stored.seq - cursor.seq
