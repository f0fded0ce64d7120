"""Which document is at a path, and which history it has: from the store, else from this disk.

Also when the store has forgotten, or is away: a document gets back the id and the lineage that it had
here before, so that nobody makes it a second history (rules 9 and 20).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from notebook_sync.core.backoff import backoff
from notebook_sync.core.errors import DocumentEnded, LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Lineage
from notebook_sync.core.paths import within
from notebook_sync.core.update import EMPTY_UPDATE
from notebook_sync.ports import LocalCopies, LocalHead, UpdateStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """A document's id and history. ``created``: nobody knew a document at this path before."""

    document: DocumentId
    lineage: Lineage
    created: bool


async def nothing_kept(document: DocumentId) -> None:
    """This disk has nothing of a document but its copy."""


@dataclass(frozen=True, slots=True)
class Naming:
    """``recovered`` returns once nobody who might know more is still to be heard (rule 8); ``new_id`` makes
    128-bit random ids in hex; ``provisional`` allows documents that the store may not know of (rule 9),
    once it has been away for ``patience`` seconds: a connection that tore says nothing about the store.
    ``ended`` forgets what this disk has of a document that has ended, besides its copy."""

    store: UpdateStore
    copies: LocalCopies
    recovered: Callable[[], Awaitable[None]]
    new_id: Callable[[], str]
    provisional: bool
    patience: float = 0.0
    ended: Callable[[DocumentId], Awaitable[None]] = nothing_kept
    _reserving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _provisional: set[DocumentId] = field(default_factory=set)
    """Provisional documents of this run of the server that people may go on in."""

    async def document(self, key: DocumentKey) -> DocumentId:
        """The id of the document at ``key``. Raises ``StoreUnavailable``."""
        return await self.store.find_document(key) or await self._made(key, await self.local(key))

    async def _made(self, key: DocumentKey, head: LocalHead | None) -> DocumentId:
        """The store knows none: the one that this disk knows, or a new one."""
        if head is None:
            await self.recovered()
            return await self.store.document_id(key)
        return await self.claimed(key, head.document)

    async def claimed(self, key: DocumentKey, document: DocumentId) -> DocumentId:
        """The id of the document at ``key``; ``document`` if there is none. Raises ``StoreUnavailable``."""
        if document in self._provisional and await self.store.find_document(key) is None:
            # A store that lost everything gets the older history first, from whoever has it.
            await self.recovered()
        return await self.store.document_id(key, document)

    async def lineage(self, key: DocumentKey) -> Named:
        """The document and its history, reserved if it has none yet (rule 20). With the store away, what
        this disk knows, or what the document would be here.

        Raises ``StoreUnavailable``.
        """
        try:
            return await self._reserved(key)
        except StoreUnavailable:
            head = await self.local(key)
            if head is not None:
                return Named(head.document, head.lineage, created=False)
            if not self.provisional:
                raise
            if await self.answers(key):
                return await self._reserved(key)
            head = await self.reserve_provisionally(key)
            return Named(head.document, head.lineage, created=True)

    async def _reserved(self, key: DocumentKey) -> Named:
        known, head = await self.store.find_document(key), await self.local(key)
        document = known or await self._made(key, head)
        if head is None or head.document != document:
            proposal = Lineage(self.new_id())
            await self.recovered()
        else:
            proposal = head.lineage
        try:
            lineage = await self.store.reserve(document, proposal)
        except DocumentEnded as error:
            raise StoreUnavailable(f"{key.path} was deleted or overwritten a moment ago") from error
        return Named(document, lineage, created=known is None)

    async def local(self, key: DocumentKey) -> LocalHead | None:
        """What this disk knows of the document at the path; None also if the disk can't be read."""
        try:
            head = await self.copies.find_path(key)
        except LocalDiskFailed as error:
            log.warning("what this disk keeps of %s can't be read: %s", key, error)
            return None
        # What is carried over is one content, once. So nobody goes on in a provisional history when that has
        # begun, nor in one of another server on this disk, or of a run before: those are carried over too.
        mine = head is None or not head.provisional or head.document in self._provisional
        return head if mine else None

    def outlived(self, provisional: DocumentId) -> None:
        """The store has another history for its path, and what was done here is being carried over."""
        self._provisional.discard(provisional)

    async def renamed(self, old: str, new: str) -> None:
        """This disk's copies of documents at and below ``old`` follow to ``new``."""
        try:
            await self.copies.renamed(old, new)
        except LocalDiskFailed as error:
            log.warning("what this disk keeps of %s does not follow to %s: %s", old, new, error)

    async def deleted(self, path: str) -> None:
        """The documents at and below ``path`` have ended: nothing of them is kept on this disk."""
        try:
            for head in await self.copies.heads():
                if within(head.key.path, path):
                    await self.copies.forget(head.document)
                    await self.ended(head.document)
        except LocalDiskFailed as error:
            log.warning("what this disk keeps of %s is still there: %s", path, error)

    async def answers(self, key: DocumentKey) -> bool:
        """Whether the store, which did not answer a moment ago, does so within ``patience``."""
        loop = asyncio.get_running_loop()
        end, failures = loop.time() + self.patience, 0
        while loop.time() < end:
            failures += 1
            await asyncio.sleep(backoff(failures, self.patience / 32, self.patience / 4))
            try:
                await self.store.find_document(key)
            except StoreUnavailable:
                continue
            return True
        return False

    async def reserve_provisionally(self, key: DocumentKey) -> LocalHead:
        """An id and a history for a document that is unknown here, while the store is away: the same for
        all who ask."""
        async with self._reserving:
            return await self.local(key) or await self._made_provisionally(key)

    async def _made_provisionally(self, key: DocumentKey) -> LocalHead:
        head = LocalHead(
            DocumentId(self.new_id()), Lineage(self.new_id()), key, cursor=None, provisional=True
        )
        self._provisional.add(head.document)
        try:
            await self.copies.keep(head, EMPTY_UPDATE, 0)
        except LocalDiskFailed as error:
            raise StoreUnavailable(f"neither the store nor this server's disk takes {key.path}") from error
        return head
