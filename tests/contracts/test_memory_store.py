"""The memory twins break on purpose as Redis does by accident."""

from __future__ import annotations

import pytest

from notebook_sync.adapters.memory_channel import MemoryChannel
from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import (
    Appended,
    Batch,
    ChannelEvent,
    ChannelRestored,
    Compacted,
    Cursor,
    LeaseGranted,
    LeaseRefused,
    Loaded,
    StaleHistory,
    Trimmed,
)
from tests.contracts.conftest import HERE, THERE

D = DocumentId("d" * 32)
L, G = Lineage("1" * 32), Generation("2" * 32)
START = Cursor(G, 0, bytes(8))


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def seeded(store: MemoryStore) -> None:
    await store.reserve(D, L)
    assert await store.seed(D, L, G, b"\0\0")


def batch(number: int) -> Batch:
    return Batch(L, G, HERE, number, (b"\0\0",))


async def test_down_nothing_is_done_and_nothing_is_lost() -> None:
    store = MemoryStore()
    await seeded(store)
    store.faults.down = True
    for ask in (
        store.append(D, batch(1)),
        store.load(D),
        store.since(D, START),
        store.confirms(D, START),
        store.compact(D),
        store.document_id(DocumentKey(NOTEBOOK, "a")),
        store.rename("a", "b"),
        store.attend(),
    ):
        with pytest.raises(StoreUnavailable):
            await ask
    store.faults.down = False
    assert await store.append(D, batch(1)) == await store.append(D, batch(1))
    assert await store.find_document(DocumentKey(NOTEBOOK, "a")) is None


async def test_so_many_calls_fail_as_was_asked_for() -> None:
    store = MemoryStore()
    store.faults.fail_next(2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.load(D)
    assert await store.load(D) is None


async def test_a_lost_answer_was_done_all_the_same() -> None:
    store = MemoryStore()
    await seeded(store)
    store.faults.lose_next_answers(1)
    with pytest.raises(StoreUnavailable):
        await store.append(D, batch(1))
    answer = await store.append(D, batch(1))
    assert isinstance(answer, Appended)
    assert answer.seq == 1


async def test_rolled_back_it_is_another_and_old_cursors_are_no_place_in_it() -> None:
    store = MemoryStore()
    await seeded(store)
    before = await store.attend()
    for number in range(1, 6):
        last = await store.append(D, batch(number))
    assert isinstance(last, Appended)
    store.rollback(D, 3)
    assert (await store.attend()).run_id != before.run_id
    assert await store.since(D, Cursor(G, last.seq, last.chain)) == Trimmed()
    for number in range(1, 4):
        await store.append(D, Batch(L, G, THERE, number, (b"\0\0",)))
    assert await store.since(D, Cursor(G, last.seq, last.chain)) == Trimmed()
    assert await store.compact(D) is not None
    assert not await store.confirms(D, Cursor(G, last.seq, last.chain))
    with pytest.raises(ValueError, match="snapshot"):
        store.rollback(D, 2)


async def test_flushed_it_knows_nothing() -> None:
    store = MemoryStore()
    await seeded(store)
    store.flush()
    assert await store.append(D, batch(1)) == StaleHistory(None, None)
    assert await store.load(D) is None


async def test_compacted_entries_go_when_their_time_has_come() -> None:
    time = Time()
    store = MemoryStore(limits=Limits(compact_keep=60.0), now=time)
    await seeded(store)
    first = await store.append(D, batch(1))
    await store.append(D, batch(2))
    assert isinstance(first, Appended)
    assert await store.compact(D) == Compacted(2)
    time.now += 59
    assert not isinstance(await store.since(D, Cursor(G, 1, first.chain)), Trimmed)
    time.now += 2
    await store.append(D, batch(3))
    assert await store.since(D, Cursor(G, 1, first.chain)) == Trimmed()
    assert isinstance(await store.load(D), Loaded)


async def test_an_interrupted_channel_says_so_and_a_deaf_one_hears_nothing() -> None:
    shared = MemoryChannel()
    here, there = shared.for_node(HERE), shared.for_node(THERE)
    heard: list[ChannelEvent] = []
    await here.subscribe(D, heard.append)
    here.deaf = True
    await there.publish_awareness(D, THERE, b"x")
    assert heard == []
    here.deaf = False
    shared.interrupt()
    assert heard == [ChannelRestored()]
    there.faults.down = True
    with pytest.raises(StoreUnavailable):
        await there.publish_awareness(D, THERE, b"x")


async def test_a_lease_ends_by_its_clock_and_a_step_back_starts_the_wait_again() -> None:
    time = Time()
    leases = MemoryLeaseStore(time)
    assert await leases.acquire(D, "file", HERE, 10.0) == LeaseGranted(1)
    time.now += 9.9
    assert await leases.acquire(D, "file", THERE, 10.0) == LeaseRefused(HERE)
    time.now -= 1000
    assert await leases.acquire(D, "file", THERE, 10.0) == LeaseRefused(HERE)
    time.now += 10
    assert await leases.acquire(D, "file", THERE, 10.0) == LeaseGranted(2)
    time.now += 10
    assert await leases.acquire(D, "file", THERE, 10.0) == LeaseGranted(3)
    leases.faults.fail_next(1)
    with pytest.raises(StoreUnavailable):
        await leases.acquire(D, "file", THERE, 10.0)


async def test_a_wait_for_forgotten_leases_is_not_prolonged_by_a_step_back() -> None:
    time = Time()
    store = MemoryStore(now=time)
    leases = MemoryLeaseStore(time, store, grace=1.0)
    assert await leases.acquire(D, "file", HERE, 10.0) == LeaseGranted(1)
    store.restart()
    assert await leases.acquire(D, "file", HERE, 10.0) == LeaseRefused(NodeId(""))
    time.now -= 1000
    assert await leases.acquire(D, "file", HERE, 10.0) == LeaseRefused(NodeId(""))
    time.now += 11
    assert await leases.acquire(D, "file", HERE, 10.0) == LeaseGranted(2)


async def test_a_ledger_that_is_down_says_so() -> None:
    ledger = MemoryFileLedger()
    ledger.faults.down = True
    with pytest.raises(StoreUnavailable):
        await ledger.record(D, "f")
