"""The real engine on memory twins: several servers on one store and one folder, in the test's own loop.

A server can be stopped dead in the middle of a checkpoint: at a numbered boundary before or after one of
its calls of file, ledger, lease, version store or codec.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from notebook_sync.adapters.codec_worker import fresh_client_id
from notebook_sync.adapters.memory_channel import MemoryChannel
from notebook_sync.adapters.memory_copies import MemoryDisk, MemoryLocalCopies
from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.adapters.memory_lease import MemoryLeaseStore
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_store import MemoryStore
from notebook_sync.adapters.memory_versions import MemoryVersionStore
from notebook_sync.adapters.notebook_codec import InlineCodec
from notebook_sync.app import NotebookSync, SyncSettings, Told
from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey
from notebook_sync.core.limits import Limits
from notebook_sync.engine.assembly import Chance, Ports, assemble
from notebook_sync.engine.file_watch import FileWatch
from notebook_sync.engine.lobby_runner import LobbyRunner
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.supervisor import Supervisor, forever
from notebook_sync.engine.versions import Versions
from notebook_sync.ports import FileChanged, FileContent, Rendered, Version, Written
from tests.support.tabs import WORK

QUICK = Limits(
    save_delay=0.02,
    save_ceiling=0.1,
    save_retry_first=0.02,
    save_retry_most=0.1,
    file_poll_interval=0.02,
    gap_patience=0.01,
    sweep_interval=0.2,
    lease_ttl=0.5,
    lease_margin=0.1,
    lease_wait=0.03,
    torn_patience=0.3,
    torn_most=1.0,
    torn_poll=0.03,
    gone_patience=0.2,
    text_view_idle=0.1,
    cleanup_delay=0.2,
)
"""As the defaults in all but their patience."""
FOLDER = "folder"


class Gate:
    """Counts the boundaries that one server comes to; at number ``stop_at``, or at the first named
    ``only_at``, it stands still until it may ``go_on``."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.passed = 0
        self.stop_at = stop_at
        self.only_at = ""
        self.stopped = asyncio.Event()
        self.where = ""
        self._held: list[asyncio.Future[None]] = []

    async def boundary(self, where: str) -> None:
        """Go on, unless this is the one, or it was passed already."""
        self.passed += 1
        late = self.stop_at is not None and self.passed >= self.stop_at
        if late or where == self.only_at or self.stopped.is_set():
            if not self.stopped.is_set():
                self.where = where
            self.stopped.set()
            held = asyncio.get_running_loop().create_future()
            self._held.append(held)
            await held

    def go_on(self) -> None:
        """Whatever was held goes on."""
        self.stop_at, self.only_at = None, ""
        self.stopped.clear()
        for held in self._held:
            if not held.done():
                held.set_result(None)

    def shut(self) -> None:
        """The server is dead: nothing of it gets through any more."""
        self.stop_at = 0
        self.stopped.set()


class Gated:
    """A port behind a gate, or some of its calls."""

    def __init__(self, gate: Gate, port: object, only: frozenset[str] | None = None) -> None:
        self._gate = gate
        self._port = port
        self._only = only

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(value) or (self._only is not None and name not in self._only):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._gate.boundary(f"before {name}")
            result = await value(*args, **kwargs)
            await self._gate.boundary(f"after {name}")
            return result

        return call


class Node(NotebookSync):
    """One server. ``kill`` ends it as ``kill -9`` does; leaving its context, as a shutdown does."""

    def __init__(self, site: Site, gate: Gate) -> None:
        self.site = site
        self.gate = gate
        self.told: list[Told] = []
        settings = SyncSettings(Path("/state"), Path("/folder"), limits=site.limits)
        super().__init__(settings, site.files, self.told.append)

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        site, limits, gate = self.site, self.site.limits, self.gate
        self._session_key = b"the same on all servers"
        self.supervisor = await stack.enter_async_context(Supervisor())
        copies = await stack.enter_async_context(MemoryLocalCopies(MemoryDisk(), self.node))
        self._store = cast(Any, Gated(gate, site.store, frozenset({"since"})))
        versions = cast(Any, Gated(gate, site.versions))
        self._ledger = cast(Any, Forgetting(site.ledger))
        self.channel = site.channel.for_node(self.node)
        ports = Ports(
            store=self._store,
            channel=self.channel,
            leases=cast(Any, Gated(gate, site.leases)),
            ledger=cast(Any, Gated(gate, site.ledger)),
            bases=MemoryFileLedger(),
            copies=copies,
            versions=versions,
            files=cast(Any, Gated(gate, site.files, frozenset({"read", "write"}))),
            codec=cast(Any, Gated(gate, InlineCodec(), frozenset({"render", "merge"}))),
            metrics=self._metrics,
        )
        engine = assemble(
            self.node,
            ports,
            Chance(lambda: secrets.token_hex(16), fresh_client_id, lambda: 0.5),
            limits,
            self.supervisor,
            self._told,
            folder=FOLDER,
            provisional=True,
        )
        self._naming, self._registry, workshop = engine.naming, engine.registry, engine.workshop
        self.supervisor.spawn(forever(engine.recovery.watch, "recovery"), "recovery")
        self.versions = Versions(workshop, self._registry, versions, self._on_event)
        self._lobby = LobbyRunner(workshop)
        site.files.on_late_write(self._registry.late_write)
        watch = FileWatch(self._registry, workshop, self._told, self.renamed, self.deleted)
        self.supervisor.spawn(forever(watch.watch, "the file watch"), "file watch")
        stack.push_async_callback(self._close_rooms)

    async def kill(self) -> None:
        """Nothing of it runs any more, and nothing is tidied up."""
        self.gate.shut()
        self._stack.pop_all()
        await self.supervisor.__aexit__(None, None, None)

    async def rendered(self, key: DocumentKey) -> Rendered:
        """What an open document is as a file."""
        runner = self._registry.find(key)
        assert runner is not None
        return await InlineCodec().render(key.kind, runner.room.replica.diff())

    @property
    def registry(self) -> Registry:
        """The open rooms."""
        return self._registry

    @property
    def notices(self) -> list[str]:
        """What people were told about merges and trouble."""
        return [told.message for told in self.told if told.kind == "overwrite"]


class Hanging:
    """Calls that wait for a file system. ``calls``: how many came so far."""

    def __init__(self) -> None:
        self.calls = 0
        self._waiting: dict[asyncio.Future[None], float] = {}
        self._open = False

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    def longest(self) -> float:
        """Seconds that the first of them has waited."""
        return asyncio.get_running_loop().time() - min(self._waiting.values(), default=float("inf"))

    def go_on(self, *, once: bool = False) -> None:
        """Those that wait go on, and with ``once`` only they."""
        self._open = not once
        for waiting in self._waiting:
            waiting.set_result(None)

    async def pass_by(self) -> None:
        """A call comes."""
        self.calls += 1
        if self._open:
            return
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._waiting[waiting] = loop.time()
        try:
            await waiting
        finally:
            del self._waiting[waiting]


class Folder(MemoryFiles):
    """A folder in which the reading of one file can hang."""

    __slots__ = ("hanging", "written")

    async def write(
        self, path: str, data: bytes, expected: str, *, trusted: bool = False
    ) -> Written | FileChanged:
        """See ``ports.FileStore``."""
        outcome = await super().write(path, data, expected, trusted=trusted)
        if isinstance(outcome, Written):
            self.history().append(data)
        return outcome

    def history(self) -> list[bytes]:
        """All contents that servers wrote, in order."""
        if not hasattr(self, "written"):
            self.written: list[bytes] = []
        return self.written

    def hang(self, path: str) -> Hanging:
        """From now on whoever reads ``path`` waits."""
        self.hanging = (path, Hanging())
        return self.hanging[1]

    async def read(self, path: str) -> FileContent:
        """See ``ports.FileStore``."""
        hanging = getattr(self, "hanging", None)
        if hanging is not None and hanging[0] == path:
            await hanging[1].pass_by()
        return await super().read(path)


class Ledger(MemoryFileLedger):
    """A ledger that loses parts of its records, or goes away when a common content is to be recorded."""

    refuses_common = False

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        if self.refuses_common:
            raise StoreUnavailable("just now")
        await super().common(document, folder, digest, base, seen)

    def lose_bases(self) -> None:
        """No last common content is known any more; the cells ever seen are."""
        self._records = {at: replace(r, digest=None, base=None) for at, r in self._records.items()}

    def lose_intents(self) -> None:
        """Nobody announced anything."""
        self._records = {at: replace(r, intents=()) for at, r in self._records.items()}


class Forgetting:
    """The ledger, as far as the end of documents goes."""

    def __init__(self, ledger: MemoryFileLedger) -> None:
        self._ledger = ledger

    async def forget(self, document: DocumentId) -> None:
        """See ``MirroredLedger``."""
        self._ledger.forget(document)


@dataclass
class Site:
    """What servers share."""

    limits: Limits = QUICK
    files: Folder = field(default_factory=Folder)
    store: MemoryStore = field(init=False)
    channel: MemoryChannel = field(default_factory=MemoryChannel)
    leases: MemoryLeaseStore = field(default_factory=MemoryLeaseStore)
    ledger: Ledger = field(default_factory=Ledger)
    versions: MemoryVersionStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.channel, self.limits)
        self.versions = MemoryVersionStore(self.limits)

    @contextlib.asynccontextmanager
    async def server(self, gate: Gate | None = None) -> AsyncIterator[Node]:
        """A running server; killed ones are left as they are."""
        async with Node(self, gate or Gate()) as node:
            yield node

    def hollow_out(self, document: DocumentId) -> None:
        """The store keeps the document's history and loses all that was ever in it."""
        kept = self.store._documents[document]
        kept.snapshot, kept.snapshot_at = b"\x00\x00", (kept.seq, kept.chain)
        kept.log.clear()

    async def kept(self, path_key: Any = WORK) -> dict[str, tuple[Version, bytes]]:
        """The document's versions by id, with their content."""
        document = await self.store.find_document(path_key)
        if document is None:
            return {}
        listed = await self.versions.list(document)
        contents = [await self.versions.read(document, version.id) for version in listed]
        return {v.id: (v, data) for v, data in zip(listed, contents, strict=True) if data is not None}


def named_in(notices: list[str], kept: dict[str, tuple[Version, bytes]]) -> bytes:
    """The contents of all versions that the notices name, one after the other."""
    said = "\n".join(notices)
    return b"\n".join(data for version, (_, data) in kept.items() if version in said)
