"""Whether what the engine stands on is there: asked before an event, without starting the engine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.exchange import ExchangeUnsupported, exchange
from notebook_sync.adapters.redis_connection import connect, redacted, run
from notebook_sync.core.limits import Limits

ROUND_TRIPS = 20
"""Of which the middle one counts."""


async def store(url: str | None, namespace: str, limits: Limits) -> tuple[str, float]:
    """What an acknowledged edit survives there (``memory``, ``redis`` or ``disk``, rule 15), and the
    seconds of one round trip.

    ``url`` None: an embedded Valkey in a folder of its own, which is gone afterwards. Raises
    ``ConfigError`` with a sentence that says what to change, as the engine's start would.
    """
    if url is not None:
        return await _tried(url, namespace, limits)
    with tempfile.TemporaryDirectory(prefix="jcd-") as folder:
        async with EmbeddedValkey(Path(folder), limits) as embedded:
            return await _tried(embedded.url, namespace, limits)


async def _tried(url: str, namespace: str, limits: Limits) -> tuple[str, float]:
    connection = await connect(url, limits, namespace=namespace)
    try:
        seconds = []
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter()
            await run(connection, "PING")
            seconds.append(time.perf_counter() - began)
        return connection.level, sorted(seconds)[ROUND_TRIPS // 2]
    finally:
        await connection.aclose()


def store_name(url: str | None) -> str:
    """For people: without user and password."""
    return "the embedded Valkey" if url is None else redacted(url)


def file_system(folder: Path) -> tuple[list[str], float]:
    """What a folder's file system can't do that files are saved with, and the seconds of an fsync.

    Raises ``OSError`` when files can't be made there at all.
    """
    missing: list[str] = []
    with _files(folder) as (one, other):
        began = time.perf_counter()
        with one.open("r+b") as file:
            os.fsync(file.fileno())
        seconds = time.perf_counter() - began
        try:
            exchange(str(one), str(other))
            if one.read_text() != "other":
                missing.append("exchange")
        except ExchangeUnsupported:
            missing.append("exchange")
        if not _locks(one):
            missing.append("locks")
        one.replace(other)
        if one.exists() or not other.exists():
            missing.append("rename")
    return missing, seconds


@contextlib.contextmanager
def _files(folder: Path) -> Iterator[tuple[Path, Path]]:
    pair = tuple(folder / f".doctor-{secrets.token_hex(4)}" for _ in range(2))
    try:
        for path, text in zip(pair, ("one", "other"), strict=True):
            path.write_text(text)
        yield pair[0], pair[1]
    finally:
        for path in pair:
            path.unlink(missing_ok=True)


def _locks(path: Path) -> bool:
    """Whether a lock that one descriptor holds keeps another from it."""
    with path.open() as mine, path.open() as others:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        try:
            fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
