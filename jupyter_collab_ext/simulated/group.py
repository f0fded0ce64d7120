"""A group of simulated people in one notebook, from joining to the oracle's judgement."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from jupyter_collab_ext.simulated.browser import Browser
from jupyter_collab_ext.simulated.client import CollabClient, plain_user
from jupyter_collab_ext.simulated.frames import decode_state_vector
from jupyter_collab_ext.simulated.notebook_edits import read_document
from jupyter_collab_ext.simulated.oracle import TokenLog
from jupyter_collab_ext.simulated.person import Habits, Person

NAMES = ("Ada", "Blaise", "Chien", "Dorothy", "Emmy", "Fatima", "Grace", "Hedy", "Ivan", "Joan")
SETTLE_CHECK = 0.05
JOIN_WITHIN = 60.0
"""Seconds for a whole group to join, on a busy machine."""


class Group:
    """Writers and watchers of one notebook. ``async with`` (entered and left in one task) begins to
    connect them, and takes them off at the end; await ``until_synced()`` before you let them work.

    ``browsers``: one for each person, writers first; a browser may serve several. The last
    ``watchers`` of them only watch, as a tutor does. ``habits``: of all writers, or of each in turn.
    Everything random comes from ``seed``.
    ``on_remote`` and ``on_key`` are passed on to clients and persons, for measuring. ``log`` and
    ``numbered_from``: of people who go on in a notebook that others, with lower numbers, wrote in.
    """

    def __init__(
        self,
        browsers: Sequence[Browser],
        path: str,
        *,
        seed: int,
        watchers: int = 1,
        habits: Habits | Sequence[Habits] | None = None,
        wants: tuple[str, ...] = (),
        on_remote: Callable[[CollabClient], None] | None = None,
        on_key: Callable[[Person], None] | None = None,
        log: TokenLog | None = None,
        numbered_from: int = 0,
    ) -> None:
        self.path = path
        self.log = log or TokenLog()
        self._rng = random.Random(seed)
        self._wants = wants
        self._on_remote = on_remote
        self._tasks = asyncio.TaskGroup()
        self.clients = [
            self._client(browser, NAMES[number % len(NAMES)]) for number, browser in enumerate(browsers)
        ]
        self.people = [
            self._person(client, numbered_from + number, _habits_of(number, habits), on_key)
            for number, client in enumerate(self.clients[: len(self.clients) - watchers])
        ]

    def _client(self, browser: Browser, name: str) -> CollabClient:
        return CollabClient(
            browser,
            self.path,
            user=plain_user(name, self._rng),
            wants=self._wants,
            on_remote=self._on_remote,
        )

    def _person(
        self,
        client: CollabClient,
        number: int,
        habits: Habits | None,
        on_key: Callable[[Person], None] | None,
    ) -> Person:
        person = Person(client, number, self.log, random.Random(self._rng.getrandbits(64)), habits=habits)
        if on_key is not None:
            person.on_key = lambda: on_key(person)
        return person

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        for client in self.clients:
            self._tasks.create_task(client.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            await client.close()
        if isinstance(error, Exception):
            # the clients end by themselves now; the body's error goes on as it is, in no group
            await self._tasks.__aexit__(None, None, None)
        else:
            await self._tasks.__aexit__(kind, error, trace)

    async def join(self, browser: Browser, name: str = "Newcomer") -> CollabClient:
        """One more watcher, with an empty document: what a fresh joiner sees."""
        client = self._client(browser, name)
        self.clients.append(client)
        self._tasks.create_task(client.run())
        await client.until_synced(JOIN_WITHIN)
        return client

    def lose(self, client: CollabClient) -> None:
        """The client's tab dies; if somebody wrote in it, what was not stored may be lost with it."""
        self.clients.remove(client)
        for person in [person for person in self.people if person.client is client]:
            self.people.remove(person)
            person.die()
        client.die()

    async def until_synced(self, within: float = JOIN_WITHIN) -> None:
        """Wait until every client is connected and synced; raises ``TimeoutError`` or ``ConnectionError``."""
        async with asyncio.timeout(within):
            for client in self.clients:
                await client.until_synced(within)

    async def work(self, seconds: float) -> None:
        """All people work at once for so long."""
        async with asyncio.TaskGroup() as tasks:
            for person in self.people:
                tasks.create_task(person.work(seconds))

    async def until_settled(self, within: float) -> None:
        """Wait until all clients are synced and their documents are the same and hold every standing word.

        Raises ``TimeoutError`` with what is missing where.
        """
        try:
            async with asyncio.timeout(within):
                await _until(self.settled)
        except TimeoutError as error:
            raise TimeoutError(f"{self.path}: not settled within {within} s: {self._unsettled()}") from error

    def settled(self) -> bool:
        """All synced, all the same, nothing missing."""
        if not all(client.synced for client in self.clients):
            return False
        first = read_document(self.clients[0].doc)
        # equal state vectors alone say nothing about deletions
        return (
            all(_vector(client) == _vector(self.clients[0]) for client in self.clients[1:])
            and not self.log.missing(first)
            and all(read_document(client.doc) == first for client in self.clients[1:])
        )

    def _unsettled(self) -> str:
        away = [number for number, client in enumerate(self.clients) if not client.synced]
        missing = {
            number: [word.token for word in self.log.missing(read_document(client.doc))][:5]
            for number, client in enumerate(self.clients)
        }
        return f"not synced: {away}; missing words: { {n: words for n, words in missing.items() if words} }"

    async def until_stored(self, within: float) -> None:
        """Wait until the server acknowledged every sync frame of every client (those that asked for it)."""
        async with asyncio.timeout(within):
            await _until(lambda: all(client.stored >= client.sync_frames_sent for client in self.clients))


def _habits_of(number: int, habits: Habits | Sequence[Habits] | None) -> Habits | None:
    return habits if habits is None or isinstance(habits, Habits) else habits[number % len(habits)]


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - seven documents compared: no single event tells it
        await asyncio.sleep(SETTLE_CHECK)


def _vector(client: CollabClient) -> dict[int, int]:
    return {id: clock for id, clock in decode_state_vector(client.doc.get_state()).items() if clock}
