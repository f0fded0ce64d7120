"""A store that can be emptied and started again, the same way on the memory twin and on real servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.redis_connection import Redis, connect
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.limits import Limits
from notebook_sync.ports import LeaseStore, UpdateStore
from tests.support.redis_servers import KEEPS_ALL, redis_binary, running, valkey_binary
from tests.support.waiting import wait_until

KINDS = ("memory", "valkey", "redis")
STEP = 0.05
"""Seconds by which the twin's clock moves while something is waited for."""


@dataclass
class BreakableStore:
    """``flush``: lose everything. ``restart``: kill -9 and start again on the same data. ``until``:
    wait, by the store's clock, until a condition holds, at most so many seconds."""

    store: UpdateStore
    leases: LeaseStore
    flush: Callable[[], Awaitable[object]]
    restart: Callable[[], Awaitable[object]]
    until: Callable[[Callable[[], Awaitable[bool]], float], Awaitable[object]]
    redis: Redis | None = None


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _in_memory(window: float, grace: float, limits: Limits) -> BreakableStore:
    clock = Clock()
    store = MemoryStore(limits=limits, now=clock, recovery_window=window)
    leases = MemoryLeaseStore(clock, store, grace=grace)

    async def flush() -> None:
        store.flush()

    async def restart() -> None:
        store.restart()

    async def until(condition: Callable[[], Awaitable[bool]], within: float) -> None:
        deadline = clock.now + within
        while not await condition():
            assert clock.now < deadline, f"not within {within} s"
            clock.now += STEP

    return BreakableStore(store, leases, flush, restart, until)


@contextlib.asynccontextmanager
async def breakable(
    kind: str, *, limits: Limits, window: float = 0.0, grace: float = 0.0
) -> AsyncIterator[BreakableStore]:
    """A store of its own of one of ``KINDS``; ``window`` is its recovery's and ``grace`` its leases', in
    seconds; 0 as embedded."""
    if kind == "memory":
        yield _in_memory(window, grace, limits)
        return
    with running(valkey_binary() if kind == "valkey" else redis_binary(), *KEEPS_ALL) as server:
        redis = await connect(server.url, limits)

        async def flush() -> None:
            await redis.flushall()

        async def restart() -> None:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)

        with ThreadPoolExecutor(1) as executor:
            store = RedisUpdateStore(redis, "default", limits, executor, recovery_window=window)
            leases = RedisLeaseStore(redis, "default", grace=grace)
            yield BreakableStore(store, leases, flush, restart, wait_until, redis)
        await redis.aclose()
