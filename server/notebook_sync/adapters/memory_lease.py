"""The memory twin of leases, on the same contract suite as Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

from notebook_sync.adapters.memory_faults import Faults
from notebook_sync.adapters.memory_store import Lease, MemoryStore
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import LeaseGranted, LeaseRefused

NOBODY = NodeId("")


class MemoryLeaseStore:
    """See ``ports.LeaseStore``.

    Args:
        now: its clock in seconds.
        store: the twin that leases are kept in and lost with; one of its own if not given.
        grace: as of ``RedisLeaseStore``.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        store: MemoryStore | None = None,
        *,
        grace: float = 0.0,
    ) -> None:
        self.faults = Faults()
        self._now = now
        self._store = store or MemoryStore(now=now)
        self._grace = grace

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        await self.faults.before()
        leases, generation = self._store.leases_of(document)
        now, run_id = self._now(), self._store.run_id
        lease = leases.held.get(purpose)
        if lease is None:
            lease = Lease(NOBODY, leases.after, 0, ttl, leases.run_id or run_id)
            leases.held[purpose] = lease
        if self._grace and lease.run_id != run_id:
            wait = max(lease.ttl, ttl) + self._grace
            lease.owner, lease.ends, lease.ttl, lease.run_id = NOBODY, now + wait, wait, run_id
        # A clock that was set back must not make a lease, or a wait, last longer than it can (rule 7).
        longest = lease.ttl if lease.owner else max(lease.ttl, ttl + self._grace)
        lease.ends = min(lease.ends, now + longest)
        if lease.owner != node and lease.ends > now:
            return LeaseRefused(lease.owner)
        if lease.owner != node or lease.ends <= now:
            lease.fence += 1
        lease.owner, lease.ends, lease.ttl, lease.run_id = node, now + ttl, ttl, run_id
        self.faults.after()
        return LeaseGranted(lease.fence, generation)

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        await self.faults.before()
        lease = self._store.leases_of(document)[0].held.get(purpose)
        if lease is not None and lease.owner == node:
            lease.ends = self._now()
