"""The update store on Redis: a log, a snapshot and a path index, all through our functions.

Key names: ``jc:<namespace>:{<document id>}:meta|log|snap:<id>:<k>`` and, per namespace, the hash
``jc:<namespace>:{index}:paths`` from kind and path to document id.
"""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import Executor

from notebook_sync.adapters.compaction import fold
from notebook_sync.adapters.redis_connection import Redis, call, trouble
from notebook_sync.core.errors import CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import (
    Appended,
    Batch,
    Compacted,
    Cursor,
    Loaded,
    LogEntry,
    NotCompacted,
    NotSeeded,
    StaleHistory,
    Trimmed,
)

SEED_EXPIRY = 3600
"""Seconds that the chunks of a snapshot live that no document took, after a crash in between."""
ENDED_EXPIRY = 30 * 24 * 3600
"""Seconds that the log of a deleted document is kept."""
LOAD_TRIES = 5


class RedisUpdateStore:
    """``redis``: a checked client (``redis_connection.connect``); ``executor`` runs compaction."""

    def __init__(self, redis: Redis, namespace: str, limits: Limits, executor: Executor) -> None:
        self._redis = redis
        self._prefix = f"jc:{namespace}"
        self._limits = limits
        self._executor = executor

    def _key(self, document: DocumentId, name: str) -> str:
        return f"{self._prefix}:{{{document}}}:{name}"

    def _chunk_keys(self, document: DocumentId, snapshot: str, count: int) -> list[str]:
        return [self._key(document, f"snap:{snapshot}:{k}") for k in range(count)]

    @property
    def _index(self) -> str:
        return f"{self._prefix}:{{index}}:paths"

    # --- names --------------------------------------------------------------------------------

    async def document_id(self, key: DocumentKey) -> DocumentId:
        """See ``ports.UpdateStore``."""
        with trouble(self._index):
            await self._redis.hsetnx(self._index, str(key), secrets.token_hex(16))
        found = await self.find_document(key)
        if found is None:
            raise StoreUnavailable(f"the index forgot {key.path} at once")
        return found

    async def find_document(self, key: DocumentKey) -> DocumentId | None:
        """See ``ports.UpdateStore``."""
        with trouble(self._index):
            found = await self._redis.hget(self._index, str(key))
        return None if found is None else DocumentId(found.decode())

    async def rename(self, old: str, new: str) -> None:
        """See ``ports.UpdateStore``."""
        if old != new:
            await self._move(old, new)

    async def forget(self, path: str) -> None:
        """See ``ports.UpdateStore``."""
        await self._move(path, "")

    async def _move(self, old: str, new: str) -> None:
        ended = await call(self._redis, "jc1_move", [self._index], old, new)
        for document in ended:
            await self._end(DocumentId(document.decode()))

    async def _end(self, document: DocumentId) -> None:
        meta = self._key(document, "meta")
        with trouble(meta):
            snapshot, count = await self._redis.hmget(meta, "snap", "chunks")
            keys = [meta, self._key(document, "log")]
            if snapshot is not None:
                keys += self._chunk_keys(document, snapshot.decode(), int(count))
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.expire(key, ENDED_EXPIRY)
                await pipeline.execute()

    # --- content ------------------------------------------------------------------------------

    async def reserve(self, document: DocumentId, proposal: Lineage) -> Lineage:
        """See ``ports.UpdateStore``."""
        lineage = await call(self._redis, "jc1_reserve", [self._key(document, "meta")], proposal)
        return Lineage(lineage.decode())

    async def load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        """See ``ports.UpdateStore``."""
        keys = [self._key(document, "meta"), self._key(document, "log")]
        for _ in range(LOAD_TRIES):
            answer = await call(self._redis, "jc1_load", keys)
            if answer is None:
                return None
            if len(answer) == 1:
                return NotSeeded(Lineage(answer[0].decode()))
            lineage, generation, seq, chain, snapshot_id, count, entries = answer
            snapshot = await self._read_chunks(document, snapshot_id.decode(), int(count))
            if snapshot is not None:
                return Loaded(
                    Lineage(lineage.decode()),
                    snapshot,
                    tuple(_entry(entry, keys[1]) for entry in entries),
                    Cursor(Generation(generation.decode()), int(seq), bytes.fromhex(chain.decode())),
                )
        raise CorruptRecord(f"{keys[0]}: its snapshot is not there")

    async def _read_chunks(self, document: DocumentId, snapshot: str, count: int) -> bytes | None:
        """The snapshot; None when it was replaced meanwhile."""
        parts: list[bytes] = []
        for key in self._chunk_keys(document, snapshot, count):
            with trouble(key):
                part = await self._redis.get(key)
            if part is None:
                return None
            parts.append(part)
        return b"".join(parts)

    async def _write_chunks(self, document: DocumentId, snapshot: bytes) -> tuple[str, list[str]]:
        """Store the parts of a snapshot under a new id; they expire unless a document takes them."""
        name = secrets.token_hex(8)
        size = self._limits.snapshot_chunk
        parts = [snapshot[start : start + size] for start in range(0, max(len(snapshot), 1), size)]
        keys = self._chunk_keys(document, name, len(parts))
        for key, part in zip(keys, parts, strict=True):
            with trouble(key):
                await self._redis.set(key, part, ex=SEED_EXPIRY)
        return name, keys

    async def seed(
        self, document: DocumentId, lineage: Lineage, generation: Generation, snapshot: bytes
    ) -> bool:
        """See ``ports.UpdateStore``."""
        name, keys = await self._write_chunks(document, snapshot)
        meta = self._key(document, "meta")
        return bool(await call(self._redis, "jc1_seed", [meta, *keys], lineage, generation, name))

    async def append(self, document: DocumentId, batch: Batch) -> Appended | StaleHistory:
        """See ``ports.UpdateStore``."""
        answer = await call(
            self._redis,
            "jc1_append",
            [self._key(document, "meta"), self._key(document, "log")],
            batch.lineage,
            batch.generation,
            batch.node,
            batch.number,
            self._key(document, "updates"),
            self._limits.channel_inline,
            *batch.updates,
        )
        if answer[0] == b"OK":
            return Appended(int(answer[1]), bytes.fromhex(answer[2].decode()))
        lineage, generation = answer[1].decode(), answer[2].decode()
        return StaleHistory(
            Lineage(lineage) if lineage else None, Generation(generation) if generation else None
        )

    async def since(self, document: DocumentId, cursor: Cursor) -> tuple[LogEntry, ...] | Trimmed:
        """See ``ports.UpdateStore``."""
        keys = [self._key(document, "meta"), self._key(document, "log")]
        answer = await call(self._redis, "jc1_since", keys, cursor.generation, cursor.seq, cursor.chain.hex())
        if answer == b"TRIMMED":
            return Trimmed()
        return tuple(_entry(entry, keys[1]) for entry in answer)

    async def compact(self, document: DocumentId) -> Compacted | NotCompacted:
        """See ``ports.UpdateStore``."""
        lock = self._key(document, "compacting")
        with trouble(lock):
            if not await self._redis.set(lock, "1", nx=True, px=int(self._limits.lease_ttl * 3000)):
                return NotCompacted("another node compacts this document")
        try:
            return await self._compact(document)
        finally:
            with trouble(lock):
                await self._redis.delete(lock)

    async def _compact(self, document: DocumentId) -> Compacted | NotCompacted:
        loaded = await self.load(document)
        if not isinstance(loaded, Loaded) or not loaded.tail:
            return NotCompacted("there is nothing to compact")
        updates = [loaded.snapshot, *(update for entry in loaded.tail for update in entry.updates)]
        loop = asyncio.get_running_loop()
        snapshot = await loop.run_in_executor(self._executor, fold, updates)
        meta = self._key(document, "meta")
        with trouble(meta):
            old, count = await self._redis.hmget(meta, "snap", "chunks")
        name, keys = await self._write_chunks(document, snapshot)
        if await self._read_chunks(document, name, len(keys)) != snapshot:
            return NotCompacted("the new snapshot can't be read back")
        old_keys = self._chunk_keys(document, old.decode(), int(count))
        done = await call(
            self._redis,
            "jc1_compact",
            [meta, self._key(document, "log"), *old_keys, *keys],
            loaded.cursor.generation,
            old,
            len(old_keys),
            name,
            loaded.cursor.seq,
            loaded.cursor.chain.hex(),
            int(self._limits.compact_keep * 1000),
        )
        return Compacted(loaded.cursor.seq) if done else NotCompacted("the log moved on meanwhile")


def _entry(entry: tuple[bytes, dict[bytes, bytes] | list[bytes]], key: str) -> LogEntry:
    """One stream entry; raises ``CorruptRecord``."""
    try:
        raw_id, flat = entry
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        updates = tuple(fields[b"u%d" % i] for i in range(len(fields) - 3))
        seq = int(raw_id.split(b"-")[0])
        return LogEntry(seq, NodeId(fields[b"w"].decode()), updates, bytes.fromhex(fields[b"c"].decode()))
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptRecord(f"{key}: the entry {entry[0]!r} can't be read") from error
