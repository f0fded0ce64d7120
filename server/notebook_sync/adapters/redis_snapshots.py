"""Snapshots on Redis: in parts, so that no single one holds up others, under an id that is never changed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from notebook_sync.adapters.redis_connection import Redis, run, trouble
from notebook_sync.adapters.redis_records import Keys

UNTAKEN_EXPIRY = 3600
"""Seconds that the parts of a snapshot live which no document took, after a crash in between."""


async def read_parts(redis: Redis, parts: Sequence[str]) -> bytes | None:
    """A snapshot, a part at a time; None when one is not there."""
    read: list[bytes] = []
    for key in parts:
        with trouble(key):
            part = await run(redis, "GET", key)
        if part is None:
            return None
        read.append(part)
    return b"".join(read)


async def write_parts(redis: Redis, keys: Keys, snapshot: bytes, size: int) -> tuple[str, list[str]]:
    """Store a snapshot in parts of ``size`` bytes under a new id: the id, and the parts' keys. They expire
    unless a document takes them."""
    name = secrets.token_hex(8)
    pieces = [snapshot[start : start + size] for start in range(0, max(len(snapshot), 1), size)]
    parts = keys.parts(name, len(pieces))
    for key, piece in zip(parts, pieces, strict=True):
        with trouble(key):
            await redis.set(key, piece, ex=UNTAKEN_EXPIRY)
    return name, parts
