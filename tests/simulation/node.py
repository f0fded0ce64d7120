"""The real engine in a simulated process: ``NotebookSync`` as it is, on memory twins behind links.

The only place of the simulation that knows how the engine is put together.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pycrdt import Doc

from notebook_sync.adapters.codec_worker import fresh_client_id
from notebook_sync.adapters.memory_channel import MemoryChannel
from notebook_sync.adapters.memory_copies import MemoryDisk, MemoryLocalCopies
from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_local_ledger import MemoryLocalLedger
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.mirrored_ledger import MirroredLedger
from notebook_sync.adapters.notebook_codec import InlineCodec
from notebook_sync.app import NotebookSync, SyncSettings, Told
from notebook_sync.core.ids import DocumentId, NodeId
from notebook_sync.engine.assembly import Chance, Ports, assemble
from notebook_sync.engine.file_watch import FileWatch
from notebook_sync.engine.lobby_runner import LobbyRunner
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.supervisor import Supervisor, forever
from notebook_sync.engine.versions import Versions
from notebook_sync.ports import Loaded, LocalHead, NotSeeded
from tests.simulation.loop import Process
from tests.simulation.wires import Linked, NodeChannel, OnDisk, StoreLink, at_once

if TYPE_CHECKING:
    from tests.simulation.engine_world import World

FOLDER = "the shared folder"


class Ledger(MemoryFileLedger):
    """A ledger that can be lost with the store that it is in."""

    def forget_all(self) -> None:
        """As ``flush``."""
        self._records.clear()


class Updates(MemoryStore):
    """A store whose recovery may be over already."""

    def recovered(self) -> None:
        """As after a long time."""
        at_once(self.attend())
        assert self._sentinel is not None
        self._sentinel.until = 0.0


class Copies(OnDisk):
    """A disk's local copies; the world hears of provisional documents."""

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)
        if name != "keep":
            return call

        async def keep(head: LocalHead, state: bytes, upto: int) -> None:
            if head.provisional:
                self._world.provisional.add(head.lineage)
            await call(head, state, upto)

        return keep


class SimulatedStore:
    """One Redis: everything in it, and what is wrong with it just now.

    ``down``: refuses connections. ``full``: out of memory. ``slow``: seconds that each answer takes more.
    The chances are per request or message.
    """

    def __init__(self, world: World) -> None:
        self.process = Process("store")
        self.down = self.full = False
        self.slow = 0.0
        self.loses_requests = self.loses_answers = self.loses_messages = 0.0
        self.channel = MemoryChannel()
        window = world.limits.recovery_window if world.shared else 0.0
        grace = world.limits.lease_grace if world.shared else 0.0
        self.updates = Updates(self.channel, world.limits, world.loop.time, recovery_window=window)
        self.ledger = Ledger()
        self.leases = MemoryLeaseStore(world.loop.time, self.updates, grace=grace)
        self._world = world

    def well_known(self) -> None:
        """It has served for long: nobody waits for what others may know of lost documents (rule 8)."""
        self.updates.recovered()

    def flush(self) -> None:
        """Lose everything."""
        document = at_once(self.updates.find_document(self._world.key))
        if document is not None:
            self._world.documents.add(document)
        self.updates.flush()
        self.ledger.forget_all()

    def set_back(self, to_seq: int) -> None:
        """Lose the newest entries."""
        document = at_once(self.updates.find_document(self._world.key))
        self.updates.rollback(document, to_seq)

    def loaded(self) -> Loaded | NotSeeded | None:
        """What it has of the document, whatever is wrong with it."""
        document = at_once(self.updates.find_document(self._world.key))
        return at_once(self.updates.load(document)) if document is not None else None


class SimulatedSync(NotebookSync):
    """The engine of one process; nothing of it outlives the process but what is on ``server``'s disk."""

    def __init__(self, world: World, server: Server, process: Process) -> None:
        self._world = world
        self._server = server
        self._process = process
        self.link = StoreLink(world, process)
        settings = SyncSettings(Path("/state"), Path("/folder"), namespace="simulated", limits=world.limits)
        super().__init__(settings, cast(Any, OnDisk(world, world.files)), self._said)

    def _said(self, told: Told) -> None:
        self._world.told(self._server, told)

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        world, store, limits = self._world, self._world.store, self._world.limits
        self._session_key = b"the same on all servers"
        supervisor = await stack.enter_async_context(Supervisor())
        copies = await stack.enter_async_context(MemoryLocalCopies(self._server.disk, self.node))
        self._store = cast(Any, Linked(self.link, store.updates))
        self.channel = NodeChannel(store.channel, self.node, self.link)
        versions = cast(Any, OnDisk(world, world.versions))
        mirror = cast(Any, OnDisk(world, self._server.ledger))
        ledger = MirroredLedger(cast(Any, Linked(self.link, store.ledger)), mirror, limits)
        ports = Ports(
            store=self._store,
            channel=self.channel,
            leases=cast(Any, Linked(self.link, store.leases)),
            ledger=ledger,
            bases=mirror,
            copies=cast(Any, Copies(world, copies)),
            versions=versions,
            files=self._files,
            codec=InlineCodec(),
            metrics=self._metrics,
            remind=ledger.give_back,
            ended=ledger.forget,
        )
        engine = assemble(
            self.node,
            ports,
            Chance(world.fresh_id, fresh_client_id, world.rng.random),
            limits,
            supervisor,
            self._told,
            folder=FOLDER,
            provisional=world.shared,
        )
        self._naming, self._registry, workshop = engine.naming, engine.registry, engine.workshop
        supervisor.spawn(forever(engine.recovery.watch, "the watch over the store"), "recovery")
        self.versions = Versions(workshop, self._registry, versions, self._on_event)
        supervisor.spawn(forever(self.versions.watch, "the schedule of restore points"), "versions")
        self._lobby = LobbyRunner(workshop)
        watch = FileWatch(self._registry, workshop, self._told, self.renamed, self.deleted)
        supervisor.spawn(forever(watch.watch, "the file watch"), "file watch")
        stack.push_async_callback(self._close_rooms)

    def gone(self) -> None:
        """The process is dead: its disk and the store notice."""
        self._server.disk.ended(self.node)
        if hasattr(self, "channel"):
            self.channel.gone()

    @property
    def registry(self) -> Registry:
        """The open rooms, to be looked at."""
        return self._registry


class Server:
    """A machine on which one process of the engine runs at a time, on the same disk."""

    def __init__(self, world: World, name: str, disk: MemoryDisk) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.ledger = world.ledgers.setdefault(disk, MemoryLocalLedger())
        """What that disk knows of files."""
        self.runs = 0
        self.process = Process(name)
        self.sync: SimulatedSync | None = None
        """There once the process takes connections."""
        self._starting: SimulatedSync | None = None
        self._remains: list[object] = []
        """Of dead processes: their coroutines must not be closed, which would run parts of them."""

    @property
    def node(self) -> NodeId | None:
        """The id of the running process."""
        return self.sync.node if self.sync is not None else None

    def start(self) -> None:
        """A new process; it takes connections as soon as it can."""
        self.runs += 1
        self.process = process = Process(f"{self.name}.{self.runs}", self._died)
        self.world.note("start", repr(process))
        self.world.loop.in_process(process, 0.0, self._begin, process)

    def start_again(self) -> None:
        """A new process, if there is none and nobody else started one."""
        if self.process.dead:
            self.start()

    def _begin(self, process: Process) -> None:
        sync = self._starting = SimulatedSync(self.world, self, process)
        task = self.world.loop.create_task(self._run(sync), name=f"run {process}")
        task.add_done_callback(self._started)
        self._remains += [sync, task]

    def _started(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            message = f"{self.name} can't start"
            self.world.loop.call_exception_handler({"message": message, "exception": task.exception()})

    async def _run(self, sync: SimulatedSync) -> None:
        await sync.__aenter__()
        self.sync = sync

    def documents(self) -> dict[str, Doc[Any]]:
        """The replicas in memory."""
        runners = list(self.sync.registry) if self.sync is not None else []
        return {str(runner.key): runner.room.replica.doc for runner in runners}

    def holds_back(self) -> bool:
        """Whether its disk keeps a document that is still to be carried over into the store's."""
        document = at_once(self.world.store.updates.find_document(self.world.key))
        return any(
            head.provisional and head.document != document and self._has_content(head.document)
            for _, head in self.disk.heads()
        )

    def _has_content(self, document: DocumentId) -> bool:
        """Whether more than a name is kept of it."""
        kept = self.disk.newest(document).values()
        return any(files.state != b"\x00\x00" or files.journal for files in kept)

    @property
    def link(self) -> StoreLink | None:
        """The running process's link to the store."""
        return self._starting.link if self._starting is not None else None

    def stop(self) -> None:
        """SIGTERM: it saves what it can and ends."""
        if self.sync is not None and not self.process.dead:
            self.world.note("stop", repr(self.process))
            sync, self.sync = self.sync, None
            self.world.loop.in_process(self.process, 0.0, self._begin_stop, sync, self.process)

    def _begin_stop(self, sync: SimulatedSync, process: Process) -> None:
        task = self.world.loop.create_task(sync.__aexit__(None, None, None), name=f"stop {process}")
        task.add_done_callback(lambda _: process.die())
        self._remains.append(task)

    def kill(self) -> None:
        """SIGKILL now."""
        self.process.die()

    def _died(self) -> None:
        self.world.note("death", repr(self.process))
        if self._starting is not None:
            self._starting.gone()
        self.sync = self._starting = None
        self.world.server_died(self)


def shared_folder(content: bytes, path: str) -> MemoryFiles:
    """The folder that all servers see."""
    files = MemoryFiles()
    files.external_write(path, content)
    return files
