"""Getting a document's whole state: from the store, from this disk, from a client, and from its file last.

The file is the seed only when nothing of an earlier lineage exists, and of several nodes that load
the same new document at once exactly one seeds; the others take what it seeded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core.effects import OfferSeed, Refound
from notebook_sync.core.errors import DocumentEnded, LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Generation, Lineage
from notebook_sync.core.replica import merge
from notebook_sync.core.update import EMPTY_UPDATE
from notebook_sync.engine.naming import Naming
from notebook_sync.engine.outlived import Outlived
from notebook_sync.engine.recovery import Recovery
from notebook_sync.ports import (
    DocumentCodec,
    FileContent,
    FileLedger,
    FileStore,
    Loaded,
    LocalCopies,
    LocalCopy,
    LogEntry,
    UpdateStore,
)

log = logging.getLogger(__name__)


class Seeds:
    """How a room's clients are asked for a document that nobody else has: ``ask`` tells the room to, and
    the first good answer ends the wait."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.ask = ask
        self._offered: asyncio.Future[OfferSeed] = asyncio.get_running_loop().create_future()

    def offer(self, seed: OfferSeed) -> None:
        """A client has it."""
        if not self._offered.done():
            self._offered.set_result(seed)

    async def wait(self, seconds: float) -> OfferSeed | None:
        """The first offer, or None after ``seconds``."""
        done, _ = await asyncio.wait([self._offered], timeout=seconds)
        return self._offered.result() if done else None


@dataclass(frozen=True, slots=True)
class Loader:
    """``new_id`` makes 128-bit random ids in hex; ``bases`` and ``folder``: where the content is noted that
    a provisional document began with."""

    store: UpdateStore
    files: FileStore
    codec: DocumentCodec
    copies: LocalCopies
    bases: FileLedger
    folder: str
    naming: Naming
    recovery: Recovery
    outlived: Outlived
    new_id: Callable[[], str]

    # --- the first time -----------------------------------------------------------------------

    async def open(self, document: DocumentId, key: DocumentKey, seeds: Seeds) -> ev.Opened:
        """The stored document, founded if the store does not have it.

        Raises ``StoreUnavailable``, ``CorruptRecord``, a ``FileUnavailable`` or ``UnreadableDocument``.
        """
        # The file must be there and be readable as this kind, whether or not it is the seed.
        content = await self.files.read(key.path)
        loaded = await self.store.load(document)
        local = await self.local(document)
        if not isinstance(loaded, Loaded):
            loaded = await self._found(document, key, content, local, seeds)
            if await self.store.document_id(key, document) != document:
                # The store was emptied in between, and somebody asked for the path since.
                raise DocumentEnded(f"{key.path} is another document by now")
        if local is not None and not _blank(local) and local.head.lineage != loaded.lineage:
            # Now, before a snapshot of the store's history takes its place on this disk.
            await self.outlived.settle(key, local)
        return opened(loaded, _of_same_lineage(local, loaded))

    async def _found(
        self,
        document: DocumentId,
        key: DocumentKey,
        content: FileContent,
        local: LocalCopy | None,
        seeds: Seeds,
    ) -> Loaded:
        """Found the document from what is left of it: this disk, a client, and the file last (rule 8)."""
        if local is not None and not _blank(local):
            state = merge(list(local.updates))
            loaded = await self._seed(document, local.head.lineage, state, again=True)
            if loaded is not None:
                return loaded
        seed = await self._from_a_client(seeds)
        if seed is not None:
            loaded = await self._seed(document, seed.lineage, seed.state, again=True)
            if loaded is not None:
                return loaded
        lineage = await self.store.reserve(document, Lineage(self.new_id()))
        state = await self.codec.seed(key.kind, content.data, trusted=content.trusted, lineage=lineage)
        # Not kept on this disk before the store has taken it: another server may found the same lineage at
        # the same moment, and two first contents under one lineage would be merged.
        loaded = await self._seed(document, lineage, state, again=False)
        if loaded is None:
            raise StoreUnavailable(f"the store lost {key.path} while it was being founded")
        return loaded

    async def _from_a_client(self, seeds: Seeds) -> OfferSeed | None:
        """What a client gives while the store recovers; None at once when it does not, as nearly always."""
        asked = False
        while (seconds := await self.recovery.remaining()) > 0:
            if not asked:
                seeds.ask()
                asked = True
            seed = await seeds.wait(seconds)
            if seed is not None:
                return seed
        return None

    async def _seed(
        self, document: DocumentId, lineage: Lineage, state: bytes, *, again: bool
    ) -> Loaded | None:
        """Store the content, unless somebody was faster; what is stored then, None if another lineage is
        reserved and nothing is stored under it."""
        if await self.store.reserve(document, lineage) == lineage:
            await self.store.seed(document, lineage, Generation(self.new_id()), state, again=again)
        loaded = await self.store.load(document)
        return loaded if isinstance(loaded, Loaded) else None

    async def local(self, document: DocumentId) -> LocalCopy | None:
        """What this disk keeps of the document; None also if it can't be read."""
        try:
            copy = await self.copies.find(document)
        except LocalDiskFailed as error:
            log.error("what this disk keeps of a document can't be read: %s", error)
            return None
        for sentence in copy.damaged if copy is not None else ():
            log.error("%s", sentence)
        return copy

    # --- without the store --------------------------------------------------------------------

    async def open_locally(self, key: DocumentKey) -> tuple[DocumentId, ev.OpenedLocally] | None:
        """The document from this disk; one that is unknown here from its file, provisionally (rule 9).
        None if that is not allowed: then only the store can say what it is.

        Raises a ``FileUnavailable`` or ``UnreadableDocument``.
        """
        content = await self.files.read(key.path)
        head = await self.naming.local(key)
        if head is None:
            if not self.naming.provisional or await self.naming.answers(key):
                return None
            # It is another one if somebody, on this disk, has got to know the document meanwhile.
            head = await self.naming.reserve_provisionally(key)
        copy = await self.local(head.document)
        if copy is not None and not _blank(copy):
            return copy.head.document, ev.OpenedLocally(
                copy.head.lineage, copy.updates, copy.head.provisional
            )
        if copy is None or not head.provisional:
            # It has a content, which can't be read here now: a second one would be merged with it.
            return None
        state = await self.codec.seed(key.kind, content.data, trusted=content.trusted, lineage=head.lineage)
        base = await self.codec.slim(key.kind, content.data)
        await self.bases.common(head.document, self.folder, content.digest, base)
        try:
            await self.copies.keep(head, state, 0)
        except LocalDiskFailed as error:
            # People get to their document all the same, and are told what their edits' level is.
            log.error("%s can't be kept on this disk: %s", head.key, error)
        return head.document, ev.OpenedLocally(head.lineage, (state,), head.provisional)

    # --- again --------------------------------------------------------------------------------

    async def load_again(self, document: DocumentId, key: DocumentKey, lineage: Lineage) -> ev.Event:
        """What the store has now of a document that is open here.

        Raises as ``open``.
        """
        loaded = await self.store.load(document)
        if isinstance(loaded, Loaded):
            if loaded.lineage != lineage:
                return ev.LineageEnded(loaded.lineage)
            return opened(loaded, _of_same_lineage(await self.local(document), loaded))
        if await self.naming.claimed(key, document) != document:
            return ev.LineageEnded(Lineage(""))
        local = await self.local(document)
        return ev.StoreLost(local.updates if local is not None else ())

    async def refound(self, document: DocumentId, key: DocumentKey, refound: Refound) -> ev.Event:
        """Give the store what it lost. Raises ``StoreUnavailable``, ``CorruptRecord``."""
        try:
            lineage = await self.store.reserve(document, refound.lineage)
        except DocumentEnded:
            # Deleted or overwritten, by this node or another: there is nothing to be stored any more.
            return ev.LineageEnded(refound.lineage)
        if lineage != refound.lineage:
            return ev.LineageEnded(lineage)
        generation = Generation(self.new_id())
        if await self.store.seed(document, lineage, generation, refound.state, again=True):
            return ev.Refounded(generation, refound.position)
        return await self.load_again(document, key, refound.lineage)


def _blank(copy: LocalCopy) -> bool:
    """Whether only an id was reserved."""
    return all(update == EMPTY_UPDATE for update in copy.updates)


def _of_same_lineage(local: LocalCopy | None, loaded: Loaded) -> tuple[bytes, ...]:
    return local.updates if local is not None and local.head.lineage == loaded.lineage else ()


def opened(loaded: Loaded, local: tuple[bytes, ...]) -> ev.Opened:
    """The event for what the store had, and this disk."""
    return ev.Opened(
        lineage=loaded.lineage,
        generation=loaded.cursor.generation,
        snapshot=loaded.snapshot,
        entries=tuple(arrived(entry, loaded.cursor.generation) for entry in loaded.tail),
        seq=loaded.cursor.seq,
        chain=loaded.cursor.chain,
        local=local,
    )


def arrived(entry: LogEntry, generation: Generation) -> ev.EntryArrived:
    """The event for one entry of the log."""
    return ev.EntryArrived(generation, entry.seq, entry.node, entry.updates, entry.chain)
