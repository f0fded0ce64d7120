"""A Valkey of our own, for servers that have no Redis: started, adopted, restarted, and never left behind.

One instance for each state directory. Whoever starts it takes an ``flock`` and hands it to the
valkey-server itself, so the lock is free the instant that process is dead, and a second process on the
same directory finds it held and uses the instance instead of starting another (valkey has no lock of
its own, and two on one directory would share and ruin the append-only file).

Every user holds the write end of a FIFO. A small shell beside the server, the watcher, reads its other
end; when the last user is gone, however it died, it reads the end of the file and stops the server
(rule 25). Who adopts an instance says so through the FIFO and waits for the watcher's answer: one that
is about to stop it does not read any more, so nobody goes on with a server that is going::

    old user      watcher               server       new user
    dies
                  reads end of file                  opens the FIFO, writes a token
                  kill -TERM            answers PING
                                        ends         no answer to the token, lock is free: starts one
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from notebook_sync.adapters.valkey_process import Ending, Health, ValkeyProcess
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

log = logging.getLogger(__name__)

PAUSE = 0.01
"""Seconds between two looks while the server starts."""
ASK_AGAIN = 0.25
"""Seconds until the watcher is asked again: by then it is another one, or has nothing to read."""


class EmbeddedValkey:
    """``async with`` makes this process a user of the instance in ``state_dir``/valkey.

    Run ``watch`` meanwhile. Entering raises ``ConfigError`` with a sentence that says what to change.
    """

    def __init__(self, state_dir: Path, limits: Limits) -> None:
        self._process = ValkeyProcess(state_dir / "valkey")
        self._limits = limits
        self._fifo: int | None = None

    @property
    def url(self) -> str:
        """Where clients connect; for those inside ``async with``."""
        return f"unix://{self._process.socket}"

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._process.prepare)
        # Read and write, so that opening needs no reader; it is the write end that counts.
        self._fifo = os.open(self._process.fifo, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            await self._ensure()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._fifo is not None:
            os.close(self._fifo)
            self._fifo = None

    # --- having one that runs -----------------------------------------------------------------

    async def _ensure(self) -> None:
        """Adopt the running instance, or start one. Raises ``ConfigError``."""
        attempt = _Attempt(self._process, self._limits)
        try:
            while True:
                await asyncio.to_thread(attempt.start)
                health = await asyncio.to_thread(self._process.health)
                if health is Health.ANSWERS and self._adopted(attempt):
                    return
                if attempt.too_long(health):
                    raise ConfigError(await asyncio.to_thread(self._process.why_silent))
                await asyncio.sleep(PAUSE)
        finally:
            attempt.answer.unlink(missing_ok=True)

    def _adopted(self, attempt: _Attempt) -> bool:
        """Whether the watcher knows of us. It is asked again, for the last one may not have read it."""
        if attempt.answer.exists():
            return True
        if self._fifo is not None and attempt.may_ask():
            with contextlib.suppress(BlockingIOError):  # full: it does not read now
                os.write(self._fifo, f"{attempt.token}\n".encode())
        return False

    # --- keeping it ---------------------------------------------------------------------------

    async def watch(self) -> None:
        """Start the instance again whenever it is dead, until cancelled."""
        while True:
            await self._until_it_ends()
            log.warning("the embedded Valkey is gone and is started again")
            try:
                await self._ensure()
            except ConfigError as error:
                log.error("the embedded Valkey does not come back: %s", error)
            # Also a pause between two tries, should it end again and again.
            await asyncio.sleep(self._limits.embedded_watch)

    async def _until_it_ends(self) -> None:
        """A connection that nothing is sent on ends with the server: no polling, and known at once."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._process.socket)
        except OSError:
            return
        try:
            with contextlib.suppress(OSError):
                await reader.read(1)
        finally:
            writer.close()


class _Attempt:
    """One try to have a server that runs: what was done, and how long ago."""

    def __init__(self, process: ValkeyProcess, limits: Limits) -> None:
        self.token = secrets.token_hex(8)
        self.answer = process.answer(self.token)
        self._process = process
        self._limits = limits
        self._started = False
        self._set_aside = False
        self._asked = -ASK_AGAIN
        self._since = self._heard = time.monotonic()

    def start(self) -> None:
        """Start it if none lives; if ours died of files that it can't read, without them, once. Blocks.

        Raises ``ConfigError``.
        """
        if self._started:
            ending = self._process.ending(may_set_aside=not self._set_aside)
            if ending is Ending.ALIVE:
                return
            if ending is Ending.OTHERWISE:
                raise ConfigError(f"the embedded Valkey does not start: {self._process.last_words()}")
            self._set_aside = True
        if self._process.try_start():
            self._started = True
            self._since = self._heard = time.monotonic()

    def may_ask(self) -> bool:
        """Whether it is time to write the token (again)."""
        due = time.monotonic() - self._asked >= ASK_AGAIN
        if due:
            self._asked = time.monotonic()
        return due

    def too_long(self, health: Health) -> bool:
        """Whether it was silent for too long, or, while it reads its files, for much too long."""
        now = time.monotonic()
        if health is Health.LOADING:
            self._heard = now
        silent = now - self._heard > self._limits.embedded_start
        return silent or now - self._since > self._limits.embedded_load
