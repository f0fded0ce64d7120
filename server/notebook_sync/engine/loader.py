"""Getting a document's whole state: from the store, or, the first time, from its file.

The file is the seed only when nothing of an earlier lineage exists, and of several nodes that load
the same new document at once exactly one seeds; the others take what it seeded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core.effects import Load
from notebook_sync.core.errors import CorruptRecord, DocumentEnded, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKind, Generation, Lineage
from notebook_sync.ports import DocumentCodec, FileStore, Loaded, LogEntry, UpdateStore


@dataclass(frozen=True, slots=True)
class Loader:
    """``new_id`` makes 128-bit random ids in hex."""

    store: UpdateStore
    files: FileStore
    codec: DocumentCodec
    new_id: Callable[[], str]

    async def open(self, document: DocumentId, kind: DocumentKind, path: str) -> ev.Opened:
        """The stored document, seeded from its file if it never was.

        Raises ``StoreUnavailable``, ``CorruptRecord``, a ``FileUnavailable`` or ``UnreadableDocument``.
        """
        # The file must be there and be readable as this kind, whether or not it is the seed.
        content = await self.files.read(path)
        loaded = await self.store.load(document)
        if isinstance(loaded, Loaded):
            return opened(loaded)
        seed = await self.codec.seed(kind, content.data, trusted=content.trusted)
        lineage = await self.store.reserve(document, Lineage(self.new_id()))
        await self.store.seed(document, lineage, Generation(self.new_id()), seed)
        loaded = await self.store.load(document)
        if not isinstance(loaded, Loaded):
            raise StoreUnavailable(f"the store lost {path} while it was being seeded")
        return opened(loaded)

    async def load_again(self, document: DocumentId, load: Load) -> ev.Event:
        """The log changed under an open room: what it is now, or found it again from this replica.

        Raises as ``open``.
        """
        loaded = await self.store.load(document)
        if isinstance(loaded, Loaded):
            if loaded.lineage != load.lineage:
                return ev.LineageEnded(loaded.lineage)
            return opened(loaded)
        if load.state is None:
            raise CorruptRecord("the store lost a document whose replica here is damaged")
        try:
            lineage = await self.store.reserve(document, load.lineage)
        except DocumentEnded:
            # Deleted or overwritten, by this node or another: there is nothing to be stored any more.
            return ev.LineageEnded(load.lineage)
        if lineage != load.lineage:
            return ev.LineageEnded(lineage)
        generation = Generation(self.new_id())
        if await self.store.seed(document, lineage, generation, load.state):
            return ev.Refounded(generation, load.position)
        return await self.load_again(document, load)


def opened(loaded: Loaded) -> ev.Opened:
    """The event for what the store had."""
    return ev.Opened(
        lineage=loaded.lineage,
        generation=loaded.cursor.generation,
        snapshot=loaded.snapshot,
        entries=tuple(arrived(entry, loaded.cursor.generation) for entry in loaded.tail),
        seq=loaded.cursor.seq,
        chain=loaded.cursor.chain,
    )


def arrived(entry: LogEntry, generation: Generation) -> ev.EntryArrived:
    """The event for one entry of the log."""
    return ev.EntryArrived(generation, entry.seq, entry.node, entry.updates, entry.chain)
