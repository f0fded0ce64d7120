"""A person's tab as a process of its own, so that it can be frozen or killed as a browser is.

``Tab`` is the handle; ``python -m tests.support.tab URL PATH NUMBER`` the tab, with the server's token in its
environment. It types until its standard input ends, then waits until all of it is stored, and prints
each word when it is complete.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from jupyter_collab_ext.simulated import TYPING_ONLY, Browser, CollabClient, Person, TokenLog, plain_user
from tests.support.waiting import wait_until

SYNC_WITHIN = 90.0
STORED_WITHIN = 60.0
TOKEN = "TAB_TOKEN"


class Tab:
    """Somebody at ``url`` who types in the notebook at ``path``; ``with`` starts and ends the process."""

    def __init__(self, url: str, token: str, path: str, number: int) -> None:
        self._words = [sys.executable, "-m", "tests.support.tab", url, path, str(number)]
        self._environ = {**os.environ, TOKEN: token, "PYTHONUNBUFFERED": "1"}
        self._folder = TemporaryDirectory(prefix="tab-")
        self._said = Path(self._folder.name) / "said"
        self._process: subprocess.Popen[bytes] | None = None

    def lines(self) -> list[str]:
        """What it printed so far."""
        return self._said.read_text().splitlines() if self._said.exists() else []

    def words(self) -> list[str]:
        """The words that it completed so far."""
        return [line.split()[1] for line in self.lines() if line.startswith("word ")]

    def freeze(self) -> None:
        """Suspend it, as a closed lid does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    async def finish(self) -> None:
        """Let it end its word and wait until all it wrote is stored. Raises AssertionError."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        process = self._process
        await wait_until(lambda: process.poll() is not None, 2 * STORED_WITHIN, "the tab ended")
        assert process.returncode == 0, self.lines()[-10:]

    async def __aenter__(self) -> Self:
        if self._process is None:
            self.start()
        await wait_until(lambda: "synced" in self.lines(), SYNC_WITHIN, "the tab is in step")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it before the ``async with`` that waits for it."""
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                self._words, env=self._environ, stdin=subprocess.PIPE, stdout=said, stderr=said
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


# --- the tab's process ------------------------------------------------------------------------------


class SpokenLog(TokenLog):
    """Says each word when it is complete."""

    def wrote(self, word: str, person: int, now: float, edits: int = 0) -> None:
        super().wrote(word, person, now, edits)
        print(f"word {word}")


async def type_until_told(url: str, token: str, path: str, number: int) -> None:
    """Be the tab."""
    rng = random.Random(number)
    client = CollabClient(
        Browser(url, token=token), path, user=plain_user("Somebody", rng), wants=("stored",)
    )
    person = Person(client, number, SpokenLog(), rng, habits=TYPING_ONLY)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run())
        await client.until_synced(SYNC_WITHIN)
        print("synced")
        working = tasks.create_task(person.work(3600))
        await told.read()
        working.cancel()
        person.finish()
        await wait_until(
            lambda: client.own_edits.stored >= client.own_edits.made, STORED_WITHIN, "everything is stored"
        )
        await client.close()


if __name__ == "__main__":
    asyncio.run(type_until_told(sys.argv[1], os.environ[TOKEN], sys.argv[2], int(sys.argv[3])))
