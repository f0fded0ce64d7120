"""A server's life on a disk of local copies, to be ended at any moment; and what it was told is stored.

A document is a set of words here, one to an update; a state is all words of it. That is enough to ask the
one question that counts: is every word whose record was acknowledged found afterwards?

Run as a program it lives until it is killed, and prints each acknowledged word on a line:
``python -m tests.support.local_life DIRECTORY NODE DOCUMENTS``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from notebook_sync.adapters.local_copies import FileLocalCopies
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.ports import LocalCopies
from tests.support.local_disks import LIMITS, L, head

CHANGING = ("open", "write", "fsync", "fdatasync", "replace", "unlink", "ftruncate", "mkdir", "link", "rmdir")


def documents(count: int) -> list[DocumentId]:
    """The ids of ``count`` documents."""
    return [DocumentId(f"{number:032x}") for number in range(count)]


def words(updates: Iterable[bytes]) -> set[str]:
    """The words in states and updates."""
    return {word for update in updates for word in update.decode().split()}


async def everything(copies: LocalCopies, document: DocumentId) -> set[str]:
    """All words that are kept of a document. Raises AssertionError when something is damaged."""
    found = await copies.find(document)
    assert found is None or not found.damaged, found.damaged
    return set() if found is None else words(found.updates)


class Life:
    """One document as a server has it: what it applied, and at which position it is."""

    def __init__(self, copies: LocalCopies, document: DocumentId, told: Callable[[str], None]) -> None:
        self._copies = copies
        self._document = document
        self._told = told
        self.words: set[str] = set()
        self.position = 0

    async def open(self) -> None:
        """Find what is kept, and keep it as this server's."""
        self.words = await everything(self._copies, self._document)
        await self.keep()

    async def keep(self) -> None:
        """Replace the snapshot."""
        state = " ".join(sorted(self.words)).encode()
        await self._copies.keep(head(self._document, path=self._document), state, self.position)

    async def type(self, typed: list[str]) -> None:
        """Apply words, record them, and say so."""
        first = self.position + 1
        self.position += len(typed)
        self.words.update(typed)
        records = [(first + place, word.encode()) for place, word in enumerate(typed)]
        await self._copies.record(self._document, L, records)
        for word in typed:
            self._told(word)


async def live(directory: Path, node: str, count: int, told: Callable[[str], None], chance: int) -> None:
    """Open ``count`` documents and work in all of them at once, for ever."""
    async with FileLocalCopies(directory, NodeId(node), LIMITS) as copies:

        async def work(number: int, document: DocumentId) -> None:
            dice = random.Random(f"{chance}:{number}")
            life = Life(copies, document, told)
            await life.open()
            for turn in itertools.count():
                typed = [f"{node}-{number}-{turn}-{part}" for part in range(dice.randint(1, 4))]
                keeping = asyncio.gather(life.keep()) if dice.random() < 0.15 else None
                await life.type(typed)
                if keeping is not None:
                    await keeping
                if dice.random() < 0.1:
                    # Closed and opened anew: positions begin again.
                    life = Life(copies, document, told)
                    await life.open()

        await asyncio.gather(*(work(number, document) for number, document in enumerate(documents(count))))


def die_before(call: int) -> None:
    """Kill this process before the ``call``-th call of the system that changes the disk."""
    counted = itertools.count(1)

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            reads = name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR)
            speaks = name == "write" and stat.S_ISFIFO(os.fstat(args[0]).st_mode)
            if not reads and not speaks and next(counted) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return step

    for name in CHANGING:
        if hasattr(os, name):
            setattr(os, name, dying(name, getattr(os, name)))


def main() -> None:
    """Live."""
    directory, node, count = sys.argv[1:]

    def tell(word: str) -> None:
        os.write(1, f"{word}\n".encode())

    asyncio.run(live(Path(directory), node, int(count), tell, 0))


if __name__ == "__main__":
    main()
