"""Whatever a Redis suffers is ``StoreUnavailable`` while it lasts, and over without a new client."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from notebook_sync.adapters.redis_connection import Client, connect
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Appended, Batch, Cursor, Intent, LeaseGranted, LeaseRefused, Loaded
from tests.support.proxy import Proxy
from tests.support.redis_servers import KEEPS_ALL, RedisServer, redis_binary, running, valkey_binary
from tests.support.stock_server import free_port
from tests.support.waiting import wait_until

LIMITS = Limits(append_timeout=5.0)
IMPATIENT = replace(LIMITS, append_timeout=0.3)
ANNA, BEN = NodeId("a" * 16), NodeId("b" * 16)
L, G = Lineage("1" * 32), Generation("2" * 32)
START = Cursor(G, 0, bytes(8))
EMPTY = b"\x00\x00"


@dataclass
class Desk:
    """Stores on one Redis, with one document that has content."""

    redis: Client
    store: RedisUpdateStore
    leases: RedisLeaseStore
    ledger: RedisFileLedger
    document: DocumentId = field(default_factory=lambda: DocumentId(secrets.token_hex(16)))
    numbers: int = 0

    async def append(self) -> Appended:
        """A new batch. One that failed is not sent again."""
        self.numbers += 1
        return await self.send(self.numbers)

    async def send(self, number: int) -> Appended:
        answer = await self.store.append(self.document, Batch(L, G, ANNA, number, (EMPTY,)))
        assert isinstance(answer, Appended)
        return answer

    async def works(self) -> bool:
        """Whether an append gets through now."""
        try:
            await self.append()
        except StoreUnavailable:
            return False
        return True

    def writes(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """Each call that changes something, on documents that don't mind."""
        fresh = DocumentId(secrets.token_hex(16))
        key = DocumentKey(NOTEBOOK, f"{fresh}.ipynb")
        return {
            "attend": self.store.attend,
            "document_id": lambda: self.store.document_id(key),
            "document_id again": lambda: self.store.document_id(key, fresh),
            "rename": lambda: self.store.rename(key.path, "elsewhere.ipynb"),
            "forget": lambda: self.store.forget(key.path),
            "reserve": lambda: self.store.reserve(fresh, L),
            "seed": lambda: self.store.seed(fresh, L, G, EMPTY),
            "append": self.append,
            "compact": lambda: self.store.compact(self.document),
            "acquire": lambda: self.leases.acquire(fresh, "file", ANNA, 1.0),
            "release": lambda: self.leases.release(fresh, "file", ANNA),
            "intend": lambda: self.ledger.intend(fresh, "f", Intent("d", ANNA, G, 1, 1)),
            "common": lambda: self.ledger.common(fresh, "f", "d", b"base"),
        }

    def reads(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "load": lambda: self.store.load(self.document),
            "since": lambda: self.store.since(self.document, START),
            "confirms": lambda: self.store.confirms(self.document, START),
            "find_document": lambda: self.store.find_document(DocumentKey(NOTEBOOK, "a")),
            "record": lambda: self.ledger.record(self.document, "f"),
        }


@pytest.fixture(params=["valkey", "redis"])
def binary(request: pytest.FixtureRequest) -> str:
    return valkey_binary() if request.param == "valkey" else redis_binary()


@pytest.fixture
def server(binary: str) -> Iterator[RedisServer]:
    with running(binary, *KEEPS_ALL) as server:
        yield server


@dataclass
class Desks:
    """Makes desks, and closes them at the end of the test."""

    executor: ThreadPoolExecutor
    made: list[Desk] = field(default_factory=list)

    async def at(self, url: str, limits: Limits = LIMITS) -> Desk:
        redis = await connect(url, limits)
        store = RedisUpdateStore(redis, "default", limits, self.executor, recovery_window=10.0)
        desk = Desk(
            redis, store, RedisLeaseStore(redis, "default", grace=1.0), RedisFileLedger(redis, "default")
        )
        self.made.append(desk)
        await store.reserve(desk.document, L)
        assert await store.seed(desk.document, L, G, EMPTY)
        return desk


@pytest.fixture
async def desks() -> AsyncIterator[Desks]:
    with ThreadPoolExecutor(1) as executor:
        made = Desks(executor)
        yield made
        for desk in made.made:
            await desk.redis.aclose()


async def all_refused(calls: dict[str, Callable[[], Awaitable[object]]]) -> None:
    for name, ask in calls.items():
        try:
            answer = await ask()
        except StoreUnavailable:
            continue
        pytest.fail(f"{name} answered {answer!r}")


async def all_work(calls: dict[str, Callable[[], Awaitable[object]]]) -> None:
    for ask in calls.values():
        await ask()


# --- it refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "off"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
    ],
    ids=["full", "read-only", "too few replicas"],
)
async def test_one_that_takes_no_writes_is_away_for_them_and_still_read(
    server: RedisServer, desks: Desks, on: tuple[str, ...], off: tuple[str, ...]
) -> None:
    desk = await desks.at(server.url)
    await desk.append()
    assert server.command(*on).startswith(b"+OK")
    # A lease, or its end, that is already there may be answered without writing; nothing is there yet.
    await all_refused({name: ask for name, ask in desk.writes().items() if name != "release"})
    await all_work(desk.reads())
    assert server.command(*off).startswith(b"+OK")
    await all_work(desk.writes())


async def test_a_replica_that_lost_its_primary_and_serves_nothing_is_away(
    server: RedisServer, desks: Desks
) -> None:
    desk = await desks.at(server.url)
    server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    server.command("REPLICAOF", "127.0.0.1", "1")
    await all_refused(desk.writes() | desk.reads())
    server.command("REPLICAOF", "NO", "ONE")
    await all_work(desk.writes() | desk.reads())


async def test_one_that_reads_its_files_is_away_until_it_has(server: RedisServer, desks: Desks) -> None:
    desk = await desks.at(server.url)
    pipeline = desk.redis.pipeline(transaction=False)
    # While it reads, it answers between thousands of commands only.
    for number in range(15_000):
        pipeline.set(f"filler:{number}", "x")
    await pipeline.execute()
    await desk.append()
    await asyncio.to_thread(server.kill)
    server.restart("--key-load-delay", "200", wait=False)
    why: set[str] = set()

    async def read() -> bool:
        try:
            return isinstance(await desk.store.load(desk.document), Loaded)
        except StoreUnavailable as error:
            why.add(str(error))
            return False

    await wait_until(read)
    assert "the store does not answer (BusyLoadingError)" in why
    assert await desk.works()


async def test_one_that_takes_no_more_connections_is_away(server: RedisServer, desks: Desks) -> None:
    desk = await desks.at(server.url)
    used = [await asyncio.open_unix_connection(str(server.socket)) for _ in range(3)]
    server.command("CONFIG", "SET", "maxclients", "1")
    await desk.redis.connection_pool.disconnect()
    with pytest.raises(StoreUnavailable):
        await desk.append()
    for _, writer in used:
        writer.close()
    server.kill()
    await asyncio.to_thread(server.restart)
    assert await desk.works()


# --- it lost our functions, or everything -----------------------------------------------------------


async def test_functions_survive_an_emptied_redis_and_come_back_when_they_are_gone(
    server: RedisServer, desks: Desks
) -> None:
    desk = await desks.at(server.url)
    server.command("FLUSHALL")
    assert b"jc1_append" in server.command("FUNCTION", "LIST")
    for word in ("FLUSH", "DELETE"):
        assert (
            server.command("FUNCTION", word, *(("jupyter_collab_1",) if word == "DELETE" else ()))
            == b"+OK\r\n"
        )
        await all_work(desk.reads())
        assert b"jc1_append" in server.command("FUNCTION", "LIST")
    server.command("FUNCTION", "FLUSH")
    await all_work({name: ask for name, ask in desk.writes().items() if name != "append"})


async def test_many_calls_at_once_find_the_functions_again(server: RedisServer, desks: Desks) -> None:
    desk = await desks.at(server.url)
    server.command("FUNCTION", "FLUSH")
    loads = await asyncio.gather(*(desk.store.load(desk.document) for _ in range(20)))
    assert all(isinstance(loaded, Loaded) for loaded in loads)


# --- it is slow, or its connections are torn ---------------------------------------------------------


async def test_a_slow_one_is_waited_for(server: RedisServer, desks: Desks) -> None:
    """One second for each answer: everything is slow, and nothing fails."""
    with Proxy(str(server.socket)) as proxy:
        desk = await desks.at(f"redis://127.0.0.1:{proxy.port}")
        proxy.change(delay_down=1.0)
        before = time.monotonic()
        assert (await desk.append()).seq == 1
        assert time.monotonic() - before >= 1.0
        entries = await desk.store.since(desk.document, START)
        assert isinstance(entries, tuple)
        assert len(entries) == 1


async def test_one_that_is_too_slow_is_away_and_a_batch_sent_again_is_taken_once(
    server: RedisServer, desks: Desks
) -> None:
    desk = await desks.at(server.url, IMPATIENT)
    server.command("CLIENT", "PAUSE", "1000", "ALL")
    with pytest.raises(StoreUnavailable):
        await desk.send(1)

    async def taken() -> bool:
        try:
            return (await desk.send(1)).seq == 1
        except StoreUnavailable:
            return False

    await wait_until(taken)
    loaded = await desk.store.load(desk.document)
    assert isinstance(loaded, Loaded)
    assert [entry.seq for entry in loaded.tail] == [1]


async def test_torn_connections_are_made_anew(server: RedisServer, desks: Desks) -> None:
    with Proxy(str(server.socket)) as proxy:
        desk = await desks.at(f"redis://127.0.0.1:{proxy.port}")
        for _ in range(3):
            # Several connections at once, all of which are torn while nobody uses them.
            await asyncio.gather(*(desk.store.load(desk.document) for _ in range(10)))
            proxy.cut()
            await wait_until(desk.works)
        proxy.away()
        await all_refused({"append": desk.append, "load": desk.reads()["load"]})
        proxy.clear()
        await wait_until(desk.works)


async def test_after_kill_and_restart_every_connection_works_again(server: RedisServer, desks: Desks) -> None:
    desk = await desks.at(server.url)
    await asyncio.gather(*(desk.store.load(desk.document) for _ in range(20)))
    await asyncio.to_thread(server.kill)
    with pytest.raises(StoreUnavailable):
        await desk.append()
    await asyncio.to_thread(server.restart)
    loads = await asyncio.gather(*(desk.store.load(desk.document) for _ in range(20)))
    assert all(isinstance(loaded, Loaded) for loaded in loads)


async def test_answers_of_one_call_never_reach_another(server: RedisServer, desks: Desks) -> None:
    """Calls that were given up in the middle leave no answer behind on their connection."""
    desk = await desks.at(server.url, IMPATIENT)
    others = [DocumentId(secrets.token_hex(16)) for _ in range(20)]
    lineages = {document: Lineage(secrets.token_hex(16)) for document in others}
    server.freeze()
    asked = [asyncio.ensure_future(desk.store.reserve(document, lineages[document])) for document in others]
    done, _ = await asyncio.wait(asked)
    server.thaw()
    assert all(isinstance(call.exception(), StoreUnavailable) for call in done)
    await wait_until(desk.works)
    answers = await asyncio.gather(*(desk.store.reserve(document, lineages[document]) for document in others))
    assert dict(zip(others, answers, strict=True)) == lineages


# --- failover -------------------------------------------------------------------------------------


@dataclass
class Pair:
    """A primary with a replica, and the address that means the one or the other."""

    primary: RedisServer
    replica: RedisServer
    port: int
    """Of the replica."""
    link: Path

    @property
    def url(self) -> str:
        return f"unix://{self.link}"

    async def in_step(self) -> None:
        """Wait until the replica has all that the primary has."""

        def has() -> bool:
            offset = field_of(self.primary, "master_repl_offset")
            connected = b"master_link_status:up" in self.replica.command("INFO", "replication")
            return connected and field_of(self.replica, "slave_repl_offset") == offset

        await wait_until(has)

    def fail_over(self) -> None:
        """The replica takes over, the former primary follows it, and the address is the new one's. What is
        connected stays connected to the former one."""
        assert self.replica.command("REPLICAOF", "NO", "ONE").startswith(b"+OK")
        assert self.primary.command("REPLICAOF", "127.0.0.1", str(self.port)).startswith(b"+OK")
        self.point_to(self.replica)

    def point_to(self, server: RedisServer) -> None:
        new = self.link.with_suffix(".new")
        new.symlink_to(server.socket)
        new.replace(self.link)


def field_of(server: RedisServer, name: str) -> bytes:
    for line in server.command("INFO", "replication").split(b"\r\n"):
        if line.startswith(name.encode() + b":"):
            return line.partition(b":")[2]
    return b""


@pytest.fixture
def pair(binary: str) -> Iterator[Pair]:
    one, two = free_port(), free_port()
    loopback = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with (
        running(binary, *loopback, "--port", str(one)) as primary,
        running(binary, *loopback, "--port", str(two)) as replica,
    ):
        made = Pair(primary, replica, two, primary.directory / "link")
        made.point_to(primary)
        assert replica.command("REPLICAOF", "127.0.0.1", str(one)).startswith(b"+OK")
        yield made


async def test_after_a_failover_the_new_primary_is_found_and_recovers(pair: Pair, desks: Desks) -> None:
    """Rules 3, 7, 8: it is another run, so recovery begins and leases are waited for."""
    desk = await desks.at(pair.url)
    await asyncio.gather(*(desk.store.load(desk.document) for _ in range(5)))
    before = await desk.store.attend()
    assert await desk.leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseGranted(1, G)
    last = await desk.append()
    await pair.in_step()
    pair.fail_over()
    # The former primary refuses, as a replica; then its connections are left, and the new one is found.
    assert not await desk.works()
    assert await desk.works()
    assert await desk.store.confirms(desk.document, Cursor(G, last.seq, last.chain))
    after = await desk.store.attend()
    assert after.incarnation == before.incarnation
    assert after.run_id != before.run_id
    assert after.recovering > 0
    assert await desk.leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseRefused(NodeId(""))

    async def granted() -> bool:
        return await desk.leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseGranted(2, G)

    await wait_until(granted)


async def test_a_failover_that_lost_the_newest_entries_is_told_by_the_cursor(
    pair: Pair, desks: Desks
) -> None:
    desk = await desks.at(pair.url)
    kept = await desk.append()
    await pair.in_step()
    assert pair.replica.command("REPLICAOF", "NO", "ONE").startswith(b"+OK")
    lost = await desk.append()
    await asyncio.to_thread(pair.primary.kill)
    pair.point_to(pair.replica)
    another = Batch(L, G, BEN, 1, (EMPTY,))

    async def taken() -> bool:
        try:
            answer = await desk.store.append(desk.document, another)
        except StoreUnavailable:
            return False
        assert isinstance(answer, Appended)
        return answer.seq == lost.seq

    await wait_until(taken)
    assert await desk.store.confirms(desk.document, Cursor(G, kept.seq, kept.chain))
    # The number is the same; what is there is another batch.
    assert not await desk.store.confirms(desk.document, Cursor(G, lost.seq, lost.chain))


async def test_another_server_without_our_functions_gets_them(binary: str, pair: Pair, desks: Desks) -> None:
    desk = await desks.at(pair.url)
    first = await desk.store.attend()
    with running(binary) as empty:
        await asyncio.to_thread(pair.primary.kill)
        pair.point_to(empty)
        assert await desk.store.load(desk.document) is None
        other = await desk.store.attend()
        assert other.incarnation != first.incarnation
        assert other.recovering > 0
        assert b"jc1_append" in empty.command("FUNCTION", "LIST")
