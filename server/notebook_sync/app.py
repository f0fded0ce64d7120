"""The engine put together: ``async with NotebookSync(...) as sync`` is the only way to start and stop it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pycrdt import Doc

from notebook_sync.adapters.alone import StateDirLock
from notebook_sync.adapters.codec_worker import fresh_client_id
from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.file_versions import FileVersionStore, versions_folder
from notebook_sync.adapters.local_copies import FileLocalCopies
from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.adapters.local_ledger import LocalFileLedger
from notebook_sync.adapters.mirrored_ledger import MirroredLedger
from notebook_sync.adapters.notebook_codec import NotebookCodec
from notebook_sync.adapters.redis_channel import RedisChannel
from notebook_sync.adapters.redis_connection import (
    Client,
    check_until_there,
    connect,
    connect_later,
    redacted,
    shared_secret,
)
from notebook_sync.adapters.redis_lease import RedisLeaseStore
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.errors import ConfigError, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Lineage, NodeId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member
from notebook_sync.engine.assembly import Chance, Ports, assemble
from notebook_sync.engine.connection import Connection, Transport
from notebook_sync.engine.file_watch import FileWatch
from notebook_sync.engine.lobby_runner import LobbyRunner
from notebook_sync.engine.naming import Naming
from notebook_sync.engine.outside_edits import accompanied
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.supervisor import Supervisor, forever
from notebook_sync.engine.versions import NotRestored, Restored, Versions
from notebook_sync.engine.workshop import Told
from notebook_sync.ports import FileStore, Metrics

__all__ = [
    "Connection",
    "LocalFiles",
    "NoMetrics",
    "NotRestored",
    "NotebookSync",
    "Restored",
    "RoomStatus",
    "SyncSettings",
    "Told",
    "Transport",
    "Versions",
]

log = logging.getLogger(__name__)

COPIES = "copies"
"""Below ``state_dir``: what this server's disk keeps of documents."""

UNKNOWN_LINEAGE = Lineage("")
"""What a sessionId that is not ours is taken for: it equals no document's lineage."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Where things are.

    ``redis_url``: None means the embedded Valkey in ``state_dir``. ``redis_level``: what a Redis keeps that
    does not say so (``redis`` or ``disk``); ``memory`` also allows one that keeps nothing.
    """

    state_dir: Path
    root_dir: Path
    redis_url: str | None = field(default=None, repr=False)
    redis_level: str | None = None
    namespace: str = "default"
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """An open room, for people who run the server."""

    key: DocumentKey
    document: DocumentId
    state: str
    people: tuple[Member, ...]
    stored: bool
    saved: bool
    seq: int
    stored_where: str = ""
    """The level at which edits are acknowledged now: redis, disk, local, or nothing."""
    reason: str = ""
    """Why it is in this state, for people."""
    file_trouble: str = ""
    """Why its file can't be written (read-only, full disk), for people; empty while it can be."""


class NoMetrics:
    """Counts nothing."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Do nothing."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""


class NotebookSync:
    """Shared documents of one server.

    Args:
        settings: where state, files and Redis are.
        files: the files behind the documents.
        on_event: hears what happens to documents (see ``engine.runner.Told``); must not block or raise.
        metrics: counters and durations.

    Entering raises ``ConfigError`` with a sentence that says what to change.
    """

    def __init__(
        self,
        settings: SyncSettings,
        files: FileStore,
        on_event: Callable[[Told], None] = lambda told: None,
        metrics: Metrics | None = None,
    ) -> None:
        self.node = NodeId(secrets.token_hex(8))
        self.settings = settings
        self._files = files
        self._on_event = on_event
        self._metrics = metrics or NoMetrics()
        self._stack = contextlib.AsyncExitStack()
        self._session_key = b""
        self._store: RedisUpdateStore
        self._registry: Registry
        self._naming: Naming
        self._lobby: LobbyRunner
        self.versions: Versions
        """Restore points, once entered."""
        self._new: set[DocumentKey] = set()

    # --- start and stop -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        settings, limits = self.settings, self.settings.limits
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._session_key = secret_file(settings.state_dir / "session.key")
        supervisor = await stack.enter_async_context(Supervisor())
        url = settings.redis_url
        if url is None:
            embedded = await stack.enter_async_context(EmbeddedValkey(settings.state_dir, limits))
            supervisor.spawn(forever(embedded.watch, "the embedded Valkey's watch"), "embedded Valkey")
            url = embedded.url
        redis = await self._connect(url, supervisor)
        stack.push_async_callback(redis.aclose)
        log.info("documents are stored in %s", redacted(url))
        codec = await stack.enter_async_context(NotebookCodec(limits))
        channel = RedisChannel(url, settings.namespace, self.node, limits)
        reader = supervisor.spawn(forever(channel.run, "the channel's reader"), "channel")
        stack.push_async_callback(_end_channel, channel, reader)
        copies = await stack.enter_async_context(
            FileLocalCopies(settings.state_dir / COPIES, self.node, limits)
        )
        shared = settings.redis_url is not None
        window = limits.recovery_window if shared else 0.0
        self._store = RedisUpdateStore(
            redis, settings.namespace, limits, codec.executor, recovery_window=window
        )
        versions = FileVersionStore(versions_folder(settings.root_dir, settings.state_dir), limits)
        bases = await stack.enter_async_context(LocalFileLedger(settings.state_dir / "files", limits))
        servers = (
            None
            if shared
            else await stack.enter_async_context(
                StateDirLock(settings.state_dir / "servers", self.node, limits)
            )
        )
        ledger = MirroredLedger(
            RedisFileLedger(redis, settings.namespace),
            bases,
            limits,
            alone=(lambda: False) if servers is None else servers.is_alone,
        )
        ports = Ports(
            store=self._store,
            channel=channel,
            leases=RedisLeaseStore(redis, settings.namespace, grace=limits.lease_grace if shared else 0.0),
            ledger=ledger,
            bases=bases,
            copies=copies,
            versions=versions,
            files=self._files,
            codec=codec,
            metrics=self._metrics,
            remind=ledger.give_back,
            ended=ledger.forget,
            alone=accompanied if servers is None else servers.alone,
        )
        engine = assemble(
            self.node,
            ports,
            Chance(lambda: secrets.token_hex(16), fresh_client_id, lambda: secrets.randbelow(1000) / 1000),
            limits,
            supervisor,
            self._told,
            folder=folder_name(settings.root_dir),
            provisional=shared,
            level=lambda: redis.level,
        )
        self._naming, self._registry, workshop = engine.naming, engine.registry, engine.workshop
        supervisor.spawn(forever(engine.recovery.watch, "the watch over the store"), "recovery")
        self.versions = Versions(workshop, self._registry, versions, self._on_event)
        supervisor.spawn(forever(self.versions.watch, "the schedule of restore points"), "versions")
        self._lobby = LobbyRunner(workshop)
        supervisor.spawn(self._lobby.subscribe(), "the lobby's channel")
        self._files.on_late_write(self._registry.late_write)
        watch = FileWatch(self._registry, workshop, self._told, self.renamed, self.deleted)
        supervisor.spawn(forever(watch.watch, "the file watch"), "file watch")
        stack.push_async_callback(self._close_rooms)

    async def _connect(self, url: str, supervisor: Supervisor) -> Client:
        """The store. One that is away does not keep a server from coming back that has documents on its
        own disk; on the first start its address may simply be wrong."""
        settings, limits = self.settings, self.settings.limits
        namespace, level = settings.namespace, settings.redis_level
        try:
            redis = await connect(url, limits, namespace=namespace, level=level)
        except ConfigError as error:
            if not _has_documents(settings.state_dir / COPIES):
                raise
            log.error("%s; documents of this server's disk can be opened meanwhile", error)
            later = connect_later(url, limits, namespace=namespace)

            async def check() -> None:
                await check_until_there(later, url, limits, namespace=namespace, level=level)
                await self._share_key(later)

            supervisor.spawn(check(), "the first look at the store")
            return later
        await self._share_key(redis)
        return redis

    async def _share_key(self, redis: Client) -> None:
        """Servers of a namespace accept each other's ``sessionId`` (rule 10)."""
        try:
            self._session_key = await shared_secret(redis, self.settings.namespace, self._session_key)
        except StoreUnavailable as error:
            log.warning("the key of session ids is this server's own for now: %s", error)

    def _told(self, told: Told) -> None:
        self.versions.heard(told)
        self._on_event(told)

    async def _close_rooms(self) -> None:
        await self._registry.close(self.settings.limits.shutdown_timeout)
        await self.versions.close(self.settings.limits.restore_settle)
        self._lobby.close(1001, "the server is shutting down")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # --- documents ----------------------------------------------------------------------------

    async def session_id(self, key: DocumentKey) -> tuple[str, bool]:
        """The ``sessionId`` of the session endpoint, and whether this document is new to the store.

        It names the document's lineage, which is reserved here if there is none yet (rule 20), with a
        MAC, so that it stays valid over restarts and can't be made up (rule 10). The file need not
        exist: the socket says so. While the store is away it is what this disk knows (rule 9). Raises
        ``StoreUnavailable``.
        """
        named = await self._naming.lineage(key)
        return f"{named.lineage}.{self._mac(named.lineage)}", named.created

    def _mac(self, lineage: str) -> str:
        return hmac.digest(self._session_key, lineage.encode(), hashlib.sha256).hex()[:32]

    def _lineage(self, session_id: str | None) -> Lineage | None:
        if not session_id:
            return None
        lineage, _, mac = session_id.partition(".")
        return Lineage(lineage) if hmac.compare_digest(mac, self._mac(lineage)) else UNKNOWN_LINEAGE

    def connect(
        self,
        key: DocumentKey | None,
        transport: Transport,
        member: Member,
        *,
        session_id: str | None = None,
        wants: frozenset[str] = frozenset(),
        file_id: str = "",
    ) -> Connection:
        """A socket for a document, or for the lobby when ``key`` is None.

        Whatever is wrong is said to the client by a close code (docs/protocol.md); nothing is raised.
        """
        if key is None:
            return self._lobby.connect(transport, member)
        runner = self._registry.open(key, file_id)
        return runner.connect(transport, member, wants, self._lineage(session_id))

    def disconnect(self, user: UserId, code: int, reason: str) -> int:
        """Close all sockets of a person (code, and a reason for people); returns how many there were.

        What arrived from them before stays; they may come back if whoever serves them lets them in.
        """
        return self._registry.disconnect(user, code, reason) + self._lobby.disconnect(user, code, reason)

    async def save(self, key: DocumentKey) -> bool:
        """Write an open document's file now. False if it is not open or could not be written."""
        runner = self._registry.find(key)
        return runner is not None and await runner.save()

    async def renamed(self, old: str, new: str) -> None:
        """A file or folder was renamed: open rooms stay, the store follows. Raises ``StoreUnavailable``."""
        self._registry.renamed(old, new)
        await self._naming.renamed(old, new)
        await self._store.rename(old, new)

    async def deleted(self, path: str) -> None:
        """A file or folder was deleted: rooms end, a file made there later is a new document."""
        self._registry.deleted(path)
        await self._naming.deleted(path)
        await self._store.forget(path)

    def rooms(self) -> list[RoomStatus]:
        """The open rooms."""
        return [
            RoomStatus(
                runner.key,
                runner.document,
                str(runner.room.state),
                tuple(runner.people),
                runner.room.stored,
                runner.room.saved,
                runner.room.seq,
                runner.room.stored_where,
                runner.room.reason,
                runner.checkpointer.trouble,
            )
            for runner in self._registry
        ]

    async def live_document(self, key: DocumentKey) -> Doc[Any]:
        """An open document's own ``Doc``: what server code writes into it is an edit that all see.

        Opens the room if need be. Raises ``StoreUnavailable`` when it does not open in time.
        """
        runner = self._registry.open(key)
        try:
            async with asyncio.timeout(self.settings.limits.open_timeout):
                await runner.opened()
        except TimeoutError:
            raise StoreUnavailable(f"{key.path} did not open in time") from None
        return runner.room.replica.doc

    async def snapshot(self, key: DocumentKey) -> bytes | None:
        """A document's whole state as one v1 update: from its open room, else opened for it."""
        doc = await self.live_document(key)
        return doc.get_update()


def _has_documents(copies: Path) -> bool:
    return copies.is_dir() and any(entry.is_dir() for entry in copies.iterdir())


async def _end_channel(channel: RedisChannel, reader: asyncio.Task[None] | None) -> None:
    if reader is not None:
        reader.cancel()
        await asyncio.wait([reader])
    await channel.aclose()


def folder_name(root: Path) -> str:
    """The name under which all servers on one folder find its files' records."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def secret_file(path: Path) -> bytes:
    """32 random bytes kept in a file of mode 0600; made once, also when two servers start together."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
    return path.read_bytes()
