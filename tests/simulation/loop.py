"""An event loop whose time is a number, for processes that may freeze or die between any two callbacks.

Nothing waits: when no callback is ready, time jumps to the next timer. Every callback belongs to the
``Process`` in which it was scheduled, so that a process can be stopped or killed as the operating
system does it: at the boundary of a callback all of it is gone, or goes on later.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable
from typing import Any


class NothingToDo(Exception):
    """The loop waits for something that will never happen."""


class Process:
    """A program in the simulated world. ``ran`` counts its callbacks.

    ``dies_after``: the number of callbacks after which it is killed; ``on_death`` hears of it.
    """

    def __init__(self, name: str, on_death: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.ran = 0
        self.dies_after: int | None = None
        self.held: list[asyncio.Handle] = []
        """What became ready while it was frozen."""
        self._on_death = on_death

    def die(self) -> None:
        """kill -9: nothing of it ever runs again."""
        if not self.dead:
            self.dead = True
            self._on_death()

    def __repr__(self) -> str:
        return self.name


class _Ready(asyncio.Handle):
    """A callback and the process that it belongs to."""

    __slots__ = ("process",)
    process: Process

    def _run(self) -> None:
        _run_in(self, self.process, super()._run)


class _Timer(asyncio.TimerHandle):
    """As ``_Ready``, later. Timers of one moment have no promised order: ``tie`` decides."""

    __slots__ = ("process", "tie")
    process: Process
    tie: float

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.tie) < (other.when(), other.tie)

    def _run(self) -> None:
        _run_in(self, self.process, super()._run)


def _run_in(handle: asyncio.Handle, process: Process, run: Callable[[], None]) -> None:
    if process.dead:
        return
    if process.frozen:
        process.held.append(handle)
        return
    loop = handle._loop  # type: ignore[attr-defined]
    before, loop.process = loop.process, process
    try:
        run()
    finally:
        loop.process = before
    process.ran += 1
    if process.ran == process.dies_after:
        process.die()


class SimulatedLoop(asyncio.BaseEventLoop):
    """``rng`` decides what asyncio leaves open. Made for one ``run_until_complete``.

    ``world`` is the process of all that is no process: the network, people, the test itself.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.world = Process("world")
        self.process = self.world
        self.errors: list[dict[str, Any]] = []
        self._rng = rng
        self._now = 0.0
        self._selector = self  # what ``_run_once`` asks for events

    # --- what the base class wants ------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """No events ever; time passes instead."""
        if timeout is None:
            raise NothingToDo
        if timeout > 0:
            self._now = self._scheduled[0].when()  # type: ignore[attr-defined]
        return ()

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _check_closed(self) -> None:
        pass  # what a dead process leaves behind may still be tidied up after the end

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing may fail unseen: the world looks here at its end."""
        self.errors.append(context)

    # --- callbacks ----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Ready(callback, args, self, context)
        handle.process = self.process
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer.process = self.process
        timer.tie = self._rng.random()
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """A thread's work: done at once when its turn comes, a little later."""
        answer: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            if answer.cancelled():
                return
            try:
                answer.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - whoever waits for the thread gets it
                answer.set_exception(error)

        self.call_later(self._rng.random() * 0.002, work)
        return answer

    # --- processes ----------------------------------------------------------------------------

    def in_process(
        self, process: Process, delay: float, callback: Callable[..., object], *args: Any
    ) -> asyncio.TimerHandle:
        """Call something in another process, ``delay`` seconds from now."""
        before, self.process = self.process, process
        try:
            return self.call_at(self._now + delay, callback, *args)
        finally:
            self.process = before

    def freeze(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while: it goes on with what it was about to do."""
        process.frozen = True
        self.in_process(self.world, seconds, self.thaw, process)

    def thaw(self, process: Process) -> None:
        """SIGCONT now."""
        process.frozen = False
        held, process.held = process.held, []
        self._ready.extend(held)  # type: ignore[attr-defined]
