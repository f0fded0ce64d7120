"""What every lease store must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from notebook_sync.core.ids import DocumentId, Generation, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import LeaseGranted, LeaseRefused
from tests.contracts.conftest import HERE, THERE, Ports
from tests.support.breakable_store import KINDS, BreakableStore, breakable
from tests.support.waiting import wait_until

D = DocumentId("a" * 32)


async def test_one_holds_it_and_renews_under_the_same_fence(ports: Ports) -> None:
    assert await ports.leases.acquire(D, "file", HERE, 10.0) == LeaseGranted(1)
    assert await ports.leases.acquire(D, "file", THERE, 10.0) == LeaseRefused(HERE)
    assert await ports.leases.acquire(D, "file", HERE, 10.0) == LeaseGranted(1)


async def test_purposes_and_documents_are_apart(ports: Ports) -> None:
    await ports.leases.acquire(D, "file", HERE, 10.0)
    assert await ports.leases.acquire(D, "other", THERE, 10.0) == LeaseGranted(1)
    assert await ports.leases.acquire(DocumentId("b" * 32), "file", THERE, 10.0) == LeaseGranted(1)


async def test_the_fence_rises_with_each_new_owner(ports: Ports) -> None:
    await ports.leases.acquire(D, "file", HERE, 10.0)
    await ports.leases.release(D, "file", HERE)
    assert await ports.leases.acquire(D, "file", THERE, 10.0) == LeaseGranted(2)


async def test_only_its_owner_gives_it_up(ports: Ports) -> None:
    await ports.leases.acquire(D, "file", HERE, 10.0)
    await ports.leases.release(D, "file", THERE)
    assert await ports.leases.acquire(D, "file", THERE, 10.0) == LeaseRefused(HERE)


async def test_an_expired_lease_is_free_and_its_fence_is_used_up(ports: Ports) -> None:
    assert await ports.leases.acquire(D, "file", HERE, 0.05) == LeaseGranted(1)

    async def taken() -> bool:
        return await ports.leases.acquire(D, "file", THERE, 10.0) == LeaseGranted(2)

    await wait_until(taken)
    assert await ports.leases.acquire(D, "file", HERE, 10.0) == LeaseRefused(THERE)


async def test_of_many_who_ask_at_once_one_gets_it(ports: Ports) -> None:
    answers = await asyncio.gather(
        *(ports.leases.acquire(D, "file", node, 10.0) for node in (HERE, THERE, HERE, THERE))
    )
    assert {type(answer) for answer in answers} == {LeaseGranted, LeaseRefused}
    assert {answer.fence for answer in answers if isinstance(answer, LeaseGranted)} == {1}


# --- what the store may have forgotten (rule 7) -----------------------------------------------------

L, G, G2 = Lineage("1" * 32), Generation("2" * 32), Generation("3" * 32)
TTL, GRACE = 0.3, 0.2
LIMITS = Limits(append_timeout=5.0, lease_ttl=TTL, lease_grace=GRACE)
WAITED_FOR = LeaseRefused(NodeId(""))
PATIENCE = 5.0


@pytest.fixture(params=KINDS)
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[BreakableStore]:
    """One that several servers share."""
    async with breakable(request.param, limits=LIMITS, window=10.0, grace=GRACE) as store:
        yield store


@pytest.fixture(params=KINDS)
async def embedded(request: pytest.FixtureRequest) -> AsyncIterator[BreakableStore]:
    async with breakable(request.param, limits=LIMITS) as store:
        yield store


async def seed(stores: BreakableStore, generation: Generation, *, again: bool = False) -> None:
    await stores.store.reserve(D, L)
    assert await stores.store.seed(D, L, generation, b"\0\0", again=again)


async def granted_after_the_wait(stores: BreakableStore, node: NodeId, expected: LeaseGranted) -> None:
    """Nobody else gets it meanwhile: every other answer is that leases are waited for."""
    asked = 0

    async def granted() -> bool:
        nonlocal asked
        asked += 1
        answer = await stores.leases.acquire(D, "file", node, TTL)
        assert answer in (WAITED_FOR, expected)
        return answer == expected

    await stores.until(granted, PATIENCE)
    assert asked > 1


async def test_the_first_lease_of_a_new_document_is_granted_at_once(shared: BreakableStore) -> None:
    await seed(shared, G)
    assert await shared.leases.acquire(D, "file", HERE, TTL) == LeaseGranted(1, G)


async def test_after_a_restart_nobody_gets_it_until_forgotten_leases_have_ended(
    shared: BreakableStore,
) -> None:
    """Also not who holds it by the record: a later grant to another may be what was lost."""
    await seed(shared, G)
    assert await shared.leases.acquire(D, "file", HERE, 60.0) == LeaseGranted(1, G)
    await shared.leases.release(D, "file", HERE)
    assert await shared.leases.acquire(D, "file", HERE, TTL) == LeaseGranted(2, G)
    await shared.restart()
    for node in (HERE, THERE):
        assert await shared.leases.acquire(D, "file", node, TTL) == WAITED_FOR
    await granted_after_the_wait(shared, THERE, LeaseGranted(3, G))
    assert await shared.leases.acquire(D, "file", HERE, TTL) == LeaseRefused(THERE)


async def test_a_document_whose_first_lease_may_be_forgotten_waits_too(shared: BreakableStore) -> None:
    await seed(shared, G)
    await shared.restart()
    assert await shared.leases.acquire(D, "file", HERE, TTL) == WAITED_FOR
    await granted_after_the_wait(shared, HERE, LeaseGranted(1, G))


async def test_a_document_that_is_founded_again_waits(shared: BreakableStore) -> None:
    """FLUSHALL: the run is the same, the lease is gone, and whoever held it may still write."""
    await seed(shared, G)
    assert await shared.leases.acquire(D, "file", HERE, TTL) == LeaseGranted(1, G)
    await shared.flush()
    await seed(shared, G2, again=True)
    assert await shared.leases.acquire(D, "file", THERE, TTL) == WAITED_FOR
    # The number comes again, under another generation.
    await granted_after_the_wait(shared, THERE, LeaseGranted(1, G2))


async def test_a_wait_is_not_longer_than_it_should_be(shared: BreakableStore) -> None:
    """Each request finds the wait that the first one began, and one restart makes one wait."""
    await seed(shared, G)
    await shared.restart()
    assert await shared.leases.acquire(D, "file", HERE, TTL) == WAITED_FOR
    await granted_after_the_wait(shared, HERE, LeaseGranted(1, G))
    assert await shared.leases.acquire(D, "file", HERE, TTL) == LeaseGranted(1, G)
    await shared.leases.release(D, "file", HERE)
    assert await shared.leases.acquire(D, "file", THERE, TTL) == LeaseGranted(2, G)


async def test_the_embedded_store_forgets_nothing_and_waits_for_nobody(embedded: BreakableStore) -> None:
    await seed(embedded, G)
    assert await embedded.leases.acquire(D, "file", HERE, 60.0) == LeaseGranted(1, G)
    await embedded.restart()
    assert await embedded.leases.acquire(D, "file", HERE, 60.0) == LeaseGranted(1, G)
    assert await embedded.leases.acquire(D, "file", THERE, 60.0) == LeaseRefused(HERE)
    await embedded.flush()
    await seed(embedded, G2, again=True)
    assert await embedded.leases.acquire(D, "file", THERE, 60.0) == LeaseGranted(1, G2)
