"""Waiting for conditions of other processes: the only place of the system tests with a sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.05


async def wait_until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    within: float = 30.0,
    what: str = "a condition",
) -> None:
    """Ask ``condition`` until it answers something true. Raises ``AssertionError``, naming ``what`` and the
    last answer, after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        assert time.monotonic() < deadline, f"{what}: not within {within} s; last answer: {answer!r}"
        await asyncio.sleep(PAUSE)


async def each(pause: float, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Do ``act`` every ``pause`` seconds for ``seconds``: for looking at something again and again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        await act()
        await asyncio.sleep(pause)


async def always(pause: float, look: Callable[[], None]) -> None:
    """Look every ``pause`` seconds until cancelled: for measuring how long something lasts."""
    while True:
        look()
        await asyncio.sleep(pause)


async def lasting(seconds: float) -> None:
    """Let a fault last for so long. Never for waiting until something has happened."""
    await asyncio.sleep(max(0.0, seconds))


def the_moment(probe: Callable[[], bool], act: Callable[[], None], within: float) -> None:
    """Do ``act`` in the very moment in which ``probe`` becomes true, which may last for milliseconds only:
    looks a thousand times a second, in a thread of yours. Raises AssertionError after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not probe():
        assert time.monotonic() < deadline, f"the moment did not come within {within:.0f} s"
        time.sleep(0.001)
    act()


def eventually(probe: Callable[[], T], *, timeout: float = 30.0, what: str = "the condition") -> T:
    """Ask ``probe`` until it answers something true, and return that.

    Raises AssertionError, naming ``what`` and the last answer, after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {timeout:.0f} s; last answer: {answer!r}")
        time.sleep(PAUSE)
