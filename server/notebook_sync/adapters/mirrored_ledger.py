"""The file ledger of the store with a mirror on this server's own disk (rules 4 and 17).

Why a mirror: a file that this server wrote while the store was away, or whose record the store lost, must be
recognised as ours. Taken for an outside edit, it would be merged into a document that has the same edits
already, and double them.

**Which base.** A three-way merge of document and file is right only with a base that both descend from, and
best with the newest such one. An older one than that makes edits that both sides got from one place look
like edits that each side made by itself; where one side went on in the same text, that is a false conflict
or doubled text. A base that is *newer*, one that the document does not descend from, is worse: what the
document lacks looks deleted by it, and is taken out of the file. So: the newest content of which it is sure
that the document descends from it.

Both ledgers hold only contents that file and document agreed on. A document that is opened here descends
from the store's: the log has it. It also descends from the mirror's: what was agreed on here was applied
here, this disk's copy of the document has it since before the file was written, and whoever opens a document
merges that copy. Mirror and copy live in one directory and are lost together. So of the two contents the
newer one is right, and all that is left to find out is which one that is. The store has no clock that
survives its own rollback; this disk has seen the order in which it learned of contents. Hence:

=================================  ==================================================================
the store's ledger                 base
=================================  ==================================================================
is away, and this server is alone  the mirror's: nobody else can have agreed on anything
is away otherwise                  none: ``StoreUnavailable`` is raised
knows none                         the mirror's: the store was emptied, or restored from before
has the mirror's                   that one
lacks the mirror's announcement    the mirror's: it was announced to the store before it was agreed on,
                                   and a node's newest intents stay, so the store was rolled back
has one that was common here       the mirror's: the store was rolled back, or never heard of the newer
before the mirror's                one, as when this server died or was alone at that moment
has another one                    the store's: another server agreed on it since; it is mirrored
=================================  ==================================================================

A content may come back: the file says A, then B, then on another server A again, and here B is the newest
that was seen. Then the last rule but one would take a present A for the old one. Who writes A again
announces it: so if the store's intents have a newer one for its content than for the mirror's, the store's
is newer. (If nobody wrote it but another program put exactly A back, the base is B, older than could be.
That costs a conflict at worst where people edited what differs between A and B since: the document wins,
the file's text is kept as a version.)

**Intents** of both count: an announcement is never withdrawn, so more of them can only be right.

**What is being taken in**: the store's, else the mirror's. Each is gone with the next content that is common.

**Cells ever seen** of both count too: what was deleted stays so (rule 28).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from notebook_sync.core.errors import LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import DocumentId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileEdit, FileLedger, FileRecord, Intent

log = logging.getLogger(__name__)


class Mirror(FileLedger, Protocol):
    """A ledger on this server's disk; raises ``LocalDiskFailed``."""

    async def was_common(self, document: DocumentId, folder: str, digest: str) -> bool:
        """Whether this content was common before the present one was."""
        ...

    async def forget(self, document: DocumentId) -> None:
        """The document has ended."""
        ...


class MirroredLedger:
    """See ``ports.FileLedger``, and above.

    Writes go to the mirror first, so that nothing that was announced to the store is unknown here. While
    ``alone`` says so the mirror is enough; else ``StoreUnavailable`` is raised when the store does not take
    a write. A disk that refuses is logged, and the store is enough, except alone: then ``LocalDiskFailed``.
    """

    def __init__(
        self, shared: FileLedger, local: Mirror, limits: Limits, alone: Callable[[], bool] = lambda: False
    ) -> None:
        self._shared = shared
        self._local = local
        self._limits = limits
        self._alone = alone
        self._failing = False

    async def record(self, document: DocumentId, folder: str) -> FileRecord:
        """See ``ports.FileLedger``: of both, as above. What the store has newer is mirrored."""
        try:
            shared = await self._shared.record(document, folder)
        except StoreUnavailable:
            if not self._alone():
                raise
            return await self._local.record(document, folder)
        local = FileRecord()
        with self._tolerated():
            local = await self._local.record(document, folder)
            if await self._mirror_is_newer(document, folder, shared, local):
                return _merged(local, shared, self._limits)
            if shared.digest is not None and shared.digest != local.digest:
                await self._take_over(document, folder, shared, shared.digest)
                local = replace(local, taking=None)
        return _merged(shared, local, self._limits)

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """See ``ports.FileLedger``."""
        await self._write(lambda ledger: ledger.intend(document, folder, intent))

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """See ``ports.FileLedger``."""
        await self._write(lambda ledger: ledger.taking(document, folder, edit))

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """See ``ports.FileLedger``."""
        await self._write(lambda ledger: ledger.common(document, folder, digest, base, seen))

    # --- beyond the port ------------------------------------------------------------------------

    async def give_back(self, document: DocumentId, folder: str) -> None:
        """Tell the store what it lost of this, for others to know: intents, and a newer common content.

        Only while the store recovers (rule 8): nobody has a lease then, so nobody agrees on anything else
        at this moment. Raises ``StoreUnavailable``.
        """
        shared, local = await self._shared.record(document, folder), FileRecord()
        newer = False
        with self._tolerated():
            local = await self._local.record(document, folder)
            newer = await self._mirror_is_newer(document, folder, shared, local)
        for intent in reversed(local.intents):
            if intent not in shared.intents:
                await self._shared.intend(document, folder, intent)
        if newer and local.digest is not None and local.digest != shared.digest:
            seen = _merged(local, shared, self._limits).seen
            await self._shared.common(document, folder, local.digest, local.base or b"", seen)

    async def forget(self, document: DocumentId) -> None:
        """The document has ended: the mirror keeps nothing of it. Raises nothing."""
        with self._tolerated():
            await self._local.forget(document)

    # --- inside ----------------------------------------------------------------------------------

    async def _write(self, write: Callable[[FileLedger], Awaitable[None]]) -> None:
        """On this disk first, then in the store, which may be away while this server is alone."""
        with self._tolerated(unless=self._alone()):
            await write(self._local)
        try:
            await write(self._shared)
        except StoreUnavailable:
            if not self._alone():
                raise

    async def _mirror_is_newer(
        self, document: DocumentId, folder: str, shared: FileRecord, local: FileRecord
    ) -> bool:
        if local.digest is None or shared.digest == local.digest:
            return False
        if shared.digest is None:
            return True
        if _forgot(shared.intents, local):
            return True
        if not await self._local.was_common(document, folder, shared.digest):
            return False
        announced = [intent.digest for intent in shared.intents]
        return not _first(announced, shared.digest) < _first(announced, local.digest) < len(announced)

    async def _take_over(self, document: DocumentId, folder: str, shared: FileRecord, digest: str) -> None:
        """Mirror what another server agreed on, and that it was announced."""
        for intent in shared.intents:
            if intent.digest == digest:
                await self._local.intend(document, folder, intent)
                break
        await self._local.common(document, folder, digest, shared.base or b"", shared.seen)

    @contextlib.contextmanager
    def _tolerated(self, *, unless: bool = False) -> Iterator[None]:
        """This disk may refuse; said once until it takes something again."""
        try:
            yield
        except LocalDiskFailed as error:
            if unless:
                raise
            if not self._failing:
                log.warning("what is known of files is in the store only, not on this disk: %s", error)
            self._failing = True
        else:
            self._failing = False


def _forgot(stored: Sequence[Intent], local: FileRecord) -> bool:
    """Whether the store was told of an announcement of the mirror's content and knows neither that one nor
    any that was made here after it."""
    digests = [intent.digest for intent in local.intents]
    if local.digest not in digests:
        return False
    since = local.intents[: digests.index(local.digest) + 1]
    return not any(intent in stored for intent in since)


def _first(announced: Sequence[str], digest: str) -> int:
    """Where the newest intent for this content is; after all of them if there is none."""
    return announced.index(digest) if digest in announced else len(announced)


def _merged(first: FileRecord, second: FileRecord, limits: Limits) -> FileRecord:
    """Content and base of ``first``; intents and cells of both, those of ``first`` as the newer ones; what
    is being taken in from ``first``, else from ``second``."""
    base = second.base if first.base is None and first.digest == second.digest else first.base
    intents = tuple(dict.fromkeys((*first.intents, *second.intents)))
    known = set(first.seen)
    seen = (*(cell for cell in second.seen if cell not in known), *first.seen)
    return replace(
        first,
        base=base,
        intents=intents,
        seen=seen[-limits.cells_remembered :],
        taking=first.taking or second.taking,
    )
