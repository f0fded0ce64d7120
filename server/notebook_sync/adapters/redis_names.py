"""What is about a whole namespace on Redis: which Redis it is, and which document is at which path."""

from __future__ import annotations

import secrets

from notebook_sync.adapters.redis_connection import Redis, call, check_namespace, run, trouble
from notebook_sync.adapters.redis_records import Keys, index_member, path_name, readable
from notebook_sync.core.ids import DocumentId, DocumentKey
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Attendance


class RedisNames:
    """The part of ``redis_store.RedisUpdateStore`` that is about names."""

    def __init__(self, redis: Redis, namespace: str, limits: Limits, recovery_window: float) -> None:
        check_namespace(namespace)
        self._redis = redis
        self._namespace = namespace
        self._limits = limits
        self._recovery_window = recovery_window

    def _keys(self, document: DocumentId) -> Keys:
        return Keys.of(self._namespace, document)

    def _index(self, name: str) -> str:
        return f"jc:{self._namespace}:{{index}}:{name}"

    async def attend(self) -> Attendance:
        """See ``ports.UpdateStore``."""
        sentinel, window = self._index("sentinel"), int(self._recovery_window * 1000)
        answer = await call(self._redis, "jc1_attend", [sentinel], secrets.token_hex(16), window)
        with readable(sentinel):
            return Attendance(answer[0].decode(), answer[1].decode(), int(answer[2]) / 1000)

    async def document_id(self, key: DocumentKey, proposal: DocumentId | None = None) -> DocumentId:
        """See ``ports.UpdateStore``."""
        index = [self._index(name) for name in ("paths", "order", "places")]
        if proposal is not None and await self._has_ended(proposal):
            proposal = None
        found = await call(
            self._redis, "jc1_document", index, index_member(key), secrets.token_hex(16), proposal or ""
        )
        with readable(index[0]):
            return DocumentId(found.decode())

    async def _has_ended(self, document: DocumentId) -> bool:
        meta = self._keys(document).meta
        with trouble(meta):
            return await run(self._redis, "HGET", meta, "ended") is not None

    async def find_document(self, key: DocumentKey) -> DocumentId | None:
        """See ``ports.UpdateStore``."""
        paths = self._index("paths")
        with trouble(paths):
            found = await run(self._redis, "HGET", paths, index_member(key))
        with readable(paths):
            return None if found is None else DocumentId(found.decode())

    async def rename(self, old: str, new: str) -> None:
        """See ``ports.UpdateStore``."""
        if old != new:
            await self._move(old, new)

    async def forget(self, path: str) -> None:
        """See ``ports.UpdateStore``."""
        await self._move(path, "")

    async def _move(self, old: str, new: str) -> None:
        ending = self._index("ending")
        keys = [self._index("paths"), self._index("order"), ending]
        # Also what an earlier call could not mark: it died, or Redis did.
        keys.append(self._index("places"))
        for raw in await call(self._redis, "jc1_move", keys, path_name(old), path_name(new)):
            with readable(ending):
                document = DocumentId(raw.decode())
            await self._finish(document)
            with trouble(ending):
                await self._redis.srem(ending, raw)

    async def _finish(self, document: DocumentId) -> None:
        """No more appends; what there is stays for a while, for those who want it back."""
        keys = self._keys(document)
        seconds = int(self._limits.ended_keep)
        answer = await call(self._redis, "jc1_finish", [keys.meta, keys.log, keys.files], seconds)
        if not answer:
            return
        with readable(keys.meta):
            parts = keys.parts(answer[0].decode(), int(answer[1]))
        with trouble(keys.meta):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for part in parts:
                    pipeline.expire(part, seconds)
                await pipeline.execute()
