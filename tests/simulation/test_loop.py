"""The simulated loop keeps asyncio's promises, and breaks processes as an operating system does."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from tests.simulation.loop import NothingToDo, Process, SimulatedLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], seed: int = 1) -> T:
    made = SimulatedLoop(random.Random(seed))
    try:
        return made.run_until_complete(main)
    finally:
        made.close()


def loop() -> SimulatedLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, SimulatedLoop)
    return running


async def passing(seconds: float) -> None:
    done = loop().create_future()
    loop().call_later(seconds, done.set_result, None)
    await done


def test_time_passes_without_waiting() -> None:
    async def main() -> float:
        await passing(3600.0)
        return loop().time()

    started = time.monotonic()
    assert run(main()) == 3600.0
    assert time.monotonic() - started < 1.0


def test_callbacks_run_in_the_order_asked_for() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        for number in range(5):
            loop().call_soon(seen.append, number)
        loop().call_later(0.5, seen.append, 6)
        loop().call_later(0.1, seen.append, 5)
        await passing(1.0)
        return seen

    assert run(main()) == [0, 1, 2, 3, 4, 5, 6]


def test_timers_of_one_moment_come_in_an_order_that_the_seed_decides() -> None:
    async def main() -> str:
        seen: list[str] = []
        for letter in "abcdefgh":
            loop().call_at(1.0, seen.append, letter)
        await passing(2.0)
        return "".join(seen)

    orders = {run(main(), seed) for seed in range(20)}
    assert len(orders) > 10
    assert run(main(), 3) == run(main(), 3)


def test_threads_are_calls_that_take_a_little_time() -> None:
    async def main() -> tuple[int, bool]:
        before = loop().time()
        answer = await asyncio.to_thread(lambda: 7)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return answer, loop().time() > before

    assert run(main()) == (7, True)


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await loop().create_future()

    with pytest.raises(NothingToDo):
        run(main())


async def _counts(seen: list[float]) -> None:
    while True:
        seen.append(loop().time())
        await passing(1.0)


def _started(process: Process, seen: list[float]) -> None:
    loop().in_process(process, 0.0, lambda: tasks.append(loop().create_task(_counts(seen))))


tasks: list[asyncio.Task[None]] = []


def test_a_frozen_process_goes_on_where_it_was() -> None:
    async def main() -> list[float]:
        seen: list[float] = []
        process = Process("a")
        _started(process, seen)
        await passing(2.5)
        loop().freeze(process, 30.0)
        await passing(33.0)
        tasks.pop().cancel()
        await passing(0.1)
        return seen

    assert run(main()) == [0.0, 1.0, 2.0, 32.5, 33.5, 34.5, 35.5]


def test_a_dead_process_does_nothing_any_more() -> None:
    async def main() -> list[float]:
        seen: list[float] = []
        deaths: list[float] = []
        process = Process("a", lambda: deaths.append(loop().time()))
        _started(process, seen)
        process.dies_after = 6
        await passing(20.0)
        assert deaths == [seen[-1]] or deaths == [seen[-1] + 1.0]
        tasks.pop()._log_destroy_pending = False  # type: ignore[attr-defined]  # not public
        return seen

    seen = run(main())
    assert 2 <= len(seen) <= 6
