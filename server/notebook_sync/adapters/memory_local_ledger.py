"""The memory twin of the file ledger on a server's own disk: for tests and simulation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId
from notebook_sync.ports import FileEdit, FileRecord, Intent


class MemoryLocalLedger:
    """See ``LocalFileLedger``. Keep the object over a simulated restart: it is the disk.

    Attributes:
        full: every call raises ``LocalDiskFailed`` and does nothing.
    """

    def __init__(self) -> None:
        self.full = False
        self._ledger = MemoryFileLedger()
        self._earlier: dict[tuple[DocumentId, str], list[str]] = defaultdict(list)

    def _check(self) -> None:
        if self.full:
            raise LocalDiskFailed("memory: no space left on device (on purpose)")

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``."""
        self._check()
        return await self._ledger.record(document, folder)

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        self._check()
        await self._ledger.intend(document, folder, intent)

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """See ``ports.FileLedger``."""
        self._check()
        await self._ledger.taking(document, folder, edit)

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        self._check()
        present, earlier = await self._ledger.record(document, folder), self._earlier[document, folder]
        if present.digest is not None and present.digest != digest:
            earlier.append(present.digest)
        earlier[:] = [one for one in earlier if one != digest]
        await self._ledger.common(document, folder, digest, base, seen)

    async def was_common(self, document: DocumentId, folder: str, digest: str) -> bool:
        """Whether this content was common here before the present one."""
        self._check()
        return digest in self._earlier[document, folder]

    async def forget(self, document: DocumentId) -> None:
        """The document has ended: nothing is kept of it."""
        self._check()
        self._ledger.forget(document)
        for place in [place for place in self._earlier if place[0] == document]:
            del self._earlier[place]
