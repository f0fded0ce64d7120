"""A world on one seed: servers with the real engine, a store, a folder, seven people, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from notebook_sync.adapters.memory_copies import MemoryDisk
from notebook_sync.adapters.memory_local_ledger import MemoryLocalLedger
from notebook_sync.adapters.memory_versions import MemoryVersionStore
from notebook_sync.app import Told
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Role
from notebook_sync.ports import Loaded
from tests.simulation.loop import Endless, SimulatedLoop
from tests.simulation.node import Server, SimulatedStore, shared_folder
from tests.simulation.oracle import Oracle, Violation
from tests.simulation.tab import Tab
from tests.simulation.wires import at_once

PATH = "work.ipynb"
ROLES = (Role.TUTOR, *[Role.PARTICIPANT] * 5, Role.OBSERVER)
QUIET_WITHIN = 150.0
"""Virtual seconds after the last fault within which everything must have come to rest."""


class Chance:
    """In place of the modules ``secrets`` and ``random`` in the product: the seed's."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def token_hex(self, size: int = 16) -> str:
        return f"{self._rng.getrandbits(8 * size):0{2 * size}x}"

    def token_bytes(self, size: int = 16) -> bytes:
        return self._rng.getrandbits(8 * size).to_bytes(size, "big")

    def randbits(self, bits: int) -> int:
        return self._rng.getrandbits(bits)

    def randbelow(self, bound: int) -> int:
        return self._rng.randrange(bound)


@contextlib.contextmanager
def no_other_chance(rng: random.Random) -> Iterator[None]:
    """All chance in the product comes from ``rng``."""
    chance, replaced = Chance(rng), []
    for name, module in list(sys.modules.items()):
        if name.startswith("notebook_sync.") and hasattr(module, "secrets"):
            replaced.append((module, vars(module)["secrets"]))
            vars(module)["secrets"] = chance
    try:
        yield
    finally:
        for module, secrets in replaced:
            vars(module)["secrets"] = secrets


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """What goes wrong on purpose need not be logged."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def notebook(cells: int) -> bytes:
    """A small notebook file."""
    made = [
        {
            "cell_type": "code",
            "id": f"seed-{number}",
            "metadata": {"number": f"seed-{number}"},
            "source": [f"x = {number}\n"],
            "outputs": [],
            "execution_count": None,
        }
        for number in range(cells)
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


class World:
    """``rng`` decides everything. ``limits`` are small, so that every bound is met."""

    def __init__(
        self, seed: int, *, servers: int = 1, shared: bool = False, limits: Limits | None = None
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.loop = SimulatedLoop(self.rng)
        self.limits = limits or Limits(cleanup_delay=3.0, sweep_interval=2.0, compact_entries=12)
        self.shared = shared or servers > 1
        """Whether the store is one that several servers may use, not a server's own."""
        self.path, self.key = PATH, DocumentKey(NOTEBOOK, PATH)
        self.slowest = 0.3
        self.provisional: set[str] = set()
        """Histories that were begun without the store, which may have another (rule 9)."""
        self._notes: list[tuple[float, tuple[object, ...]]] = []
        self.files = shared_folder(notebook(2), PATH)
        self.store = SimulatedStore(self)
        self.oracle = Oracle(self)
        self.versions = MemoryVersionStore(self.limits, self.loop.time)
        disks = [MemoryDisk() for _ in range(servers)]
        if self.rng.random() < 0.3:
            disks = disks[:1] * servers
        self.ledgers: dict[MemoryDisk, MemoryLocalLedger] = {}
        self.servers = [Server(self, f"server{number}", disk) for number, disk in enumerate(disks)]
        self.tabs = [Tab(self, f"p{number}", role) for number, role in enumerate(ROLES)]
        self._kept: list[object] = []
        self.history_may_end = False
        self.documents: set[DocumentId] = set()
        """Ids that the path had before the store was emptied."""
        self.asking = 0
        """Requests for a session that are under way."""
        self.homes: dict[str, Server] = {}
        """Where a tab is always sent, by its name."""
        self.troubles: list[str] = []
        self.healed = False
        self._going_wrong: list[asyncio.Task[None]] = []

    # --- for everybody in it ------------------------------------------------------------------

    def latency(self) -> float:
        """Seconds that one message takes."""
        slow = self.rng.random() < 0.2
        return self.rng.random() * (self.slowest if slow else 0.01)

    def at(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        """Do something in no process, ``delay`` seconds from now."""
        self.loop.in_process(self.loop.world, delay, call, *args)

    async def passing(self, seconds: float) -> None:
        """Let time pass."""
        done = self.loop.create_future()
        timer = self.loop.call_later(seconds, _wake, done)
        try:
            await done
        finally:
            timer.cancel()

    def fresh_id(self) -> str:
        """128 random bits in hex."""
        return f"{self.rng.getrandbits(128):032x}"

    def keep(self, thing: object) -> None:
        """Hold on to what a dead process would have held."""
        self._kept.append(thing)

    def spawn(self, trouble: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        """A story beside the others; one that fails is a violation."""
        task = self.loop.create_task(trouble(self))
        task.add_done_callback(self._told_end)
        self._going_wrong.append(task)

    def _told_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.loop.call_exception_handler({"message": "a trouble failed", "exception": task.exception()})

    def note(self, *words: object) -> None:
        """Something happened; a seed that replays notes the same."""
        self._notes.append((self.loop.time(), words))

    @property
    def trace(self) -> list[str]:
        """What happened, one line each."""
        return [f"{moment:10.6f} {' '.join(map(str, words))}" for moment, words in self._notes]

    @property
    def fingerprint(self) -> str:
        """Of everything that was noted so far."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]

    def told(self, server: Server, told: Told) -> None:
        """The engine says something to people."""
        self.note(server.name, told.kind, told.level, told.message)
        if told.kind == "overwrite":
            self.oracle.notices.append(told.message)

    def some_server(self, tab: Tab) -> Server | None:
        """A server that a browser may be sent to: one that runs, as a load balancer knows."""
        servers = [self.homes[tab.name]] if tab.name in self.homes else self.servers
        up = [server for server in servers if not server.process.dead and server.sync is not None]
        return self.rng.choice(up) if up else None

    def server_died(self, server: Server) -> None:
        """Its sockets are reset."""
        for tab in self.tabs:
            if tab.socket is not None and tab.socket.server is server:
                tab.socket.server_died()
        if self.healed:  # it was stopping
            self.at(0.1, server.start_again)

    def kept_versions(self, notices: list[str]) -> str:
        """What is in the versions that notices name."""
        said = "\n".join(notices)
        documents = self.documents | {at_once(self.store.updates.find_document(self.key))}
        kept = ""
        for document in documents:
            for version in at_once(self.versions.list(document)):
                if version.id in said:
                    kept += at_once(self.versions.read(document, version.id)).decode()
        return kept

    # --- the play -----------------------------------------------------------------------------

    def run(self, play: Callable[[World], Any]) -> World:
        """Let ``play`` (a coroutine function) happen, then see whether all promises were kept."""
        with no_other_chance(self.rng), silence():
            try:
                self.loop.run_until_complete(play(self))
            except Endless as error:
                raise Violation(str(error)) from error
            finally:
                self.loop.close()
        return self

    def begin(self) -> None:
        """Servers start and people come."""
        for server in self.servers:
            server.start()
        for tab in self.tabs:
            self.at(self.rng.uniform(0.0, 1.0), tab.go_online)

    async def people(self, seconds: float, per_second: float = 8.0) -> None:
        """They type, leave and come back, and stop to read."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            tab = self.rng.choice(self.tabs)
            choice = self.rng.random()
            if tab.offline:
                if choice < 0.4:
                    tab.go_online()
            elif choice < 0.04:
                tab.go_offline()
            elif choice < 0.08 and tab.socket is not None:
                tab.socket.cut(notices=self.rng.random() < 0.7)
            elif choice < 0.11 and tab.socket is not None:
                tab.socket.stall()
                self.at(self.rng.uniform(0.5, 4.0), tab.socket.resume)
            tab.act()
            await self.passing(self.rng.expovariate(per_second))
            self.check_errors()

    def store_back(self, *, restarted: bool) -> None:
        """The store can be reached again; every node finds that it may have missed something."""
        self.note("store", "back")
        self.store.down = False
        if restarted:
            self.store.updates.restart()
        for server in self.servers:
            if server.link is not None and not server.link.cut:
                server.link.restore()

    def heal(self) -> None:
        """All that is wrong ends; everybody comes back."""
        store = self.store
        self.note("heal")
        self.healed = True
        for task in self._going_wrong:
            task.cancel()
        if store.down:
            self.store_back(restarted=False)
        store.full = False
        store.slow = store.loses_requests = store.loses_answers = store.loses_messages = 0.0
        if store.process.frozen:
            self.loop.thaw(store.process)
        self.files.disk_full = False
        for server in self.servers:
            if server.process.frozen:
                self.loop.thaw(server.process)
            server.start_again()
            server.process.dies_after = None
            server.disk.full = False
            if server.link is not None and server.link.cut:
                server.link.restore()
        for tab in self.tabs:
            if tab.socket is not None:
                tab.socket.resume()
            if not tab.closed:
                tab.go_online()

    async def settle(self) -> None:
        """Heal, wait until nothing moves any more, and judge."""
        self.heal()
        end = self.loop.time() + QUIET_WITHIN
        while self.restless(all_given_back=False):
            if self.loop.time() > end:
                raise Violation(f"no rest after {QUIET_WITHIN:g} s: {self.restless()}")
            await self.passing(0.5)
            self.check_errors()
        fresh = Tab(self, "fresh", Role.PARTICIPANT)
        self.tabs.append(fresh)
        fresh.go_online()
        while not fresh.connected or self.restless():
            if self.loop.time() > end + 30.0:
                raise Violation(f"nobody can join: {self.restless()}")
            await self.passing(0.5)
        await self.passing(2.0)  # what is on its way to those who only listen
        self.check_errors()
        self.oracle.judge()

    def restless(self, *, all_given_back: bool = True) -> list[str]:
        """What is still on its way. ``all_given_back``: also what a disk is to carry over into a document,
        which somebody has to open first."""
        waits = [f"{tab.name} is not settled" for tab in self.tabs if not tab.settled]
        for server in self.servers:
            rooms = list(server.sync.registry) if server.sync is not None else []
            if server.sync is None:
                waits.append(f"{server.name} is not up")
            for runner in rooms:
                room = runner.room
                if room.state is not DocumentState.LIVE or not room.stored:
                    waits.append(f"{server.name} is {room.state}, stored {room.stored}")
            if all_given_back and server.holds_back():
                waits.append(f"{server.name} has something to give back to the store")
        if not self.any_saved():
            waits.append("the file is not written")
        return waits

    def opening(self) -> bool:
        """Whether the document is being opened for the first time, or somebody asks for a session."""
        if self.asking:
            return True
        rooms = [runner.room for server in self.servers if server.sync for runner in server.sync.registry]
        loading = any(room.state is DocumentState.LOADING for room in rooms)
        return loading or not isinstance(self.store.loaded(), Loaded)

    def any_saved(self) -> bool:
        """Whether every open room's last word is in the file, as the one that may write it says."""
        rooms = [runner.room for server in self.servers if server.sync for runner in server.sync.registry]
        return not rooms or any(room.saved for room in rooms)

    def check_errors(self) -> None:
        """Nothing may fail unseen."""
        for context in self.loop.errors:
            raise Violation(f"unhandled: {context['message']}") from context.get("exception")


def _wake(done: Any) -> None:
    if not done.done():
        done.set_result(None)
