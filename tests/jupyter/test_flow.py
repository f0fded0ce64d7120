"""How fast a person's sockets are read, and when it is said that they are read later."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jupyter_collab_ext.flow import QUIET, Flow, Pause, slowed
from notebook_sync.core.limits import MIB, Limits

LIMITS = replace(
    Limits(),
    frames_per_second=10.0,
    frames_at_once=20,
    frame_bytes_per_second=1.0 * MIB,
    frame_bytes_at_once=4 * MIB,
)


def paused(pause: Pause | None) -> tuple[float, bool]:
    assert pause is not None
    return round(pause.seconds, 6), pause.say


def test_whoever_works_is_never_slowed() -> None:
    flow = Flow(LIMITS)
    assert all(flow.pause("ann", 100, now / 10) is None for now in range(1000))


def test_messages_and_bytes_beyond_the_bounds_wait(caplog: pytest.LogCaptureFixture) -> None:
    flow = Flow(LIMITS)
    assert all(flow.pause("ann", 1, 0.0) is None for _ in range(20))
    assert paused(flow.pause("ann", 1, 0.0)) == (0.1, False)
    assert flow.pause("bob", 4 * MIB, 0.0) is None, "everybody has their own"
    assert paused(flow.pause("bob", 2 * MIB, 0.0)) == (2.0, True)
    assert paused(flow.pause("bob", 1 * MIB, 0.0)) == (3.0, False)
    assert paused(flow.pause("bob", 90 * MIB, QUIET))[1], "said again a minute later"
    assert caplog.text.count("bob sends faster") == 2
    assert "ann sends" not in caplog.text


async def test_a_pause_ends_with_its_socket() -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, gone.set)
    async with asyncio.timeout(10):
        await slowed(Pause(3600.0, say=False), gone)
    async with asyncio.timeout(10):
        await slowed(Pause(0.01, say=False), asyncio.Event())
