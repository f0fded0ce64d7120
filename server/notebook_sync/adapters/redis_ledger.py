"""What a document and a folder's file last had in common, and what writers announced, on Redis."""

from __future__ import annotations

import json
from dataclasses import asdict

from notebook_sync.adapters.redis_connection import Redis, trouble
from notebook_sync.core.errors import CorruptRecord
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.ports import FileRecord, Intent

INTENTS_KEPT = 16


class RedisFileLedger:
    """See ``ports.FileLedger``. Raises ``StoreUnavailable`` and ``CorruptRecord``."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._prefix = f"jc:{namespace}"

    def _key(self, document: DocumentId, folder: str, name: str) -> str:
        return f"{self._prefix}:{{{document}}}:files:{folder}:{name}"

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        common, intents = (self._key(document, folder, name) for name in ("common", "intents"))
        with trouble(common):
            digest, base = await self._redis.hmget(common, "digest", "base")
            announced = await self._redis.lrange(intents, 0, -1)
        try:
            return FileRecord(
                None if digest is None else digest.decode(), base, tuple(_intent(raw) for raw in announced)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecord(f"{intents}: an intent can't be read") from error

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        key = self._key(document, folder, "intents")
        with trouble(key):
            await self._redis.lpush(key, json.dumps(asdict(intent)))
            await self._redis.ltrim(key, 0, INTENTS_KEPT - 1)

    async def common(self, document: DocumentId, folder: str, digest: str, base: bytes) -> None:
        """See ``ports.FileLedger``."""
        key = self._key(document, folder, "common")
        with trouble(key):
            await self._redis.hset(key, mapping={"digest": digest, "base": base})


def _intent(raw: bytes) -> Intent:
    fields = json.loads(raw)
    return Intent(
        fields["digest"],
        NodeId(fields["node"]),
        Generation(fields["generation"]),
        int(fields["seq"]),
        int(fields["fence"]),
    )
