"""A store says which one it is, and for how long it recovers (rules 3 and 8)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.redis_connection import run
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, Lineage
from notebook_sync.core.limits import Limits
from tests.support.breakable_store import KINDS, BreakableStore, Clock, breakable

LIMITS = Limits(append_timeout=5.0)
WINDOW = 60.0
SHORT = 0.3
D = DocumentId("d" * 32)


def key(path: str) -> DocumentKey:
    return DocumentKey(NOTEBOOK, path)


async def over(shared: BreakableStore) -> bool:
    return (await shared.store.attend()).recovering == 0.0


@pytest.fixture(params=KINDS)
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[BreakableStore]:
    async with breakable(request.param, window=WINDOW, limits=LIMITS) as store:
        yield store


async def test_it_stays_the_same_while_nothing_happens(shared: BreakableStore) -> None:
    first = await shared.store.attend()
    again = await shared.store.attend()
    assert (again.incarnation, again.run_id) == (first.incarnation, first.run_id)
    assert first.incarnation
    assert first.run_id
    assert 0 < again.recovering <= first.recovering <= WINDOW


async def test_emptied_it_is_another_incarnation_of_the_same_run(shared: BreakableStore) -> None:
    first = await shared.store.attend()
    await shared.flush()
    emptied = await shared.store.attend()
    assert emptied.incarnation != first.incarnation
    assert emptied.run_id == first.run_id
    assert emptied.recovering > 0


async def test_started_again_it_is_another_run_of_the_same_incarnation(shared: BreakableStore) -> None:
    first = await shared.store.attend()
    await shared.restart()
    restarted = await shared.store.attend()
    assert restarted.incarnation == first.incarnation
    assert restarted.run_id != first.run_id
    assert restarted.recovering > 0


@pytest.mark.parametrize("kind", KINDS)
async def test_recovery_ends_and_begins_again_with_each_loss(kind: str) -> None:
    async with breakable(kind, window=SHORT, limits=LIMITS) as shared:
        for loss in (shared.flush, shared.restart):
            await loss()
            assert 0 < (await shared.store.attend()).recovering <= SHORT
            await shared.until(lambda: over(shared), 10 * SHORT)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_knows_all_there_is_to_know_waits_for_nobody(kind: str) -> None:
    async with breakable(kind, window=0.0, limits=LIMITS) as own:
        first = await own.store.attend()
        assert first.recovering == 0.0
        await own.restart()
        restarted = await own.store.attend()
        assert restarted.recovering == 0.0
        assert restarted.run_id != first.run_id


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_server_clock_that_was_set_back_does_not_prolong_recovery(kind: str) -> None:
    """The end is moved into the future, as if the clock had been ahead by an hour when it was set."""
    async with breakable(kind, window=SHORT, limits=LIMITS) as shared:
        await shared.store.attend()
        assert shared.redis is not None
        sentinel = "jc:default:{index}:sentinel"
        until = int(await run(shared.redis, "HGET", sentinel, "until"))
        await run(shared.redis, "HSET", sentinel, "until", until + 3_600_000)
        assert 0 < (await shared.store.attend()).recovering <= SHORT
        await shared.until(lambda: over(shared), 10 * SHORT)


async def test_the_twin_s_clock_that_was_set_back_does_not_prolong_recovery() -> None:
    clock = Clock()
    store = MemoryStore(now=clock, recovery_window=10.0)
    await store.attend()
    clock.now -= 3600.0
    assert (await store.attend()).recovering == 10.0
    clock.now += 10.0
    assert (await store.attend()).recovering == 0.0


# --- a document at its old path -------------------------------------------------------------------


async def test_a_document_comes_back_under_its_old_id(shared: BreakableStore) -> None:
    document = await shared.store.document_id(key("a.ipynb"))
    await shared.flush()
    assert await shared.store.document_id(key("a.ipynb"), document) == document
    assert await shared.store.find_document(key("a.ipynb")) == document


async def test_a_path_keeps_the_document_that_it_has(shared: BreakableStore) -> None:
    document = await shared.store.document_id(key("a.ipynb"))
    assert await shared.store.document_id(key("a.ipynb"), D) == document


async def test_a_document_is_at_one_path(shared: BreakableStore) -> None:
    """Of two servers, one missed the rename and offers the document at its former path."""
    await shared.store.document_id(key("new/a.ipynb"), D)
    former = await shared.store.document_id(key("a.ipynb"), D)
    assert former != D
    await shared.store.rename("new", "newer")
    assert await shared.store.document_id(key("new/a.ipynb"), D) != D
    assert await shared.store.find_document(key("newer/a.ipynb")) == D
    await shared.store.forget("a.ipynb")
    await shared.store.reserve(D, Lineage("1" * 32))


async def test_a_document_that_has_ended_does_not_come_back(shared: BreakableStore) -> None:
    document = await shared.store.document_id(key("a.ipynb"))
    await shared.store.reserve(document, Lineage("1" * 32))
    await shared.store.forget("a.ipynb")
    made = await shared.store.document_id(key("a.ipynb"), document)
    assert made != document
    await shared.store.reserve(made, Lineage("2" * 32))


async def test_of_many_that_offer_one_document_all_get_it(shared: BreakableStore) -> None:
    for path, _ in itertools.product(("a.ipynb", "b/c.ipynb"), range(3)):
        offered = DocumentId(path.encode().hex().zfill(32))
        assert await shared.store.document_id(key(path), offered) == offered
