"""Scripted people for somebody who looks on: ``python -m jupyter_collab_ext.simulated.show SECONDS PATH``,
with their personal links on standard input, one a line. Each writes notes in cells of their own."""

from __future__ import annotations

import asyncio
import random
import sys
from urllib.parse import urlsplit

from jupyter_collab_ext.simulated import notebook_edits as edits
from jupyter_collab_ext.simulated.browser import Browser
from jupyter_collab_ext.simulated.client import CollabClient, plain_user

SYNC_WITHIN = 60.0
PACE = (0.04, 0.22)
"""Seconds between two keys."""
PAUSE = (1.0, 5.0)
"""Seconds of thought between two notes."""
NOTES = (
    "I would look at the weekends on their own first.",
    "Is this column in hours or in minutes?",
    "The plot has two clusters. Could that be the two quays?",
    "Let me try a smaller tree and compare the errors.",
    "Good find! I keep the same split so that we can compare.",
    "Question for our tutor: is it fair to use the test days here?",
    "My error went down from 0.31 to 0.24 with the lag feature.",
    "Can somebody explain why we scale before the split?",
    "I wrote a short summary, please correct it where it is wrong.",
    "Next: the three days where the model is far off.",
)


class Actor:
    """One person who writes notes, key by key, below the cell they are reading."""

    def __init__(self, client: CollabClient, rng: random.Random, number: int) -> None:
        self._client = client
        self._rng = rng
        self._number = number
        self._made = 0

    async def act(self, seconds: float) -> None:
        """Write notes for so long."""
        await self._client.until_synced(SYNC_WITHIN)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await asyncio.sleep(self._rng.uniform(0, PAUSE[0]))
        while loop.time() < end:
            await self._note()
            await asyncio.sleep(self._rng.uniform(*PAUSE))

    async def _note(self) -> None:
        doc = self._client.doc
        self._made += 1
        cell_id = f"note-{self._number}-{self._made}"
        place = self._rng.randint(1, len(edits.cells(doc)))
        text = edits.insert_cell(doc, place, cell_id, cell_type="markdown")["source"]
        caret = edits.Caret(text, 0)
        try:
            for key in self._rng.choice(NOTES):
                caret.type(key)
                await asyncio.sleep(self._rng.uniform(*PACE))
        finally:
            caret.release()


async def show(links: list[str], path: str, seconds: float) -> None:
    """Log everybody in by their link, and let them act."""
    rng = random.Random(len(path))
    clients: list[CollabClient] = []
    for link in links:
        parts = urlsplit(link)
        browser = Browser(f"{parts.scheme}://{parts.netloc}{parts.path.rsplit('/', 1)[0]}/")
        await browser.open_link(link)
        clients.append(CollabClient(browser, path, user=plain_user("Somebody", rng)))
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run())
        async with asyncio.TaskGroup() as acting:
            for number, client in enumerate(clients):
                actor = Actor(client, random.Random(rng.getrandbits(64)), number)
                acting.create_task(actor.act(seconds))
        for client in clients:
            await client.close()


if __name__ == "__main__":
    asyncio.run(show(sys.stdin.read().split(), sys.argv[2], float(sys.argv[1])))
