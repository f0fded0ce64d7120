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
from collections import deque
from collections.abc import Callable
from typing import Any

MOST_CALLBACKS = 100_000
"""A world that needs more goes round in a circle; most need some thousands."""


class NothingToDo(Exception):
    """The loop waits for something that will never happen."""


class Endless(Exception):
    """So many callbacks were run that somebody goes round in a circle."""


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
        self.held: list[_Ready | _Timer] = []
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


class _Timer(asyncio.TimerHandle):
    """As ``_Ready``, later."""

    __slots__ = ("process",)
    process: Process


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
        self.callbacks = 0
        self._soon: deque[_Ready | _Timer] = deque()
        self._later: list[tuple[float, float, _Timer]] = []

    # --- what the base class wants ------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        soon, later = self._soon, self._later
        while later and later[0][2].cancelled():
            heapq.heappop(later)
        if not soon:
            if not later:
                raise NothingToDo
            self._now = later[0][0]
        while later and later[0][0] <= self._now:
            soon.append(heapq.heappop(later)[2])
        self.callbacks += len(soon)
        if self.callbacks > MOST_CALLBACKS:
            raise Endless(f"{MOST_CALLBACKS} callbacks in {self._now:g} s")
        for _ in range(len(soon)):
            handle = soon.popleft()
            if not handle.cancelled():
                self._run_handle(handle)

    def _run_handle(self, handle: _Ready | _Timer) -> None:
        process = handle.process
        if process.dead:
            return
        if process.frozen:
            process.held.append(handle)
            return
        before, self.process = self.process, process
        try:
            handle._run()
        finally:
            self.process = before
        process.ran += 1
        if process.ran == process.dies_after:
            process.die()

    def close(self) -> None:
        """The end; what dead processes leave behind is tidied up without a word."""
        self._soon.clear()
        self._later.clear()
        super().close()

    def _check_closed(self) -> None:
        pass  # what a dead process leaves behind may still be tidied up after the end

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing may fail unseen: the world looks here at its end."""
        self.errors.append(context)

    # --- callbacks ----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # typeshed has generic arguments here
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Ready(callback, args, self, context)
        handle.process = self.process
        self._soon.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # typeshed has generic arguments here
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer.process = self.process
        # Timers of one moment have no promised order: chance decides.
        heapq.heappush(self._later, (when, self._rng.random(), timer))
        return timer

    def call_later(  # type: ignore[override]  # typeshed has generic arguments here
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # typeshed has generic arguments here
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
        self._soon.extend(held)
