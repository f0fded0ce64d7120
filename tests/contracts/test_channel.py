"""What every channel between nodes must do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from notebook_sync.adapters.redis_channel import RedisChannel
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import DocumentId, Generation, Lineage
from notebook_sync.core.limits import Limits
from notebook_sync.engine.supervisor import Supervisor
from notebook_sync.ports import AwarenessPublished, Batch, ChannelEvent, ChannelRestored, EntryPublished
from tests.contracts.conftest import HERE, THERE, Ports
from tests.support.redis_servers import RedisServer, redis_binary, running, valkey_binary
from tests.support.waiting import wait_until

D, OTHER = DocumentId("a" * 32), DocumentId("b" * 32)
L, G = Lineage("1" * 32), Generation("3" * 32)


async def test_an_appended_batch_is_heard_everywhere_as_it_was(ports: Ports) -> None:
    here: list[ChannelEvent] = []
    there: list[ChannelEvent] = []
    await ports.store.reserve(D, L)
    await ports.store.seed(D, L, G, b"\x00\x00")
    await ports.channel.subscribe(D, here.append)
    await ports.other.subscribe(D, there.append)
    await ports.store.append(D, Batch(L, G, HERE, 1, (b"first\n", b"", b"\x00 third")))
    await wait_until(lambda: here and there)
    (event,) = there
    assert isinstance(event, EntryPublished)
    assert event.entry is not None
    assert (event.generation, event.seq, event.entry.node) == (G, 1, HERE)
    assert event.entry.updates == (b"first\n", b"", b"\x00 third")
    assert here == there


async def test_awareness_is_heard_by_the_others_only(ports: Ports) -> None:
    here: list[ChannelEvent] = []
    there: list[ChannelEvent] = []
    await ports.channel.subscribe(D, here.append)
    await ports.other.subscribe(D, there.append)
    await ports.channel.publish_awareness(D, HERE, b"\x01 two words\n")
    await wait_until(lambda: there)
    assert there == [AwarenessPublished(HERE, b"\x01 two words\n")]
    await ports.other.publish_awareness(D, THERE, b"back")
    await wait_until(lambda: here)
    assert here == [AwarenessPublished(THERE, b"back")]


async def test_documents_are_apart_and_after_unsubscribing_there_is_silence(ports: Ports) -> None:
    heard: list[ChannelEvent] = []
    other: list[ChannelEvent] = []
    await ports.channel.subscribe(D, heard.append)
    await ports.channel.subscribe(OTHER, other.append)
    await ports.channel.unsubscribe(D)
    await ports.channel.unsubscribe(D)
    await ports.other.publish_awareness(D, THERE, b"gone")
    await ports.other.publish_awareness(OTHER, THERE, b"here")
    await wait_until(lambda: other)
    assert heard == []
    await ports.channel.subscribe(D, heard.append)
    await ports.other.publish_awareness(D, THERE, b"again")
    await wait_until(lambda: heard)


async def test_many_subscribe_at_once(ports: Ports) -> None:
    heard: dict[str, list[ChannelEvent]] = {f"{n:032x}": [] for n in range(50)}
    await asyncio.gather(
        *(ports.channel.subscribe(DocumentId(name), events.append) for name, events in heard.items())
    )
    for name in heard:
        await ports.other.publish_awareness(DocumentId(name), THERE, name.encode())
    await wait_until(lambda: all(heard.values()))
    assert all(events == [AwarenessPublished(THERE, name.encode())] for name, events in heard.items())


async def test_a_large_batch_is_announced_by_its_number(ports: Ports) -> None:
    heard: list[ChannelEvent] = []
    await ports.store.reserve(D, L)
    await ports.store.seed(D, L, G, b"\x00\x00")
    await ports.channel.subscribe(D, heard.append)
    await ports.store.append(D, Batch(L, G, HERE, 1, (b"x" * (64 * 1024),)))
    await wait_until(lambda: heard)
    assert heard == [EntryPublished(G, 1, None)]


async def test_a_listener_that_fails_costs_only_itself(ports: Ports) -> None:
    heard: list[ChannelEvent] = []

    def fail(event: ChannelEvent) -> None:
        raise RuntimeError("a bug of this listener")

    await ports.channel.subscribe(D, fail)
    await ports.channel.subscribe(OTHER, heard.append)
    for _ in range(3):
        await ports.other.publish_awareness(D, THERE, b"bad luck")
        await ports.other.publish_awareness(OTHER, THERE, b"fine")
    await wait_until(lambda: len(heard) == 3)


# --- what only a real server can do ----------------------------------------------------------------

QUICK = Limits(append_timeout=1.0, channel_heartbeat=0.2, channel_retry_most=0.2)


@pytest.fixture(params=["valkey", "redis"])
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that may be killed and frozen."""
    with running(valkey_binary() if request.param == "valkey" else redis_binary()) as server:
        yield server


@contextlib.asynccontextmanager
async def listening(server: RedisServer, limits: Limits = QUICK) -> AsyncIterator[RedisChannel]:
    channel = RedisChannel(server.url, "test", HERE, limits)
    async with Supervisor() as supervisor:
        supervisor.spawn(channel.run(), "channel")
        yield channel
    await channel.aclose()


def say(server: RedisServer, document: DocumentId, text: str, name: str = "awareness") -> bool:
    """Publish as any client may; True if somebody heard it."""
    answer = server.command("SPUBLISH", f"jc:test:{{{document}}}:{name}", text)
    assert answer.startswith(b":")
    return answer != b":0\r\n"


async def test_after_a_restart_of_redis_it_hears_again_and_says_that_it_missed_something(
    own_server: RedisServer,
) -> None:
    heard: list[ChannelEvent] = []
    async with listening(own_server) as channel:
        await channel.subscribe(D, heard.append)
        await channel.subscribe(OTHER, heard.append)
        own_server.kill()
        own_server.restart()
        await wait_until(lambda: len(heard) == 2)
        assert heard == [ChannelRestored()] * 2
        assert say(own_server, D, f"{THERE} back")
        await wait_until(lambda: len(heard) == 3)
        assert heard[2] == AwarenessPublished(THERE, b"back")


async def test_a_silent_redis_is_noticed(own_server: RedisServer) -> None:
    heard: list[ChannelEvent] = []
    async with listening(own_server) as channel:
        await channel.subscribe(D, heard.append)
        own_server.freeze()
        with pytest.raises(StoreUnavailable):
            await channel.publish_awareness(D, HERE, b"anybody?")
        with pytest.raises(StoreUnavailable):
            await channel.subscribe(OTHER, heard.append)
        await channel.unsubscribe(OTHER)
        own_server.thaw()
        await wait_until(lambda: ChannelRestored() in heard)
        await wait_until(lambda: say(own_server, D, f"{THERE} hello"))
        await wait_until(lambda: AwarenessPublished(THERE, b"hello") in heard)


async def test_long_silence_is_no_fault(own_server: RedisServer) -> None:
    heard: list[ChannelEvent] = []
    async with listening(own_server, replace(QUICK, channel_heartbeat=0.02)) as channel:
        await channel.subscribe(D, heard.append)
        pings = 10
        await wait_until(lambda: own_server.command("INFO", "commandstats").count(b"cmdstat_ping:") == 1)
        await wait_until(lambda: int(stat(own_server, b"cmdstat_ping:calls=")) > pings)
        assert say(own_server, D, f"{THERE} still here")
        await wait_until(lambda: heard)
    assert heard == [AwarenessPublished(THERE, b"still here")]


def stat(server: RedisServer, name: bytes) -> bytes:
    return server.command("INFO", "commandstats").partition(name)[2].partition(b",")[0]


async def test_who_subscribes_while_redis_is_away_waits_for_it_or_is_told(own_server: RedisServer) -> None:
    heard: list[ChannelEvent] = []
    async with listening(own_server) as channel:
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await channel.subscribe(D, heard.append)
        patient = asyncio.gather(channel.subscribe(OTHER, heard.append))
        await asyncio.to_thread(own_server.restart)
        await patient
        assert say(own_server, OTHER, f"{THERE} x")
        assert not say(own_server, D, f"{THERE} nobody is here")
        await wait_until(lambda: heard)
    assert heard == [AwarenessPublished(THERE, b"x")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("awareness", "no-space"),
        ("updates", ""),
        ("updates", "what is this"),
        ("updates", f"{G} x {HERE} 00 1\nA"),
        ("updates", f"{G} 1 {HERE} 0011223344556677 5\nA"),
        ("updates", f"{G} 1 {HERE} zz 1\nA"),
        ("updates", f"{G} 1 {HERE} 0011223344556677 -1,2\nA"),
    ],
)
async def test_a_message_that_cannot_be_read_costs_its_document_a_look_at_the_log(
    valkey: RedisServer, name: str, text: str
) -> None:
    bad: list[ChannelEvent] = []
    good: list[ChannelEvent] = []
    async with listening(valkey) as channel:
        await channel.subscribe(D, bad.append)
        await channel.subscribe(OTHER, good.append)
        assert say(valkey, D, text, name)
        assert say(valkey, OTHER, f"{THERE} fine")
        await wait_until(lambda: good)
    assert bad == [ChannelRestored()]


async def test_a_connection_that_redis_drops_is_made_again(valkey: RedisServer) -> None:
    """As Redis does with a reader whose buffer runs over (F62)."""
    heard: list[ChannelEvent] = []
    async with listening(valkey) as channel:
        await channel.subscribe(D, heard.append)
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        await wait_until(lambda: heard == [ChannelRestored()])
        await wait_until(lambda: say(valkey, D, f"{THERE} again"))


async def test_without_its_reader_nobody_waits_for_ever(valkey: RedisServer) -> None:
    channel = RedisChannel(valkey.url, "test", HERE, replace(QUICK, append_timeout=0.1))
    with pytest.raises(StoreUnavailable):
        await channel.subscribe(D, lambda event: None)
    await channel.unsubscribe(D)
    await channel.aclose()
