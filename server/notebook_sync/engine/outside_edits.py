"""What other programs wrote into a document's file, taken in as edits of the document.

Only the node that may write the file does so, with everything in its copy that the log has (rule 4):
what another node stored and wrote would else be inserted a second time. Nothing is thrown away here:
what the document does not take is kept as a version first, and people are told which.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from notebook_sync.core import events as ev
from notebook_sync.core.effects import Checkpoint
from notebook_sync.core.errors import FileUnavailable, UnreadableDocument
from notebook_sync.core.ids import DocumentId, DocumentKind, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.reconcile import remembered, shrinks
from notebook_sync.ports import (
    Cursor,
    DocumentCodec,
    FileContent,
    FileEdit,
    FileLedger,
    FileRecord,
    FileStore,
    LateWrite,
    LeaseStore,
    Merged,
    Rendered,
    Size,
    Trimmed,
    UpdateStore,
    VersionStore,
)


def read_only(path: str) -> FileUnavailable:
    """The error of a file that may not be written."""
    return FileUnavailable(path, "is read-only: allow writing to it")


@asynccontextmanager
async def accompanied() -> AsyncIterator[bool]:
    """Other servers may be there: without the store nobody writes files."""
    yield False


@dataclass(frozen=True, slots=True)
class Saver:
    """The ports a checkpoint needs; ``folder`` names the folder whose copy of the file this node writes."""

    node: NodeId
    files: FileStore
    codec: DocumentCodec
    ledger: FileLedger
    leases: LeaseStore
    limits: Limits
    folder: str
    store: UpdateStore
    versions: VersionStore
    alone: Callable[[], AbstractAsyncContextManager[bool]] = accompanied
    """Whether this server alone may write the files, and stays so meanwhile, although the store is away."""


@dataclass(slots=True)
class Subject:
    """The document that is saved; ``notice`` tells people something (level, sentence)."""

    kind: DocumentKind
    path: str
    notice: Callable[[str, str], None]
    document: DocumentId = DocumentId("")


@dataclass(slots=True)
class _Torn:
    """A file that can't be read as a document. ``changed``: when it was last found with other content."""

    digest: str
    first: float
    changed: float


@dataclass(frozen=True, slots=True)
class _Owed:
    """Content that is common and perhaps not recorded as that; ``before``: the digest recorded then."""

    content: FileEdit
    before: str | None


@dataclass(slots=True)
class OutsideEdits:
    """Those of one document, on this node."""

    saver: Saver
    subject: Subject
    _owed: _Owed | None = None
    _torn: _Torn | None = None
    _late: deque[LateWrite] = field(default_factory=deque)
    _bases: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    """Slim forms of what document and file had in common last, by digest: what a late writer began with."""

    # --- the file -----------------------------------------------------------------------------

    async def settle(self, rendered: Rendered, record: FileRecord) -> bool:
        """What was taken in at the checkpoint before, by whichever server, is common now: a checkpoint runs
        only when it is stored. True if the record has changed.

        Also if the file has changed again meanwhile: from the older base, document and file would seem to
        have made the same edits each by itself, and with more typed around them they could come twice.
        """
        taken = record.taking
        if taken is None or rendered.merged != taken.digest:  # the room did not take it
            return False
        await self.common(taken.digest, taken.slim, taken.cells, record)
        return True

    async def take(
        self, checkpoint: Checkpoint, rendered: Rendered, content: FileContent, record: FileRecord
    ) -> ev.Event | None:
        """Take the file's changes into the document. None when nothing of them is left to take: then the
        file may be written over."""
        if await self.behind(checkpoint):
            return ev.CheckpointDeferred(self.saver.limits.gap_patience, behind=True)
        merged = await self._merged(checkpoint, rendered, content, record)
        if not isinstance(merged, Merged):
            return merged
        self._torn = None
        await self._keep_loser(merged)
        await self._guard(rendered, merged.size)
        if merged.update is None:
            # Only now: were it recorded before the edits are in the store, a crash in between would
            # make the file's changes look like something the document had already.
            await self.common(content.digest, merged.slim, merged.theirs, record)
            return None
        edit = FileEdit(content.digest, merged.slim, merged.theirs)
        await self.saver.ledger.taking(self.subject.document, self.saver.folder, edit)
        self._say("info", f"changes that another program made to {self.subject.path} were merged in")
        return ev.FileMerged(merged.update, merged.removed)

    async def behind(self, checkpoint: Checkpoint) -> bool:
        """Whether the log has entries of other nodes that are not in the checkpoint."""
        cursor = Cursor(checkpoint.generation, checkpoint.seq, checkpoint.chain)
        entries = await self.saver.store.since(self.subject.document, cursor)
        return isinstance(entries, Trimmed) or any(entry.node != self.saver.node for entry in entries)

    async def _merged(
        self, checkpoint: Checkpoint, rendered: Rendered, content: FileContent, record: FileRecord
    ) -> Merged | ev.Event | None:
        """The merge; an event while the file may still be being written; None if it stays broken."""
        if not content.data.strip() and rendered.data.strip():
            # A program that writes in place empties the file first.
            event = self.wait_for_whole(content)
            if event is not None:
                return event
        try:
            return await self.saver.codec.merge(
                self.subject.kind, checkpoint.state, record.base, content.data, record.seen, once=True
            )
        except UnreadableDocument as error:
            event = self.wait_for_whole(content)
            if event is None:
                await self._give_up(content, str(error))
            return event

    def wait_for_whole(self, content: FileContent) -> ev.Event | None:
        """When to look again at a file that is perhaps not written to its end; None if it took too long."""
        limits, now = self.saver.limits, asyncio.get_running_loop().time()
        if self._torn is None:
            self._torn = _Torn(content.digest, now, now)
        elif self._torn.digest != content.digest:
            self._torn = _Torn(content.digest, self._torn.first, now)
        ends = min(self._torn.changed + limits.torn_patience, self._torn.first + limits.torn_most)
        return ev.CheckpointDeferred(min(limits.torn_poll, ends - now)) if now < ends else None

    async def _give_up(self, content: FileContent, why: str) -> None:
        """The file stays broken: it is written anew from the document, and what is in it is kept."""
        kept = "it was empty"
        if content.data.strip():
            kept = f"what it wrote is kept as {await self.keep(content.data, 'merge', why)}"
        self._torn = None
        self._say(
            "warning",
            f"{self.subject.path} was left unreadable by another program ({why}); {kept}, "
            "and the file is written anew from the document",
        )

    def _say(self, level: str, sentence: str) -> None:
        self.subject.notice(level, sentence)

    # --- what is kept -------------------------------------------------------------------------

    async def keep(self, data: bytes, reason: str, note: str) -> str:
        """Keep ``data`` as a version; returns its name for people. Raises ``LocalDiskFailed``: then it must
        not be written over."""
        version = await self.saver.versions.add(
            self.subject.document, self.subject.path, data, reason=reason, note=note
        )
        return f"version {version.id}"

    async def _keep_loser(self, merged: Merged) -> None:
        if merged.loser is None:
            return
        where = ", ".join(merged.conflicts)
        kept = await self.keep(merged.loser, "merge", f"another program's: {where}")
        self._say(
            "warning",
            f"{self.subject.path} was changed by another program in the same place as by people here "
            f"({where}); its content is kept as {kept}",
        )

    async def _guard(self, rendered: Rendered, after: Size) -> None:
        """Keep what the document says before an edit from outside makes it much smaller."""
        before = Size(len(rendered.cells), len(rendered.data))
        if shrinks((before.cells, before.bytes), (after.cells, after.bytes), self.saver.limits):
            kept = await self.keep(rendered.data, "shrink", "before another program made it much smaller")
            path = self.subject.path
            self._say("warning", f"another program made {path} much smaller; before, it was {kept}")

    async def common(self, digest: str, slim: bytes, cells: tuple[str, ...], record: FileRecord) -> None:
        """Document and file agree on this content, whose cells have these ids."""
        seen = remembered(record.seen, cells, self.saver.limits)
        self._remember(digest, slim)
        self._owed = _Owed(FileEdit(digest, slim, cells), record.digest)
        await self.saver.ledger.common(self.subject.document, self.saver.folder, digest, slim, seen)
        self._owed = None

    async def settle_owed(self, record: FileRecord) -> bool:
        """Record what document and file agreed on when the store went away just then: from the base before,
        what another program made of that content would seem to be made of an older one. True if the record
        has changed."""
        owed = self._owed
        if owed is None:
            return False
        if record.digest != owed.before:  # recorded after all, or another node has agreed on more
            self._owed = None
            return False
        await self.common(owed.content.digest, owed.content.slim, owed.content.cells, record)
        return True

    def _remember(self, digest: str, slim: bytes) -> None:
        self._bases[digest] = slim
        self._bases.move_to_end(digest)
        if len(self._bases) > self.saver.limits.bases_kept:
            self._bases.popitem(last=False)

    # --- late writers -------------------------------------------------------------------------

    def late(self, late: LateWrite) -> bool:
        """A program went on writing into the file that was replaced. False if that is too much to keep."""
        if len(self._late) >= self.saver.limits.late_writes:
            return False
        self._late.append(late)
        return True

    async def take_late(
        self, checkpoint: Checkpoint, rendered: Rendered, record: FileRecord
    ) -> ev.Event | None:
        """Take one late write in, as an edit of what the file said when it was replaced."""
        if self._late and rendered.merged == hashlib.sha256(self._late[0].data).hexdigest():
            self._late.popleft()  # the room has taken its edits
        while self._late:
            if await self.behind(checkpoint):
                return ev.CheckpointDeferred(self.saver.limits.gap_patience, behind=True)
            late = self._late[0]
            merged = await self._late_merged(checkpoint, late, record)
            if merged is None:
                await self._keep_late(late)
                continue
            await self._keep_loser(merged)
            await self._guard(rendered, merged.size)
            if merged.update is None:
                self._late.popleft()
            else:
                self._say(
                    "info", f"what another program went on writing into {self.subject.path} was merged in"
                )
                return ev.FileMerged(merged.update, merged.removed)
        return None

    async def _late_merged(
        self, checkpoint: Checkpoint, late: LateWrite, record: FileRecord
    ) -> Merged | None:
        base = self._bases.get(late.replaced)
        if base is None:
            return None
        try:
            return await self.saver.codec.merge(
                self.subject.kind, checkpoint.state, base, late.data, record.seen, once=True
            )
        except UnreadableDocument:
            return None

    async def _keep_late(self, late: LateWrite) -> None:
        """Keep the oldest late write as a version."""
        kept = await self.keep(late.data, "merge", "another program wrote it into a replaced file")
        self._late.popleft()
        self._say(
            "warning",
            f"another program went on writing into {self.subject.path} after it was saved; "
            f"what it wrote is kept as {kept}",
        )

    async def close(self) -> None:
        """The room ends: what is still to be taken in becomes versions. Raises ``LocalDiskFailed``."""
        while self._late:
            await self._keep_late(self._late[0])
