"""The engine's parts put together over any ports: real ones in ``app``, memory twins in simulation."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from notebook_sync.core.errors import FileUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.engine.loader import Loader
from notebook_sync.engine.naming import Naming, nothing_kept
from notebook_sync.engine.outlived import Outlived
from notebook_sync.engine.outside_edits import Saver, accompanied
from notebook_sync.engine.recovery import Recovery
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.supervisor import Supervisor
from notebook_sync.engine.workshop import Told, Workshop
from notebook_sync.ports import (
    Channel,
    DocumentCodec,
    FileLedger,
    FileStore,
    LeaseStore,
    LocalCopies,
    LocalHead,
    Metrics,
    UpdateStore,
    VersionStore,
)


async def no_reminder(document: DocumentId, folder: str) -> None:
    """The ledger keeps nothing but what the store has."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the engine needs from outside.

    ``bases``: the ledger of this server's own disk. ``remind``: tells the store's ledger what it lost of a
    document and folder, while the store recovers. ``ended``: forgets what this disk has of a document that
    has ended, besides its copy. ``alone``: whether this server alone may write files,
    and stays so meanwhile, although the store is away.
    """

    store: UpdateStore
    channel: Channel
    leases: LeaseStore
    ledger: FileLedger
    bases: FileLedger
    copies: LocalCopies
    versions: VersionStore
    files: FileStore
    codec: DocumentCodec
    metrics: Metrics
    remind: Callable[[DocumentId, str], Awaitable[None]] = no_reminder
    ended: Callable[[DocumentId], Awaitable[None]] = nothing_kept
    alone: Callable[[], AbstractAsyncContextManager[bool]] = accompanied


@dataclass(frozen=True, slots=True)
class Chance:
    """Where randomness comes from: ``id`` 128 bits in hex, ``client`` a Yjs client id, ``jitter`` 0 to 1."""

    id: Callable[[], str]
    client: Callable[[], int]
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Engine:
    """Constructed, not started: nothing runs until ``recovery.watch`` and rooms are spawned."""

    workshop: Workshop
    registry: Registry
    naming: Naming
    recovery: Recovery


def assemble(
    node: NodeId,
    ports: Ports,
    chance: Chance,
    limits: Limits,
    supervisor: Supervisor,
    tell: Callable[[Told], None],
    *,
    folder: str,
    provisional: bool,
    level: Callable[[], str] = lambda: "redis",
) -> Engine:
    """One server's engine.

    Args:
        folder: names the folder whose files this server writes.
        provisional: whether documents that are unknown here may be opened while the store is away (rule
            9): not with a store of this server's own, which is back in a moment.
        level: tells what an acknowledgement by the store survives (docs/protocol.md).
    """

    async def give_back(head: LocalHead) -> None:
        await ports.remind(head.document, folder)
        await _give_back(head, registry, workshop)

    def notice(key: DocumentKey, severity: str, sentence: str) -> None:
        tell(Told("overwrite", key, severity.upper(), sentence))

    async def found(key: DocumentKey) -> None:
        await registry.open(key).opened()

    recovery = Recovery(ports.store, ports.copies, limits, give_back)
    naming = Naming(
        ports.store,
        ports.copies,
        recovery.recovered,
        chance.id,
        provisional,
        limits.provisional_patience,
        ports.ended,
    )
    outlived = Outlived(
        ports.store, ports.codec, ports.copies, ports.versions, ports.bases, folder, notice, found
    )
    loader = Loader(
        ports.store,
        ports.files,
        ports.codec,
        ports.copies,
        ports.bases,
        folder,
        naming,
        recovery,
        outlived,
        chance.id,
    )
    workshop = Workshop(
        node=node,
        limits=limits,
        supervisor=supervisor,
        store=ports.store,
        channel=ports.channel,
        loader=loader,
        naming=naming,
        copies=ports.copies,
        outlived=outlived,
        saver=Saver(
            node=node,
            store=ports.store,
            files=ports.files,
            codec=ports.codec,
            ledger=ports.ledger,
            leases=ports.leases,
            versions=ports.versions,
            limits=limits,
            folder=folder,
            alone=ports.alone,
        ),
        metrics=ports.metrics,
        new_client_id=chance.client,
        connection_numbers=itertools.count(1),
        jitter=chance.jitter,
        level=level,
    )
    registry = Registry(workshop, tell)
    return Engine(workshop, registry, naming, recovery)


async def _give_back(head: LocalHead, registry: Registry, workshop: Workshop) -> None:
    """One copy of this disk to the store. Raises ``StoreUnavailable`` or another ``CollabError``."""
    runner = registry.find(head.key)
    if runner is not None and runner.document == head.document:
        return  # an open room looks after itself; one of another document has nothing of this
    if await workshop.saver.files.stamp(head.key.path) is None:
        return  # deleted, or renamed behind our back: there is no document to give anything to
    if head.provisional and not await workshop.copies.left_over(head.document):
        return  # the server that made it lives, and carries over what its people did, once
    document = await workshop.store.document_id(head.key, head.document)
    if document == head.document:
        await _open_once(head, registry)
        return
    copy = await workshop.copies.find(head.document)
    if copy is None:
        return
    await workshop.outlived.settle(head.key, copy)
    if not head.provisional:
        await workshop.copies.forget(head.document)


async def _open_once(head: LocalHead, registry: Registry) -> None:
    """A room merges what this disk has with what the store has, and stores the rest."""
    try:
        await registry.open(head.key).opened()
    except FileUnavailable:
        return  # deleted meanwhile: there is nothing to be given back
