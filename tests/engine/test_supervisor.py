"""Every task has an owner, and a failing one hurts nobody else."""

from __future__ import annotations

import asyncio
import contextvars
import logging

import pytest

from notebook_sync.engine.supervisor import Supervisor, forever


async def test_leaving_ends_what_still_runs() -> None:
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Supervisor() as supervisor:
        task = supervisor.spawn(endless(), "endless")
        assert task is not None
        await asyncio.wait([task], timeout=0.01)
    assert ended.is_set()
    assert len(supervisor) == 0


async def test_a_failure_is_logged_and_reported_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reported: list[BaseException] = []
    go = asyncio.Event()
    done = asyncio.Event()

    async def broken() -> None:
        raise ValueError("broken on purpose")

    async def fine() -> None:
        await go.wait()
        done.set()

    async with Supervisor() as supervisor:
        supervisor.spawn(fine(), "fine")
        task = supervisor.spawn(broken(), "broken", reported.append)
        assert task is not None
        with caplog.at_level(logging.CRITICAL):
            await asyncio.wait([task])
        go.set()
        await asyncio.wait_for(done.wait(), 5)
    assert [str(error) for error in reported] == ["broken on purpose"]


async def test_a_task_does_not_inherit_the_request_it_was_born_in() -> None:
    person: contextvars.ContextVar[str] = contextvars.ContextVar("person")
    person.set("anna")
    seen: list[str | None] = []

    async def look() -> None:
        seen.append(person.get(None))

    async with Supervisor() as supervisor:
        task = supervisor.spawn(look(), "look")
        assert task is not None
        await task
    assert seen == [None]


async def test_after_the_end_nothing_starts() -> None:
    async with Supervisor() as supervisor:
        pass

    async def never() -> None:
        raise AssertionError("ran after the end")

    assert supervisor.spawn(never(), "never") is None


async def test_forever_starts_again_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    tries = 0
    enough = asyncio.Event()

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            enough.set()
        raise ConnectionError("away")

    async with Supervisor() as supervisor:
        supervisor.spawn(forever(work, "work", first=0.001), "work")
        await asyncio.wait_for(enough.wait(), 5)
    assert tries >= 3
