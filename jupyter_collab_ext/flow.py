"""How fast one person's sockets are read: messages and bytes, of all their pages together.

Nobody who works comes near these bounds. Beyond them a socket is simply read later, so that nothing is
lost, its sender's queue grows at its sender's side, and the loop has time for everybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from jupyter_collab_ext.pace import Paces
from notebook_sync.core.limits import Limits

log = logging.getLogger(__name__)

LONGEST_PAUSE = 20.0
"""Seconds that a socket is not read because its person sends too fast; less than a client's patience."""
PATIENCE = 1.0
"""Seconds of pauses that one person has within a minute before it is said."""
QUIET = 60.0
"""Seconds until it is said of the same person again."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Args: ``seconds``: until the next message is read; ``say``: whether its sender should be told why."""

    seconds: float
    say: bool


class Flow:
    """Times are monotonic seconds. Args: ``limits``: the fields ``frames_…`` and ``frame_bytes_…``."""

    def __init__(self, limits: Limits) -> None:
        most = limits.addresses_remembered
        self._frames = Paces(limits.frames_per_second, limits.frames_at_once, most)
        self._bytes = Paces(limits.frame_bytes_per_second, limits.frame_bytes_at_once, most)
        self._patience = Paces(PATIENCE / QUIET, PATIENCE, most)
        self._lines = Paces(1 / QUIET, 1, most)

    def pause(self, person: str, size: int, now: float) -> Pause | None:
        """Note a message of ``size`` bytes. None: read on."""
        seconds = max(self._frames.take(person, 1, now), self._bytes.take(person, size, now))
        if seconds == 0:
            return None
        say = self._patience.take(person, seconds, now) > 0 and self._lines.wait(person, now) == 0
        if say:
            self._lines.take(person, 1, now)
            log.warning("%s sends faster than one person works; their sockets are read later", person)
        return Pause(seconds, say)


async def slowed(pause: Pause, gone: asyncio.Event) -> None:
    """Wait as long, or until the socket is gone: then its messages are read no more anyway."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(pause.seconds, LONGEST_PAUSE)):
            await gone.wait()
