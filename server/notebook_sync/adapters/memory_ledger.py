"""The memory twins of leases and of the file ledger, on the same contract suites as Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from notebook_sync.adapters.memory_store import Faults
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import FileRecord, Intent, LeaseGranted, LeaseRefused

INTENTS_KEPT = 16


class MemoryLeaseStore:
    """See ``ports.LeaseStore``; ``now`` gives its clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.faults = Faults()
        self._now = now
        self._held: dict[tuple[DocumentId, str], tuple[NodeId, float, int, float]] = {}

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        await self.faults.before()
        now, key = self._now(), (document, purpose)
        owner, ends, fence, granted = self._held.get(key, (node, now, 0, ttl))
        # A clock that was set back must not make a lease last longer than it was granted for (rule 7).
        ends = min(ends, now + granted)
        self._held[key] = (owner, ends, fence, granted)
        if ends > now and owner != node:
            return LeaseRefused(owner)
        if ends <= now:
            fence += 1
        self._held[key] = (node, now + ttl, fence, ttl)
        self.faults.after()
        return LeaseGranted(fence)

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        await self.faults.before()
        held = self._held.get((document, purpose))
        if held is not None and held[0] == node:
            self._held[document, purpose] = (node, self._now(), held[2], held[3])


class MemoryFileLedger:
    """See ``ports.FileLedger``."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._records: dict[tuple[DocumentId, str], FileRecord] = {}

    def _known(self, document: DocumentId, folder: str) -> FileRecord:
        return self._records.get((document, folder), FileRecord())

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        return self._known(document, folder)

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        known = self._known(document, folder)
        others = tuple(other for other in known.intents if other != intent)
        self._records[document, folder] = FileRecord(
            known.digest, known.base, (intent, *others)[:INTENTS_KEPT]
        )
        self.faults.after()

    async def common(self, document: DocumentId, folder: str, digest: str, base: bytes) -> None:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        self._records[document, folder] = FileRecord(digest, base, self._known(document, folder).intents)
        self.faults.after()
