"""The memory twins of the ports that Redis serves: for tests and simulation, on the same contract suites."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from notebook_sync.adapters.compaction import fold
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.ports import (
    Appended,
    AwarenessPublished,
    Batch,
    ChannelEvent,
    Compacted,
    Cursor,
    EntryPublished,
    FileRecord,
    Intent,
    LeaseGranted,
    LeaseRefused,
    Loaded,
    LogEntry,
    NotCompacted,
    NotSeeded,
    StaleHistory,
    Trimmed,
)

Listener = Callable[[ChannelEvent], None]
INTENTS_KEPT = 16


class MemoryChannel:
    """Delivers at once, to every listener of every node that shares it."""

    def __init__(self) -> None:
        self._listeners: dict[DocumentId, list[tuple[object, Listener]]] = defaultdict(list)

    def for_node(self, node: NodeId) -> MemoryNodeChannel:
        """The channel as one node sees it."""
        return MemoryNodeChannel(self, node)

    def listen(self, document: DocumentId, owner: object, listener: Listener) -> None:
        """``listener`` hears of ``document`` until ``ignore`` with the same owner."""
        self.ignore(document, owner)
        self._listeners[document].append((owner, listener))

    def ignore(self, document: DocumentId, owner: object) -> None:
        """The owner's listener hears no more."""
        self._listeners[document] = [pair for pair in self._listeners[document] if pair[0] is not owner]

    def publish(self, document: DocumentId, event: ChannelEvent, besides: object = None) -> None:
        """Tell every listener but that of ``besides``."""
        for owner, listener in list(self._listeners[document]):
            if owner is not besides:
                listener(event)


class MemoryNodeChannel:
    """See ``ports.Channel``."""

    def __init__(self, hub: MemoryChannel, node: NodeId) -> None:
        self._hub = hub
        self._node = node

    async def subscribe(self, document: DocumentId, listener: Listener) -> None:
        """See ``ports.Channel``."""
        self._hub.listen(document, self, listener)

    async def unsubscribe(self, document: DocumentId) -> None:
        """See ``ports.Channel``."""
        self._hub.ignore(document, self)

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None:
        """See ``ports.Channel``."""
        self._hub.publish(document, AwarenessPublished(node, frame), besides=self)


@dataclass(slots=True)
class _Document:
    lineage: Lineage
    generation: Generation | None = None
    seq: int = 0
    chain: bytes = bytes(8)
    snapshot: bytes = b""
    snapshot_at: tuple[int, bytes] = (0, bytes(8))
    log: list[LogEntry] = field(default_factory=list)
    numbers: dict[NodeId, tuple[int, Appended]] = field(default_factory=dict)


class MemoryStore:
    """See ``ports.UpdateStore``. ``down`` makes every call raise; ``channel`` hears of appends."""

    def __init__(self, channel: MemoryChannel | None = None) -> None:
        self.down = False
        self._channel = channel
        self._ids = itertools.count(1)
        self._index: dict[DocumentKey, DocumentId] = {}
        self._documents: dict[DocumentId, _Document] = {}

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the store does not answer: it is down")

    def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self._index.clear()
        self._documents.clear()

    async def document_id(self, key: DocumentKey) -> DocumentId:
        """See ``ports.UpdateStore``."""
        self._check()
        return self._index.setdefault(key, DocumentId(f"{next(self._ids):032x}"))

    async def find_document(self, key: DocumentKey) -> DocumentId | None:
        """See ``ports.UpdateStore``."""
        self._check()
        return self._index.get(key)

    async def rename(self, old: str, new: str) -> None:
        """See ``ports.UpdateStore``."""
        self._check()
        if old == new:
            return
        moving = {key: document for key, document in self._index.items() if _below(key.path, old)}
        kept = {k: d for k, d in self._index.items() if k not in moving and not _below(k.path, new)}
        for key, document in moving.items():
            kept[DocumentKey(key.kind, new + key.path[len(old) :])] = document
        self._index = kept

    async def forget(self, path: str) -> None:
        """See ``ports.UpdateStore``."""
        self._check()
        self._index = {k: d for k, d in self._index.items() if not _below(k.path, path)}

    async def reserve(self, document: DocumentId, proposal: Lineage) -> Lineage:
        """See ``ports.UpdateStore``."""
        self._check()
        return self._documents.setdefault(document, _Document(proposal)).lineage

    async def load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        """See ``ports.UpdateStore``."""
        self._check()
        stored = self._documents.get(document)
        if stored is None:
            return None
        if stored.generation is None:
            return NotSeeded(stored.lineage)
        tail = tuple(entry for entry in stored.log if entry.seq > stored.snapshot_at[0])
        return Loaded(
            stored.lineage, stored.snapshot, tail, Cursor(stored.generation, stored.seq, stored.chain)
        )

    async def seed(
        self, document: DocumentId, lineage: Lineage, generation: Generation, snapshot: bytes
    ) -> bool:
        """See ``ports.UpdateStore``."""
        self._check()
        stored = self._documents.setdefault(document, _Document(lineage))
        if stored.generation is not None:
            return stored.generation == generation
        if stored.lineage != lineage:
            return False
        stored.generation, stored.snapshot = generation, snapshot
        return True

    async def append(self, document: DocumentId, batch: Batch) -> Appended | StaleHistory:
        """See ``ports.UpdateStore``."""
        self._check()
        stored = self._documents.get(document)
        if stored is None:
            return StaleHistory(None, None)
        if (stored.lineage, stored.generation) != (batch.lineage, batch.generation):
            return StaleHistory(stored.lineage, stored.generation)
        last = stored.numbers.get(batch.node)
        if last is not None and last[0] == batch.number:
            return last[1]
        stored.seq += 1
        linked = stored.chain.hex().encode() + batch.node.encode() + b"".join(batch.updates)
        stored.chain = hashlib.sha1(linked, usedforsecurity=False).digest()[:8]
        appended = Appended(stored.seq, stored.chain)
        stored.numbers[batch.node] = (batch.number, appended)
        entry = LogEntry(stored.seq, batch.node, batch.updates, stored.chain)
        stored.log.append(entry)
        if self._channel is not None:
            self._channel.publish(document, EntryPublished(batch.generation, entry.seq, entry))
        return appended

    async def since(self, document: DocumentId, cursor: Cursor) -> tuple[LogEntry, ...] | Trimmed:
        """See ``ports.UpdateStore``."""
        self._check()
        stored = self._documents.get(document)
        if stored is None or stored.generation != cursor.generation or cursor.seq > stored.seq:
            return Trimmed()
        chains = {0: bytes(8), **{entry.seq: entry.chain for entry in stored.log}}
        chains[stored.snapshot_at[0]] = stored.snapshot_at[1]
        entries = tuple(entry for entry in stored.log if entry.seq > cursor.seq)
        if chains.get(cursor.seq) != cursor.chain or len(entries) != stored.seq - cursor.seq:
            return Trimmed()
        return entries

    async def compact(self, document: DocumentId) -> Compacted | NotCompacted:
        """See ``ports.UpdateStore``; entries that the snapshot covers go at once."""
        loaded = await self.load(document)
        if not isinstance(loaded, Loaded) or not loaded.tail:
            return NotCompacted("there is nothing to compact")
        stored = self._documents[document]
        stored.snapshot = fold([loaded.snapshot, *(u for entry in loaded.tail for u in entry.updates)])
        stored.snapshot_at = (stored.seq, stored.chain)
        stored.log.clear()
        return Compacted(stored.seq)


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


class MemoryLeaseStore:
    """See ``ports.LeaseStore``; ``now`` gives its clock in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[tuple[DocumentId, str], tuple[NodeId, float, int]] = {}

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        owner, until, fence = self._held.get((document, purpose), (node, 0.0, 0))
        held = until > self._now()
        if held and owner != node:
            return LeaseRefused(owner)
        fence = fence if held else fence + 1
        self._held[document, purpose] = (node, self._now() + ttl, fence)
        return LeaseGranted(fence)

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        owner, _, fence = self._held.get((document, purpose), (None, 0.0, 0))
        if owner == node:
            self._held[document, purpose] = (node, 0.0, fence)


class MemoryFileLedger:
    """See ``ports.FileLedger``."""

    def __init__(self) -> None:
        self._records: dict[tuple[DocumentId, str], FileRecord] = {}

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        return self._records.get((document, folder), FileRecord())

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        known = await self.record(document, folder)
        intents = (intent, *known.intents)[:INTENTS_KEPT]
        self._records[document, folder] = FileRecord(known.digest, known.base, intents)

    async def common(self, document: DocumentId, folder: str, digest: str, base: bytes) -> None:
        """See ``ports.FileLedger``."""
        known = await self.record(document, folder)
        self._records[document, folder] = FileRecord(digest, base, known.intents)
