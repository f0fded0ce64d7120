"""What every lease store must do."""

from __future__ import annotations

import asyncio

from notebook_sync.core.ids import DocumentId
from notebook_sync.ports import LeaseGranted, LeaseRefused
from tests.contracts.conftest import HERE, THERE, Ports
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
