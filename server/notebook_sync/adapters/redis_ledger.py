"""What a document and a folder's file last had in common, and what writers announced, on Redis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from notebook_sync.adapters.intents import INTENTS_KEPT, INTENTS_MOST
from notebook_sync.adapters.redis_connection import Redis, call, check_namespace, run, trouble
from notebook_sync.adapters.redis_records import Keys, readable
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.ports import FileEdit, FileRecord, Intent


class RedisFileLedger:
    """See ``ports.FileLedger``. Raises ``StoreUnavailable`` and ``CorruptRecord``."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        check_namespace(namespace)
        self._redis = redis
        self._namespace = namespace

    def _key(self, document: DocumentId) -> str:
        return Keys.of(self._namespace, document).files

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        key = self._key(document)
        names = [f"{folder}:{field}" for field in ("digest", "base", "intents", "seen", "taking")]
        with trouble(key):
            digest, base, intents, seen, taking = await run(self._redis, "HMGET", key, *names)
        with readable(key):
            announced = tuple(_intent(line) for line in (intents or b"").splitlines())
            cells = tuple((seen or b"").decode().split())
            known = None if digest is None else digest.decode()
            return FileRecord(known, base, announced, cells, _edit(taking) if taking else None)

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        line = json.dumps(asdict(intent), separators=(",", ":"))
        await call(self._redis, "jc1_intend", [self._key(document)], folder, line, INTENTS_KEPT, INTENTS_MOST)

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """See ``ports.FileLedger``."""
        key, header = self._key(document), " ".join((edit.digest, *edit.cells))
        with trouble(key):
            await run(self._redis, "HSET", key, f"{folder}:taking", header.encode() + b"\n" + edit.slim)

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        key = self._key(document)
        fields: dict[str, bytes | str] = {"digest": digest, "base": base, "taking": ""}
        if seen is not None:
            fields["seen"] = " ".join(seen)
        pairs = [part for name, value in fields.items() for part in (f"{folder}:{name}", value)]
        with trouble(key):
            await run(self._redis, "HSET", key, *pairs)


def _edit(stored: bytes) -> FileEdit:
    header, slim = stored.split(b"\n", 1)
    digest, *cells = header.decode().split(" ")
    return FileEdit(digest, slim, tuple(cells))


def _intent(line: bytes) -> Intent:
    fields = json.loads(line)
    return Intent(
        str(fields["digest"]),
        NodeId(fields["node"]),
        Generation(fields["generation"]),
        int(fields["seq"]),
        int(fields["fence"]),
    )
