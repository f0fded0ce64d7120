"""What becomes of a replica whose history ended: the store has another one of the same document.

Two histories are never merged. One that people worked in while the store was away is carried over as a
three-way difference, once (rule 9); any other is kept as a version, and people are told (P1).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from notebook_sync.core.errors import StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, Lineage, NodeId
from notebook_sync.core.replica import merge
from notebook_sync.ports import (
    Batch,
    DocumentCodec,
    FileLedger,
    Loaded,
    LocalCopies,
    LocalCopy,
    StaleHistory,
    UpdateStore,
    VersionStore,
)

log = logging.getLogger(__name__)

CARRY_TRIES = 5


@dataclass(frozen=True, slots=True)
class Outlived:
    """``notice`` tells people of a document (key, level, sentence); ``found`` opens one, which founds it if
    nobody has yet."""

    store: UpdateStore
    codec: DocumentCodec
    copies: LocalCopies
    versions: VersionStore
    bases: FileLedger
    folder: str
    notice: Callable[[DocumentKey, str, str], None]
    found: Callable[[DocumentKey], Awaitable[None]]

    async def keep(self, key: DocumentKey, state: bytes) -> None:
        """Keep the content of ``state`` (one v1 update) as a version of what is at ``key`` now.

        Raises ``StoreUnavailable``, ``LocalDiskFailed`` or another ``RoomError``.
        """
        document = await self.store.find_document(key)
        if document is None:
            return
        rendered = await self.codec.render(key.kind, state)
        version = await self.versions.add(
            document,
            key.path,
            rendered.data,
            reason="lineage",
            note="The shared store had lost this document, and got it back from somewhere else.",
        )
        self.notice(
            key,
            "warning",
            f"{key.path} was founded anew in the shared store; what it was here is kept as the version"
            f" {version.id}",
        )

    async def settle(self, key: DocumentKey, copy: LocalCopy) -> None:
        """The document of ``copy`` has another history in the store: what only this disk has goes there, or
        becomes a version. Raises as ``keep``."""
        head, state = copy.head, merge(list(copy.updates))
        if head.provisional:
            await self.carry_over(head.document, head.lineage, key, state)
        else:
            await self.keep(key, state)

    async def carry_over(
        self, provisional: DocumentId, lineage: Lineage, key: DocumentKey, state: bytes
    ) -> None:
        """Bring what people did in a provisional document into the one that the store has at its path.

        A repeat, after a crash in between, adds nothing: the store takes a batch of a node once, and
        the provisional history plays the node. Raises as ``keep``.
        """
        rendered = await self.codec.render(key.kind, state)
        base = (await self.bases.record(provisional, self.folder)).base
        for _ in range(CARRY_TRIES):
            document = await self.store.document_id(key)
            loaded = await self.store.load(document)
            if not isinstance(loaded, Loaded):
                await self.found(key)
                continue
            stored = merge([loaded.snapshot, *(u for entry in loaded.tail for u in entry.updates)])
            merged = await self.codec.merge(key.kind, stored, base, rendered.data)
            if merged.loser is not None:
                await self._keep_loser(document, key, merged.loser, merged.conflicts)
            if merged.update is None:
                break
            batch = Batch(loaded.lineage, loaded.cursor.generation, _as_node(lineage), 1, (merged.update,))
            if not isinstance(await self.store.append(document, batch), StaleHistory):
                self.notice(
                    key, "info", f"what was typed in {key.path} while the store was away is in it now"
                )
                break
        else:
            raise StoreUnavailable(f"{key.path} changes too fast in the store")
        if document != provisional:
            await self.copies.forget(provisional)  # a disk that refuses: all of it again, which adds nothing

    async def _keep_loser(
        self, document: DocumentId, key: DocumentKey, loser: bytes, conflicts: tuple[str, ...]
    ) -> None:
        note = f"Typed while the store was away, and changed by others too: {', '.join(conflicts)}"
        version = await self.versions.add(document, key.path, loser, reason="merge", note=note)
        self.notice(key, "warning", f"{key.path}: {note}; kept as the version {version.id}")


def _as_node(lineage: Lineage) -> NodeId:
    return NodeId(hashlib.sha256(lineage.encode()).hexdigest()[:16])
