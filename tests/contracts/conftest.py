"""Each port on its memory twin, on the bundled Valkey and on a redis-server of the system."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from notebook_sync.adapters.memory_channel import MemoryChannel
from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.redis_channel import RedisChannel
from notebook_sync.adapters.redis_connection import connect
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.ids import NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.engine.supervisor import Supervisor, forever
from notebook_sync.ports import Channel, FileLedger, LeaseStore, UpdateStore
from tests.support.redis_servers import RedisServer, redis_binary, running, valkey_binary

LIMITS = Limits(snapshot_chunk=1000, channel_inline=1000, append_timeout=5.0)
HERE, THERE = NodeId("here"), NodeId("there")
_namespaces = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    with running(valkey_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with running(redis_binary()) as server:
        yield server


@dataclass
class Ports:
    """The same ports whatever is behind them; ``channel`` is this node's, ``other`` another one's."""

    store: UpdateStore
    channel: Channel
    other: Channel
    leases: LeaseStore
    ledger: FileLedger


@pytest.fixture(params=["memory", "valkey", "redis"])
async def ports(request: pytest.FixtureRequest) -> AsyncIterator[Ports]:
    if request.param == "memory":
        hub = MemoryChannel()
        yield Ports(
            MemoryStore(hub),
            hub.for_node(HERE),
            hub.for_node(THERE),
            MemoryLeaseStore(time.monotonic),
            MemoryFileLedger(),
        )
        return
    server: RedisServer = request.getfixturevalue(request.param)
    namespace = f"test{next(_namespaces)}"
    client = await connect(server.url, LIMITS, namespace=namespace)
    channels = [RedisChannel(server.url, namespace, node, LIMITS) for node in (HERE, THERE)]
    with ThreadPoolExecutor(1) as executor:
        async with Supervisor() as supervisor:
            for channel in channels:
                supervisor.spawn(forever(channel.run, "channel"), "channel")
            yield Ports(
                RedisUpdateStore(client, namespace, LIMITS, executor),
                channels[0],
                channels[1],
                RedisLeaseStore(client, namespace),
                RedisFileLedger(client, namespace),
            )
    for channel in channels:
        await channel.aclose()
    await client.aclose()
