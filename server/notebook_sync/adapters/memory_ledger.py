"""The memory twin of the file ledger, on the same contract suite as Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from notebook_sync.adapters.intents import kept_intents
from notebook_sync.adapters.memory_faults import Faults
from notebook_sync.core.ids import DocumentId
from notebook_sync.ports import FileEdit, FileRecord, Intent


class MemoryFileLedger:
    """See ``ports.FileLedger``."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._records: dict[tuple[DocumentId, str], FileRecord] = {}

    def _known(self, document: DocumentId, folder: str) -> FileRecord:
        return self._records.get((document, folder), FileRecord())

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        return self._known(document, folder)

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        known = self._known(document, folder)
        others = tuple(other for other in known.intents if other != intent)
        self._records[document, folder] = replace(known, intents=kept_intents((intent, *others)))
        self.faults.after()

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        self._records[document, folder] = replace(self._known(document, folder), taking=edit)
        self.faults.after()

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        await self.faults.before()
        known = self._known(document, folder)
        now_seen = known.seen if seen is None else tuple(seen)
        self._records[document, folder] = replace(known, digest=digest, base=base, seen=now_seen, taking=None)
        self.faults.after()

    def forget(self, document: DocumentId) -> None:
        """Lose all records of the document."""
        for place in [place for place in self._records if place[0] == document]:
            del self._records[place]
