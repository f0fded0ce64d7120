"""Leases with fencing tokens on Redis; its server clock, so that nodes' clocks need not agree."""

from __future__ import annotations

from notebook_sync.adapters.redis_connection import Redis, call
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import LeaseGranted, LeaseRefused


class RedisLeaseStore:
    """See ``ports.LeaseStore``. Raises ``StoreUnavailable``."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._prefix = f"jc:{namespace}"

    def _key(self, document: DocumentId, purpose: str) -> str:
        return f"{self._prefix}:{{{document}}}:lease:{purpose}"

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """See ``ports.LeaseStore``."""
        key = self._key(document, purpose)
        granted, value = await call(self._redis, "jc1_lease", [key], node, int(ttl * 1000))
        return LeaseGranted(int(value)) if granted == b"1" else LeaseRefused(NodeId(value.decode()))

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None:
        """See ``ports.LeaseStore``."""
        await call(self._redis, "jc1_release", [self._key(document, purpose)], node)
