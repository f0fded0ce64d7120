"""Replaced files watched for late writers (rule 16).

A program that opened a file before it was replaced and writes into it afterwards writes into a file
without a name: its work would vanish when it closes it. So the replaced file is held open a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from notebook_sync.adapters.atomic_replace import digest_of
from notebook_sync.core.limits import Limits
from notebook_sync.ports import LateWrite

_ROUNDS = 5
"""How often a file that is still being written is looked at again before its content is taken."""


@dataclass(slots=True, eq=False)
class _Watched:
    path: str
    descriptor: int
    replaced: str
    new: str
    latest: bytes | None = None
    rounds: int = 0
    timer: asyncio.TimerHandle | None = field(default=None)


class ReplacedFiles:
    """The replaced files of one store. ``deliver`` is called on the event loop for each late write."""

    def __init__(self, limits: Limits, deliver: Callable[[LateWrite], None]) -> None:
        self._limits = limits
        self._deliver = deliver
        self._watched: OrderedDict[_Watched, None] = OrderedDict()
        self._looking: set[asyncio.Future[bytes | None]] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, path: str, descriptor: int, replaced: str, new: str) -> None:
        """Watch the open ``descriptor`` of a file whose content had the digest ``replaced`` and gave way
        to content with the digest ``new``. The descriptor is closed here."""
        watched = _Watched(path, descriptor, replaced, new)
        self._watched[watched] = None
        self._look_later(watched)
        if len(self._watched) > self._limits.files_lingering:
            oldest = next(iter(self._watched))
            oldest.rounds = _ROUNDS
            self._look(oldest)

    async def close(self) -> None:
        """Look at all that are left, at once."""
        for watched in list(self._watched):
            watched.rounds = _ROUNDS
            self._look(watched)
        while self._looking:
            await asyncio.wait(self._looking)

    def _look_later(self, watched: _Watched) -> None:
        loop = asyncio.get_running_loop()
        watched.timer = loop.call_later(self._limits.file_linger, self._look, watched)

    def _look(self, watched: _Watched) -> None:
        if watched.timer is None:  # it is being looked at
            return
        watched.timer.cancel()
        watched.timer = None
        looking = asyncio.get_running_loop().run_in_executor(None, _changed, watched)
        self._looking.add(looking)
        looking.add_done_callback(lambda done: self._looked(watched, done))

    def _looked(self, watched: _Watched, done: asyncio.Future[bytes | None]) -> None:
        self._looking.discard(done)
        data = None if done.cancelled() or done.exception() is not None else done.result()
        watched.rounds += 1
        if data is not None:
            watched.latest = data
            if watched.rounds < _ROUNDS:  # perhaps not finished: look again
                self._look_later(watched)
                return
        del self._watched[watched]
        with contextlib.suppress(OSError):
            os.close(watched.descriptor)
        if watched.latest and digest_of(watched.latest) != watched.new:
            self._deliver(LateWrite(watched.path, watched.latest, watched.replaced))


def _changed(watched: _Watched) -> bytes | None:
    """The content if it changed since the last look. Blocking."""
    with os.fdopen(os.dup(watched.descriptor), "rb") as file:
        file.seek(0)
        data = file.read()
    known = watched.replaced if watched.latest is None else digest_of(watched.latest)
    return data if digest_of(data) != known else None
