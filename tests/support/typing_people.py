"""Two people who type words into a shared notebook without a pause, and what became of each word."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pycrdt import Text

from jupyter_collab_ext.simulated import Browser, CollabClient, plain_user
from jupyter_collab_ext.simulated.notebook_edits import cell_ids, cells, find_cell, insert_cell
from tests.support.waiting import wait_until

PAUSE = 0.01
"""Seconds between two words of one person."""


@dataclass
class TypingPeople:
    """``words``: all that was typed, in order. Half of them go to the end of the first cell, half into a
    cell that each person made."""

    clients: list[CollabClient]
    words: list[str] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def typed(self, more: int = 20) -> int:
        """Wait until ``more`` words were typed; how many there are then."""
        enough = len(self.words) + more
        await wait_until(lambda: len(self.words) >= enough, what=f"{more} more words")
        return len(self.words)

    async def all_see(self, beginnings: list[str]) -> None:
        """Wait until everybody's cells begin like this."""

        def seen() -> bool:
            shown = [self.shown(client) for client in self.clients]
            return all(len(cs) >= len(beginnings) for cs in shown) and all(
                cell.startswith(beginning)
                for cs in shown
                for cell, beginning in zip(cs, beginnings, strict=False)
            )

        await wait_until(seen, what=f"everybody sees {beginnings}")

    async def stop(self) -> None:
        """No more words; returns when all clients show the same."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        first = self.clients[0]
        await wait_until(
            lambda: all(client.synced and self.shown(client) == self.shown(first) for client in self.clients),
            what="all see the same",
        )

    def shown(self, client: CollabClient | None = None) -> list[str]:
        """The sources of all cells, as a client sees them."""
        return [str(cell["source"]) for cell in cells((client or self.clients[0]).doc)]

    def begin(self) -> None:
        """Begin to type."""
        for number, client in enumerate(self.clients):
            self._tasks.append(asyncio.get_running_loop().create_task(self._type(client, number)))

    async def _type(self, client: CollabClient, number: int) -> None:
        made = itertools.count()
        own = f"own{number}.{next(made)}"
        insert_cell(client.doc, len(cells(client.doc)), own)
        for count in itertools.count():
            if self._stop.is_set():
                return
            if own not in cell_ids(client.doc):
                # A restore took it away; whoever goes on needs a new one.
                own = f"own{number}.{next(made)}"
                insert_cell(client.doc, len(cells(client.doc)), own)
            text: Text = (
                cells(client.doc)[0]["source"] if count % 2 else find_cell(client.doc, own)[1]["source"]
            )
            word = f"<{number}.{count}>"
            self.words.append(word)
            text += word
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), PAUSE)

    def unfound(self, versions: list[str]) -> list[str]:
        """Words that are neither in the document nor in one of ``versions`` (file contents as text)."""
        places = [*self.shown(), *versions]
        return [word for word in self.words if not any(word in text for text in places)]

    def doubled(self) -> list[str]:
        """Words that are in the document more than once."""
        shown = "\n".join(self.shown())
        return [word for word in self.words if shown.count(word) > 1]

    def missing(self, after: int = 0) -> list[str]:
        """Words from number ``after`` on that are not in the document."""
        shown = "\n".join(self.shown())
        return [word for word in self.words[after:] if word not in shown]


@asynccontextmanager
async def onlooker(url: str, token: str, path: str) -> AsyncIterator[CollabClient]:
    """Somebody who has the notebook open at the server at ``url`` (ends with a slash), and types nothing."""
    browser = Browser(url, token=token)
    client = CollabClient(browser, path, user=plain_user("Cleo", random.Random(2)))
    running = asyncio.get_running_loop().create_task(client.run())
    try:
        await client.until_synced(30)
        yield client
    finally:
        await client.close()
        await running
        browser.close()


@asynccontextmanager
async def typing_people(url: str, token: str, path: str) -> AsyncIterator[TypingPeople]:
    """Two people in a notebook of the server at ``url`` (ends with a slash), who have begun to type."""
    browsers = [Browser(url, token=token) for _ in range(2)]
    clients = [
        CollabClient(browser, path, user=plain_user(name, random.Random(number)))
        for number, (browser, name) in enumerate(zip(browsers, ("Ann", "Ben"), strict=True))
    ]
    loop = asyncio.get_running_loop()
    running = [loop.create_task(client.run()) for client in clients]
    people = TypingPeople(clients)
    try:
        for client in clients:
            await client.until_synced(30)
        people.begin()
        await people.typed()
        yield people
    finally:
        people._stop.set()
        await asyncio.gather(*people._tasks)
        for client in clients:
            await client.close()
        await asyncio.gather(*running)
        for browser in browsers:
            browser.close()
