"""Seven people in one notebook while something goes wrong, and what became of what they wrote.

Five type, one inserts, moves, deletes and runs cells, one watches. Whoever can, goes on typing during the
fault, as people do. Afterwards every copy there is must be the same and whole: all tabs, a fresh joiner
at each server, the file, and what the store alone replays to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from pycrdt import Doc

from benchmarks.load import LatencyProbe
from jupyter_collab_ext.simulated import TYPING_ONLY, CollabClient, Group, Habits, Report, TokenLog, judge
from jupyter_collab_ext.simulated.notebook_edits import CellContent, read_document, read_notebook
from notebook_sync.core.errors import CollabError
from tests.support.matrix import MATRIX, Case, Outcome
from tests.support.servers import RealServer
from tests.support.site import Site
from tests.support.waiting import always, wait_until

PACE = 0.15
TYPIST = Habits(**{name: getattr(TYPING_ONLY, name) for name in Habits.__slots__} | {"pace": PACE})
BUILDER = Habits(pace=PACE, type_in_shared=8, type_in_own=20, insert_cell=20, delete_cell=10, move_cell=15)
PEOPLE = (TYPIST, TYPIST, TYPIST, TYPIST, TYPIST, BUILDER)
SAME_WITHIN = 60.0
"""Seconds after a fault until all copies must be the same, on a busy machine."""
LOOK = 0.1
_NUMBERS = itertools.count(1)
"""Each trial has a notebook of its own: its words are seeded, and the same in each."""

Act = Callable[[], Awaitable[None]]


class Probe(LatencyProbe):
    """Measures how soon people see each other's keys, but for some that a test slows down."""

    def __init__(self) -> None:
        super().__init__()
        self.ignored: set[CollabClient] = set()

    def document_changed(self, reader: CollabClient) -> None:
        """``reader`` has applied something."""
        if reader not in self.ignored:
            super().document_changed(reader)


class Trial:
    """One case under way; made by ``on_trial``."""

    def __init__(self, case: Case, place: Site, group: Group, probe: Probe) -> None:
        self.case = case
        self.site = place
        self.group = group
        self.probe = probe
        self._stuck: dict[CollabClient, float] = {}
        self._no_typing = 0.0

    # --- people -------------------------------------------------------------------------------

    @asynccontextmanager
    async def typing(self) -> AsyncIterator[None]:
        """Everybody works during the body; who still lives then finishes the word that was begun."""
        async with asyncio.TaskGroup() as tasks:
            working = {person: tasks.create_task(person.work(3600)) for person in self.group.people}
            looking = tasks.create_task(always(LOOK, self._look))
            try:
                yield
            finally:
                for task in (*working.values(), looking):
                    task.cancel()
        for person in self.group.people:
            person.finish()

    async def until_words(self, more: int = 6) -> None:
        """Wait until so many more words are written."""
        written = len(self.group.log.words)
        await wait_until(lambda: len(self.group.log.words) >= written + more, 60, "people write")

    async def until_stored(self, within: float = 30.0) -> None:
        """Wait until everything that was sent is acknowledged."""
        await self.group.until_stored(within)

    def at(self, server: int) -> list[CollabClient]:
        """The tabs of people at one server."""
        return [c for number, c in enumerate(self.group.clients) if self.site.server_of(number) == server]

    def move(self, clients: list[CollabClient], to: int) -> None:
        """These people open the notebook at another server, with what is in their tabs."""
        browser = self.site.browser(to)
        for client in clients:
            client.browser = browser
            client.session = None
            client.cut()

    @asynccontextmanager
    async def newcomers(self) -> AsyncIterator[None]:
        """Seven others, with empty tabs, go on in the notebook: during the body they are the group."""
        before = self.group
        numbers = max((word.person for word in before.log.words), default=0) + 1
        group = _seven(
            self.site, before.path, self.probe, seed=numbers, log=before.log, numbered_from=numbers
        )
        async with group:
            await group.until_synced()
            self.group = group
            yield
        self.group = before

    def status(self, number: int) -> dict[str, object]:
        """What the server last said to a tab about the document's state; empty if it said nothing."""
        said = self.group.clients[number].side_messages
        return next((one for one in reversed(said) if one.get("type") == "status"), {})

    def lose_all(self) -> None:
        """All tabs die."""
        for client in list(self.group.clients):
            self.group.lose(client)

    def stored_words(self) -> set[str]:
        """Words that were acknowledged, and that nobody took away."""
        stored = {person.number: person.client.own_edits.stored for person in self.group.people}
        return {
            word.token
            for word in self.group.log.words
            if word.deleted is None and word.edits <= stored.get(word.person, word.edits)
        }

    def _look(self) -> None:
        # A tab that waits for its first content, or was sent away for good, takes no keys.
        now = time.monotonic()
        for client in self.group.clients:
            if client.ended is not None or client.traffic.connections == 0:
                self._no_typing = max(self._no_typing, now - self._stuck.setdefault(client, now))
            else:
                self._stuck.pop(client, None)

    # --- the judgement ------------------------------------------------------------------------

    async def survives(self, fault: Act, *, before: int = 10, after: int = 4) -> Outcome:
        """Let people write, let ``fault`` happen while they do, and judge all copies as soon as it is
        over; then let them write on, and judge again. Raises AssertionError unless all is right."""
        async with self.typing():
            await self.until_words(before)
            await fault()
        # acknowledged now: later everything is, and a word that was lost and sent again looks like none
        stored = self.stored_words()
        healed = time.monotonic()
        first = await self._judged()
        converged = time.monotonic() - healed
        if after:
            async with self.typing():
                await self.until_words(after)
        report = await self._judged() if after else first
        outcome = self._outcome(report, first, stored, converged)
        MATRIX.add(outcome)
        assert outcome.right, f"{self.case}: {outcome}"
        return outcome

    def _outcome(self, report: Report, first: Report, stored: set[str], converged: float) -> Outcome:
        lost = report.lost() | first.lost()
        clients = self.group.clients
        return Outcome(
            case=self.case,
            words=report.written,
            stored=len(stored),
            lost_stored=len(lost & stored),
            lost=len(lost - stored),
            doubled=len(report.doubled() | first.doubled()),
            reloads=sum(client.reloads_forced for client in clients),
            converged=converged,
            no_typing=self._no_typing,
            unseen=max(self.probe.latencies, default=0.0) / 1000,
            wrong="" if report.right else str(report),
        )

    async def _judged(self) -> Report:
        """All copies, once they are the same; as they are when they do not become so."""
        with _told():
            await self.group.until_settled(SAME_WITHIN)
        self.probe.measuring = False
        documents: dict[str, Doc[Any]] = {f"tab {n}": c.doc for n, c in enumerate(self.group.clients)}
        for number, server in enumerate(self.site.servers):
            if server.running:
                joiner = await self.group.join(self.site.browser(number))
                documents[f"fresh joiner at server {number}"] = joiner.doc
        file = self.site.root / self.group.path
        with _told():
            await wait_until(
                lambda: read_notebook(json.loads(file.read_bytes())) == self._expected(),
                SAME_WITHIN,
                "the file is right",
            )
        documents["the store, replayed"] = await self._replayed()
        for client in self.group.clients[-sum(server.running for server in self.site.servers) :]:
            self.group.lose(client)
        self.probe.measuring = True
        return judge(self.group.log, documents, {"file": file.read_bytes()})

    def _expected(self) -> list[CellContent]:
        # looked at each time: what another program did to the file may still come to the document
        return read_document(self.group.clients[0].doc)

    async def _replayed(self) -> Doc[Any]:
        server: RealServer = self.site.alive()
        found: Doc[Any] = Doc()

        async def right() -> bool:
            nonlocal found
            with contextlib.suppress(CollabError):
                found = await server.replayed(self.group.path)
                return read_document(found) == self._expected()
            return False

        with _told():
            await wait_until(right, SAME_WITHIN, "the store has everything")
        return found


@contextmanager
def _told() -> Iterator[None]:
    """What is not so in time is printed, and left to the judge."""
    try:
        yield
    except (TimeoutError, AssertionError) as error:
        print(f"not in time: {error}")


@asynccontextmanager
async def on_trial(case: Case, place: Site, *, cells: int = 6) -> AsyncIterator[Trial]:
    """Seven people in a new notebook at ``place``, all in step; they leave with the body."""
    path = f"{case.name.replace(' ', '-')}-{next(_NUMBERS)}.ipynb"
    place.servers[0].write_notebook(path, cells)
    probe = Probe()
    async with _seven(place, path, probe, seed=len(case.name) + case.servers) as group:
        await group.until_synced()
        yield Trial(case, place, group, probe)


def _seven(
    place: Site, path: str, probe: Probe, *, seed: int, log: TokenLog | None = None, numbered_from: int = 0
) -> Group:
    return Group(
        [place.browser(place.server_of(number)) for number in range(7)],
        path,
        seed=seed,
        habits=PEOPLE,
        wants=("stored", "status"),
        on_remote=probe.document_changed,
        on_key=probe.key_pressed,
        log=log,
        numbered_from=numbered_from,
    )
