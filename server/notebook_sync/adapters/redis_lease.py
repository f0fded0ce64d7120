"""Leases with fencing tokens on Redis; by its server's clock, so that nodes' clocks need not agree."""

from __future__ import annotations

from notebook_sync.adapters.redis_connection import Redis, call, check_namespace
from notebook_sync.adapters.redis_records import Keys, readable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.ports import LeaseGranted, LeaseRefused


class RedisLeaseStore:
    """See ``ports.LeaseStore``. Raises ``StoreUnavailable`` and ``CorruptRecord``.

    Args:
        redis: a checked client (``redis_connection.connect``).
        namespace: as of the update store.
        grace: after a restart, a failover or a loss, leases that this Redis may have forgotten are waited
            for, as long as a lease lasts and so many seconds more: ``Limits.lease_grace`` for a Redis that
            servers share. 0: no wait, for the embedded one, whose servers have one disk for their intents.
    """

    def __init__(self, redis: Redis, namespace: str, *, grace: float = 0.0) -> None:
        check_namespace(namespace)
        self._grace = int(grace * 1000)
        self._redis = redis
        self._namespace = namespace

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        meta = Keys.of(self._namespace, document).meta
        answer = await call(self._redis, "jc1_lease", [meta], purpose, node, int(ttl * 1000), self._grace)
        with readable(meta):
            if answer[0] != b"OK":
                return LeaseRefused(NodeId(answer[1].decode()))
            generation = answer[2].decode()
            return LeaseGranted(int(answer[1]), Generation(generation) if generation else None)

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        await call(self._redis, "jc1_release", [Keys.of(self._namespace, document).meta], purpose, node)
