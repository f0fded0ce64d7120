"""What the store does with records that are damaged, lost, older or another's."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from notebook_sync.adapters.log_chain import next_chain
from notebook_sync.adapters.redis_connection import Redis, connect, run
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.adapters.redis_records import Keys
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.errors import CorruptRecord, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import (
    Appended,
    Batch,
    Compacted,
    Cursor,
    LeaseGranted,
    LeaseRefused,
    Loaded,
    NotCompacted,
    StaleHistory,
    Trimmed,
)
from tests.support.redis_servers import (
    KEEPS_ALL,
    RedisServer,
    redis_binary,
    running,
    slow_disk,
    valkey_binary,
)
from tests.support.waiting import wait_until

LIMITS = Limits(snapshot_chunk=1000, append_timeout=2.0)
ANNA, BEN = NodeId("a" * 16), NodeId("b" * 16)
L, G = Lineage("1" * 32), Generation("2" * 32)
START = Cursor(G, 0, bytes(8))
EMPTY = b"\x00\x00"


@dataclass
class Desk:
    """A store with one seeded document, and Redis behind it."""

    redis: Redis
    namespace: str
    executor: Executor
    store: RedisUpdateStore
    document: DocumentId
    keys: Keys

    async def append(self, number: int, update: bytes = b"x", node: NodeId = ANNA) -> Appended:
        answer = await self.store.append(self.document, Batch(L, G, node, number, (update,)))
        assert isinstance(answer, Appended)
        return answer

    async def do(self, *words: str | bytes | int) -> Any:
        return await run(self.redis, *words)

    def with_limits(self, **changes: Any) -> RedisUpdateStore:
        return RedisUpdateStore(self.redis, self.namespace, replace(LIMITS, **changes), self.executor)


@pytest.fixture(params=["valkey", "redis"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    server: RedisServer = request.getfixturevalue(request.param)
    namespace = f"records-{secrets.token_hex(6)}"
    redis = await connect(server.url, LIMITS, namespace=namespace)
    with ThreadPoolExecutor(1) as executor:
        store = RedisUpdateStore(redis, namespace, LIMITS, executor)
        document = DocumentId(secrets.token_hex(16))
        await store.reserve(document, L)
        assert await store.seed(document, L, G, EMPTY)
        yield Desk(redis, namespace, executor, store, document, Keys.of(namespace, document))
    await redis.aclose()


# --- damaged -------------------------------------------------------------------------------------


async def test_a_damaged_entry_is_named_and_other_documents_go_on(desk: Desk) -> None:
    await desk.append(1)
    await desk.do("XADD", desk.keys.log, "2-7", "w", ANNA, "c", "0" * 16, "u0", "not chained")
    await desk.do("HSET", desk.keys.meta, "seq", 2)
    with pytest.raises(CorruptRecord, match=rf"{desk.document}.*entry 2"):
        await desk.store.load(desk.document)
    with pytest.raises(CorruptRecord, match=str(desk.document)):
        await desk.store.since(desk.document, START)
    with pytest.raises(CorruptRecord):
        await desk.store.compact(desk.document)
    other = DocumentId(secrets.token_hex(16))
    await desk.store.reserve(other, L)
    assert await desk.store.seed(other, L, G, b"fine")
    assert isinstance(await desk.store.load(other), Loaded)


@pytest.mark.parametrize(
    "fields",
    [
        ("strange", "fields"),
        ("w", ANNA, "c", "zz", "u0", "x"),
        ("w", b"\xff\xfe", "c", "0" * 16, "u0", "x"),
        ("w", ANNA, "c", "0" * 16, "u1", "x"),
    ],
)
async def test_an_entry_that_cannot_be_read_is_named(desk: Desk, fields: tuple[str | bytes, ...]) -> None:
    await desk.do("XADD", desk.keys.log, "1-1", *fields)
    await desk.do("HSET", desk.keys.meta, "seq", 1)
    with pytest.raises(CorruptRecord, match=desk.keys.log):
        await desk.store.load(desk.document)


async def test_a_missing_entry_is_no_end_of_the_log(desk: Desk) -> None:
    for number in (1, 2, 3):
        await desk.append(number)
    entries = await desk.do("XRANGE", desk.keys.log, "2", "2")
    await desk.do("XDEL", desk.keys.log, entries[0][0])
    with pytest.raises(CorruptRecord):
        await desk.store.load(desk.document)
    with pytest.raises(CorruptRecord):
        await desk.store.since(desk.document, START)


async def test_a_log_that_cannot_be_folded_is_named_and_stays(desk: Desk) -> None:
    await desk.append(1, b"no update")
    with pytest.raises(CorruptRecord, match=desk.keys.log):
        await desk.store.compact(desk.document)
    assert isinstance(await desk.store.load(desk.document), Loaded)
    assert await desk.do("HEXISTS", desk.keys.meta, "compactor") == 0


async def test_a_missing_snapshot_is_named(desk: Desk) -> None:
    snapshot = (await desk.do("HGET", desk.keys.meta, "snap")).decode()
    await desk.do("DEL", *desk.keys.parts(snapshot, 1))
    with pytest.raises(CorruptRecord, match="snapshot"):
        await desk.store.load(desk.document)


@pytest.mark.parametrize("name", ["meta", "log"])
async def test_a_key_of_another_type_is_named(desk: Desk, name: str) -> None:
    key = getattr(desk.keys, name)
    await desk.do("DEL", key)
    await desk.do("SET", key, "a string")
    with pytest.raises(CorruptRecord, match=str(desk.document)):
        await desk.store.append(desk.document, Batch(L, G, ANNA, 1, (b"x",)))
    with pytest.raises(CorruptRecord, match=str(desk.document)):
        await desk.store.load(desk.document)


@pytest.mark.parametrize("field", ["seq", "snap_seq", "chunks"])
async def test_a_number_that_is_none_is_a_corrupt_record(desk: Desk, field: str) -> None:
    await desk.do("HSET", desk.keys.meta, field, "many")
    with pytest.raises(CorruptRecord, match=str(desk.document)):
        await desk.store.load(desk.document)
    if field == "seq":
        with pytest.raises(CorruptRecord, match=str(desk.document)):
            await desk.append(1)


async def test_an_index_that_cannot_be_read_is_named(desk: Desk) -> None:
    for name in ("paths", "order"):
        await desk.do("SET", f"jc:{desk.namespace}:{{index}}:{name}", "a string")
    key = DocumentKey(NOTEBOOK, "a.ipynb")
    for ask in (desk.store.document_id(key), desk.store.find_document(key), desk.store.forget("a.ipynb")):
        with pytest.raises(CorruptRecord, match="paths"):
            await ask


async def test_a_damaged_lease_or_record_of_a_file_is_named(desk: Desk) -> None:
    await desk.do("HSET", desk.keys.meta, "lease:file", "nonsense")
    with pytest.raises(CorruptRecord):
        await RedisLeaseStore(desk.redis, desk.namespace).acquire(desk.document, "file", ANNA, 1.0)
    await desk.do("HSET", desk.keys.files, "f:intents", "{}")
    with pytest.raises(CorruptRecord, match="files"):
        await RedisFileLedger(desk.redis, desk.namespace).record(desk.document, "f")


async def test_what_a_newer_version_wrote_is_left_alone(desk: Desk) -> None:
    await desk.do("HSET", desk.keys.meta, "v", 99)
    for ask in (
        desk.store.load(desk.document),
        desk.append(1),
        desk.store.compact(desk.document),
        desk.store.since(desk.document, START),
        desk.store.seed(desk.document, L, G, EMPTY),
        desk.store.reserve(desk.document, L),
    ):
        with pytest.raises(CorruptRecord, match="newer version"):
            await ask
    assert await desk.do("XLEN", desk.keys.log) == 0


# --- lost, older, another ------------------------------------------------------------------------


@pytest.fixture(params=["valkey", "redis"])
def own_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that may be emptied, killed and frozen."""
    with running(valkey_binary() if request.param == "valkey" else redis_binary(), *KEEPS_ALL) as server:
        yield server


@pytest.fixture
async def own(own_server: RedisServer) -> AsyncIterator[Desk]:
    redis = await connect(own_server.url, LIMITS)
    with ThreadPoolExecutor(1) as executor:
        store = RedisUpdateStore(redis, "default", LIMITS, executor)
        document = DocumentId(secrets.token_hex(16))
        await store.reserve(document, L)
        assert await store.seed(document, L, G, EMPTY)
        yield Desk(redis, "default", executor, store, document, Keys.of("default", document))
    await redis.aclose()


async def test_an_emptied_redis_takes_no_appends(own_server: RedisServer, own: Desk) -> None:
    await own.append(1)
    own_server.command("FLUSHALL")
    answer = await own.store.append(own.document, Batch(L, G, ANNA, 2, (b"x",)))
    assert answer == StaleHistory(None, None)
    assert await own.store.load(own.document) is None


async def test_functions_are_loaded_again_when_they_are_gone(own_server: RedisServer, own: Desk) -> None:
    own_server.command("FUNCTION", "FLUSH")
    assert (await own.append(1)).seq == 1


async def test_everything_acknowledged_survives_kill_9(own_server: RedisServer, own: Desk) -> None:
    appended = [await own.append(number, b"%d" % number) for number in range(1, 101)]
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        await own.append(101)
    await asyncio.to_thread(own_server.restart)
    found = await own.store.load(own.document)
    assert isinstance(found, Loaded)
    assert found.cursor == Cursor(G, 100, appended[-1].chain)


@pytest.mark.parametrize(("fsync", "kept"), [("everysec", False), ("no", True)])
@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_kill_may_take_what_a_slow_disk_had_not_taken_and_the_cursor_tells(
    kind: str, fsync: str, kept: bool, tmp_path: Path
) -> None:
    """With ``everysec`` Redis writes nothing while the disk is busy with what it wrote before, for up to two
    seconds, and answers all the same. So what only Redis has does not survive a kill of it; this server's
    journal is what makes it so (rule 15)."""
    binary = valkey_binary() if kind == "valkey" else redis_binary()
    with ThreadPoolExecutor(1) as executor, contextlib.ExitStack() as stack:
        with slow_disk(tmp_path) as slow:
            server = stack.enter_context(running(binary, "--appendfsync", fsync))
        redis = await connect(server.url, LIMITS)
        store = RedisUpdateStore(redis, "default", LIMITS, executor)
        document = DocumentId(secrets.token_hex(16))
        await store.reserve(document, L)
        assert await store.seed(document, L, G, EMPTY)
        await wait_until(lambda: nothing_unwritten(redis))
        slow.touch()

        async def busy() -> bool:
            await run(redis, "SET", "filler", "x")
            return fsync != "everysec" or bool((await redis.info("persistence"))["aof_pending_bio_fsync"])

        await wait_until(busy)
        answer = await store.append(document, Batch(L, G, ANNA, 1, (EMPTY,)))
        assert isinstance(answer, Appended)
        server.kill()
        await asyncio.to_thread(server.restart)
        assert isinstance(await store.load(document), Loaded)
        assert await store.confirms(document, Cursor(G, answer.seq, answer.chain)) == kept
        await redis.aclose()


async def nothing_unwritten(redis: Redis) -> bool:
    info = await redis.info("persistence")
    return not info["aof_pending_bio_fsync"] and not info["aof_buffer_length"]


@dataclass(frozen=True)
class RolledBack:
    """What a node saw before Redis was started again from an older append-only file, 80 entries long."""

    seen: Cursor
    """After 100 entries, all of which were acknowledged."""
    kept: Cursor
    """After the 80th."""


@pytest.fixture
async def rolled_back(own_server: RedisServer, own: Desk) -> RolledBack:
    eightieth = [await own.append(number) for number in range(1, 81)][-1]
    # The reply comes after the file was written to, so what is on the disk has all 80.
    files = await asyncio.to_thread(own_server.keep_files)
    hundredth = [await own.append(number) for number in range(81, 101)][-1]
    await asyncio.to_thread(own_server.restart_from, files)
    return RolledBack(Cursor(G, hundredth.seq, hundredth.chain), Cursor(G, eightieth.seq, eightieth.chain))


async def test_an_older_redis_does_not_confirm_what_was_seen(own: Desk, rolled_back: RolledBack) -> None:
    assert not await own.store.confirms(own.document, rolled_back.seen)
    assert await own.store.since(own.document, rolled_back.seen) == Trimmed()
    assert await own.store.confirms(own.document, rolled_back.kept)
    assert await own.store.since(own.document, rolled_back.kept) == ()


async def test_an_older_redis_is_another_run(own_server: RedisServer, own: Desk) -> None:
    before = await own.store.attend()
    files = await asyncio.to_thread(own_server.keep_files)
    await own.append(1)
    await asyncio.to_thread(own_server.restart_from, files)
    after = await own.store.attend()
    assert after.incarnation == before.incarnation
    assert after.run_id != before.run_id


async def test_an_older_redis_takes_appends_and_the_chain_contradicts(
    own: Desk, rolled_back: RolledBack
) -> None:
    """Rule 3: the generation is the same, so an append is taken. What comes back does not follow what the
    node saw, however many entries there are by then."""
    for number in range(1, 41):
        answer = await own.append(number, b"another's", node=BEN)
    assert answer.seq == 120
    assert not await own.store.confirms(own.document, rolled_back.seen)
    assert await own.store.since(own.document, rolled_back.seen) == Trimmed()
    mine = await own.append(101, b"mine")
    assert mine.seq == 121
    assert mine.chain != next_chain(rolled_back.seen.chain, ANNA, (b"mine",))
    assert mine.chain == next_chain(answer.chain, ANNA, (b"mine",))
    # What another node appended since is all there, after the place that both have.
    entries = await own.store.since(own.document, rolled_back.kept)
    assert isinstance(entries, tuple)
    assert [entry.seq for entry in entries] == list(range(81, 122))


async def test_after_a_compaction_an_older_redis_is_told_too(own_server: RedisServer, own: Desk) -> None:
    """The place is the snapshot's, and the snapshot is the rolled-back log's own."""
    forgetful = own.with_limits(compact_keep=0.0)
    await own.append(1, EMPTY)
    files = await asyncio.to_thread(own_server.keep_files)
    seen = await own.append(2, EMPTY)
    assert await forgetful.compact(own.document) == Compacted(2)
    assert await own.store.confirms(own.document, Cursor(G, seen.seq, seen.chain))
    await asyncio.to_thread(own_server.restart_from, files)
    assert not await own.store.confirms(own.document, Cursor(G, seen.seq, seen.chain))
    await own.append(1, EMPTY, node=BEN)
    assert await forgetful.compact(own.document) == Compacted(2)
    await own.append(2, EMPTY, node=BEN)
    assert not await own.store.confirms(own.document, Cursor(G, seen.seq, seen.chain))


async def test_a_lease_of_an_older_redis_is_not_given_out_again_at_once(
    own_server: RedisServer, own: Desk
) -> None:
    """Rule 7: the file is from before the grant. Its number comes again, but only when it has ended."""
    leases = RedisLeaseStore(own.redis, own.namespace, grace=0.2)
    files = await asyncio.to_thread(own_server.keep_files)
    assert await leases.acquire(own.document, "file", ANNA, 0.3) == LeaseGranted(1, G)
    granted = time.monotonic()
    await asyncio.to_thread(own_server.restart_from, files)
    assert await leases.acquire(own.document, "file", BEN, 0.3) == LeaseRefused(NodeId(""))

    async def taken() -> bool:
        return await leases.acquire(own.document, "file", BEN, 0.3) == LeaseGranted(1, G)

    await wait_until(taken)
    assert time.monotonic() - granted > 0.3


async def test_an_answer_that_was_lost_is_asked_for_again(own_server: RedisServer, own: Desk) -> None:
    """The batch arrives, its answer does not: sent again it is taken once."""
    own_server.freeze()
    batch = Batch(L, G, ANNA, 1, (b"once",))
    with pytest.raises(StoreUnavailable):
        await own.store.append(own.document, batch)
    own_server.thaw()
    answer = await own.store.append(own.document, batch)
    assert isinstance(answer, Appended)
    assert answer.seq == 1
    found = await own.store.load(own.document)
    assert isinstance(found, Loaded)
    assert [entry.updates for entry in found.tail] == [(b"once",)]


async def test_a_full_or_read_only_redis_is_away_for_writes_only(own_server: RedisServer, own: Desk) -> None:
    await own.append(1)
    for setting, off in ((("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
                         (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))):  # fmt: skip
        assert own_server.command(*setting).startswith(b"+OK")
        with pytest.raises(StoreUnavailable):
            await own.append(2)
        assert isinstance(await own.store.load(own.document), Loaded)
        assert own_server.command(*off).startswith(b"+OK")
    assert (await own.append(2)).seq == 2


# --- compaction and ends --------------------------------------------------------------------------


class Stuck(Executor):
    """A worker that is asked and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._loop.call_soon_threadsafe(self.asked.set)
        return Future()


async def test_two_nodes_do_not_compact_at_once_and_a_dead_one_blocks_nobody(desk: Desk) -> None:
    await desk.append(1, EMPTY)
    stuck = Stuck()
    slow = RedisUpdateStore(desk.redis, desk.namespace, replace(LIMITS, compact_timeout=0.3), stuck)

    async def meanwhile() -> None:
        await stuck.asked.wait()
        refused = await desk.store.compact(desk.document)
        assert refused == NotCompacted("another node compacts this document")

    outcome, _ = await asyncio.gather(slow.compact(desk.document), meanwhile())
    assert outcome == NotCompacted("the worker did not fold the log: TimeoutError")
    assert await desk.store.compact(desk.document) == Compacted(1)


async def test_the_old_snapshot_goes_and_what_nobody_took_too(desk: Desk) -> None:
    old = (await desk.do("HGET", desk.keys.meta, "snap")).decode()
    await desk.append(1, b"\x00\x00")
    assert await desk.store.compact(desk.document) == Compacted(1)
    assert 0 < await desk.do("TTL", desk.keys.parts(old, 1)[0]) <= LIMITS.compact_keep
    new = (await desk.do("HGET", desk.keys.meta, "snap")).decode()
    assert await desk.do("TTL", desk.keys.parts(new, 1)[0]) == -1
    assert not await desk.store.seed(desk.document, L, Generation("9" * 32), b"refused")
    for key in await desk.do("KEYS", desk.keys.prefix.replace("{", "\\{") + "snap:*"):
        assert key.decode() == desk.keys.parts(new, 1)[0] or await desk.do("TTL", key) > 0


async def test_compacted_entries_go_when_their_time_has_come(desk: Desk) -> None:
    forgetful = desk.with_limits(compact_keep=0.0)
    for number in range(1, 4):
        await desk.append(number, EMPTY)
    assert await desk.store.compact(desk.document) == Compacted(3)
    assert await desk.do("XLEN", desk.keys.log) == 3
    await desk.append(4, EMPTY)
    assert await forgetful.compact(desk.document) == Compacted(4)
    # The first three are still kept, by the mark of the first compaction; the fourth waits behind them.
    assert await desk.do("XLEN", desk.keys.log) == 4
    await desk.do("HSET", desk.keys.meta, "marks", "3:1;4:1;")
    await desk.append(5, EMPTY)
    assert await desk.do("XLEN", desk.keys.log) == 1


async def test_the_last_batches_of_long_gone_nodes_are_forgotten(desk: Desk) -> None:
    for number in range(100):
        await desk.append(1, EMPTY, NodeId(f"{number:016x}"))
    assert await desk.store.compact(desk.document) == Compacted(100)
    nodes = [name for name in await desk.do("HKEYS", desk.keys.meta) if name.startswith(b"n:")]
    assert sorted(nodes) == [b"n:%016x" % number for number in range(36, 100)]


async def test_what_belongs_to_an_ended_document_goes_after_a_while(desk: Desk) -> None:
    document = await desk.store.document_id(DocumentKey(NOTEBOOK, "a.ipynb"))
    keys = Keys.of(desk.namespace, document)
    await desk.store.reserve(document, L)
    assert await desk.store.seed(document, L, G, b"x" * 3000)
    assert isinstance(await desk.store.append(document, Batch(L, G, ANNA, 1, (b"x",))), Appended)
    await RedisFileLedger(desk.redis, desk.namespace).common(document, "f", "digest", b"base")
    await desk.store.forget("a.ipynb")
    found = await desk.do("KEYS", keys.prefix.replace("{", "\\{") + "*")
    assert len(found) == 6  # meta, log, files, three parts
    for key in found:
        assert 0 < await desk.do("TTL", key) <= LIMITS.ended_keep


async def test_the_index_knows_places_of_documents_that_it_has_and_no_others(desk: Desk) -> None:
    places = f"jc:{desk.namespace}:{{index}}:places"
    kept = await desk.store.document_id(DocumentKey(NOTEBOOK, "a.ipynb"))
    for path in ("b.ipynb", "c/d.ipynb"):
        await desk.store.document_id(DocumentKey(NOTEBOOK, path))
    await desk.store.rename("a.ipynb", "b.ipynb")
    await desk.store.forget("c")
    assert await desk.do("HGETALL", places) == {kept.encode(): b"b.ipynb\0json:notebook"}


async def test_an_end_that_was_cut_off_is_finished_by_the_next_one(desk: Desk) -> None:
    """The index forgot the document, and whoever did it died before the document was told."""
    document = await desk.store.document_id(DocumentKey(NOTEBOOK, "a.ipynb"))
    await desk.store.reserve(document, L)
    index = [f"jc:{desk.namespace}:{{index}}:{name}" for name in ("paths", "order", "ending", "places")]
    await desk.do("FCALL", "jc1_move", 4, *index, "a.ipynb", "")
    assert await desk.store.load(document) is not None
    await desk.store.forget("another.ipynb")
    assert await desk.store.load(document) is None
    assert await desk.do("EXISTS", index[2]) == 0


# --- leases --------------------------------------------------------------------------------------


async def test_a_server_clock_that_was_set_back_starts_the_wait_again(desk: Desk) -> None:
    """Rule 7. The grant is moved into the future, as if the clock had been ahead by an hour then."""
    leases = RedisLeaseStore(desk.redis, desk.namespace)
    assert await leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseGranted(1, G)
    owner, until, fence, ttl, run_id = (await desk.do("HGET", desk.keys.meta, "lease:file")).decode().split()
    ahead = int(until) + 3_600_000
    await desk.do("HSET", desk.keys.meta, "lease:file", f"{owner} {ahead} {fence} {ttl} {run_id}")
    assert await leases.acquire(desk.document, "file", BEN, 0.2) == LeaseRefused(ANNA)
    shortened = int((await desk.do("HGET", desk.keys.meta, "lease:file")).split()[1])
    now = await desk.do("TIME")
    assert shortened - int(now[0]) * 1000 < 2000


async def test_a_wait_for_forgotten_leases_is_not_prolonged_by_a_clock_that_was_set_back(desk: Desk) -> None:
    """The lease is made one of another run, and the wait's end is moved as above."""
    leases = RedisLeaseStore(desk.redis, desk.namespace, grace=0.1)
    assert await leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseGranted(1, G)
    await desk.do("HSET", desk.keys.meta, "lease:file", f"{ANNA} 0 1 200 {'0' * 40}")
    assert await leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseRefused(NodeId(""))
    until, fence, ttl, run_id = (await desk.do("HGET", desk.keys.meta, "lease:file")).decode().split()
    await desk.do("HSET", desk.keys.meta, "lease:file", f" {int(until) + 3_600_000} {fence} {ttl} {run_id}")

    async def granted() -> bool:
        return await leases.acquire(desk.document, "file", ANNA, 0.2) == LeaseGranted(2, G)

    await wait_until(granted, 10.0)
