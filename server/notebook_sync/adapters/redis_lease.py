"""Leases with fencing tokens on Redis; by its server's clock, so that nodes' clocks need not agree."""

from __future__ import annotations

from notebook_sync.adapters.redis_connection import Redis, call, check_namespace
from notebook_sync.adapters.redis_records import Keys, readable
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import LeaseGranted, LeaseRefused


class RedisLeaseStore:
    """See ``ports.LeaseStore``. Raises ``StoreUnavailable`` and ``CorruptRecord``."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        check_namespace(namespace)
        self._redis = redis
        self._namespace = namespace

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        meta = Keys.of(self._namespace, document).meta
        answer = await call(self._redis, "jc1_lease", [meta], purpose, node, int(ttl * 1000))
        with readable(meta):
            granted, value = answer[0] == b"OK", answer[1].decode()
            return LeaseGranted(int(value)) if granted else LeaseRefused(NodeId(value))

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        await call(self._redis, "jc1_release", [Keys.of(self._namespace, document).meta], purpose, node)
