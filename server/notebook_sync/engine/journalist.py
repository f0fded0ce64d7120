"""One room's writes to this server's disk: journal records and snapshots. Every outcome is an event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core.effects import KeepCopy, Record
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId, DocumentKey
from notebook_sync.ports import Cursor, LocalCopies, LocalHead

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Journalist:
    """``post`` gives an event to the room."""

    copies: LocalCopies
    post: Callable[[ev.Event], None]

    async def record(self, document: DocumentId, effect: Record) -> None:
        """Append to the journal."""
        try:
            await self.copies.record(document, effect.lineage, effect.records)
        except LocalDiskFailed as error:
            log.error("edits are not recorded on this disk: %s", error)
            self.post(ev.RecordFailed(str(error)))
        else:
            self.post(ev.Recorded())

    async def keep(
        self, document: DocumentId, key: DocumentKey, effect: KeepCopy, *, provisional: bool
    ) -> None:
        """Write a snapshot."""
        place = effect.place
        cursor = None if place is None else Cursor(place.generation, place.seq, place.chain)
        head = LocalHead(document, effect.lineage, key, cursor, provisional)
        try:
            await self.copies.keep(head, effect.state, effect.position)
        except LocalDiskFailed as error:
            log.error("%s is not kept on this disk: %s", key, error)
            self.post(ev.CopyFailed(str(error)))
        else:
            self.post(ev.CopyKept())
