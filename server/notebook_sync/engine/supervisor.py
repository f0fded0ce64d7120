"""The owner of every task of the engine: the only place where tasks are born.

A task that fails is logged and reported to whoever asked for it; it never takes others with it and is
never forgotten. Leaving the ``async with`` block cancels what still runs and waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from notebook_sync.core.backoff import backoff
from notebook_sync.core.errors import StoreUnavailable

log = logging.getLogger(__name__)


class Supervisor:
    """``async with Supervisor() as supervisor: supervisor.spawn(...)``."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def spawn(
        self,
        work: Coroutine[Any, Any, None],
        name: str,
        failed: Callable[[BaseException], None] | None = None,
    ) -> asyncio.Task[None] | None:
        """Run ``work`` as a task of its own; ``failed`` hears of an error that it did not handle.

        None, and ``work`` is dropped, when the supervisor is closed.
        """
        if self._closed:
            work.close()
            return None
        # An empty context: a task born while a request is handled must not act as that request's person.
        task = asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, failed))
        return task

    def _ended(self, task: asyncio.Task[None], failed: Callable[[BaseException], None] | None) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        log.error("%s failed: %s", task.get_name(), error, exc_info=error)
        if failed is not None:
            failed(error)

    async def settle(self, deadline: float) -> bool:
        """Wait until no task runs, at most ``deadline`` seconds. True if none does."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)
        return not self._tasks

    def __len__(self) -> int:
        return len(self._tasks)


async def forever(
    work: Callable[[], Awaitable[None]], name: str, *, first: float = 0.1, most: float = 5.0
) -> None:
    """Run ``work`` again and again, also when it ends or fails, with a growing pause between failures."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await work()
        except StoreUnavailable as error:
            log.warning("%s waits: %s", name, error)
        except Exception:
            log.exception("%s failed and is started again", name)
        failures = 1 if loop.time() - started > most else failures + 1
        await asyncio.sleep(backoff(failures, first, most))
