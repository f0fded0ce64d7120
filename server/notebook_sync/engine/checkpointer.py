"""Bringing a document and its file together, once: render, compare, then write or merge.

Runs beside the room, never in the path of a keystroke; the long parts run in the codec's worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from notebook_sync.core import events as ev
from notebook_sync.core.effects import Checkpoint
from notebook_sync.core.errors import CollabError, FileMissing, FileUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKind, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.reconcile import Plan, plan
from notebook_sync.ports import (
    DocumentCodec,
    FileContent,
    FileLedger,
    FileRecord,
    FileStamp,
    FileStore,
    Intent,
    LeaseGranted,
    LeaseStore,
    Rendered,
    Written,
)

log = logging.getLogger(__name__)
WRITE_TRIES = 4


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


@dataclass(slots=True)
class Checkpointer:
    """One document's checkpoints on this node; ``notice`` tells people about a merge (level, sentence)."""

    saver: Saver
    kind: DocumentKind
    path: str
    notice: Callable[[str, str], None]
    document: DocumentId = DocumentId("")
    stamp: FileStamp | None = None
    """The file as this node last saw it, when it agreed with the document."""
    _merged_losers: set[str] = field(default_factory=set)
    _taken: str | None = None
    """Digest of the file whose changes were last given to the room as edits."""

    async def run(self, checkpoint: Checkpoint) -> ev.Event:
        """Do it; every outcome is an event for the room, nothing is raised but cancellation."""
        try:
            return await self._run(checkpoint)
        except FileMissing:
            return ev.CheckpointFailed("the file is gone; the document is kept in the store")
        except FileUnavailable as error:
            log.warning("%s can't be saved: %s", self.path, error.reason)
            return ev.CheckpointFailed(error.reason)
        except CollabError as error:
            log.warning("%s can't be saved for now: %s", self.path, error)
            return ev.CheckpointFailed(str(error))

    async def _run(self, checkpoint: Checkpoint) -> ev.Event:
        lease = await self.saver.leases.acquire(
            self.document, f"file:{self.saver.folder}", self.saver.node, self.saver.limits.lease_ttl
        )
        if not isinstance(lease, LeaseGranted):
            return ev.CheckpointFailed("another server writes this file")
        rendered = await self.saver.codec.render(self.kind, checkpoint.state)
        content = await self.saver.files.read(self.path)
        for _ in range(WRITE_TRIES):
            record = await self.saver.ledger.record(self.document, self.saver.folder)
            ours = {intent.digest for intent in record.intents}
            decision = plan(base=record.digest, document=rendered.digest, file=content.digest, ours=ours)
            match decision:
                case Plan.NOTHING:
                    return await self._agree(checkpoint, rendered, content.stamp, record)
                case Plan.MERGE:
                    event = await self._merge(checkpoint, content, record)
                    if event is not None:
                        return event
                    record = await self.saver.ledger.record(self.document, self.saver.folder)
                case Plan.WRITE:
                    pass
            if record.digest == content.digest and record.base == rendered.slim:
                # The same content in another form (order of keys, indentation), as a program wrote it:
                # nobody edited it, so nobody should find it rewritten for having been looked at.
                self.stamp = content.stamp
                return ev.Checkpointed(checkpoint.position, content.digest)
            outcome = await self._write(checkpoint, rendered, content, lease.fence)
            if isinstance(outcome, Written):
                return await self._agree(checkpoint, rendered, outcome.stamp, record)
            if outcome is None:
                raise FileMissing(self.path, "it was deleted")
            content = outcome
        return ev.CheckpointDeferred()

    async def _agree(
        self, checkpoint: Checkpoint, rendered: Rendered, stamp: FileStamp, record: FileRecord
    ) -> ev.Event:
        if record.digest != rendered.digest:
            await self.saver.ledger.common(self.document, self.saver.folder, rendered.digest, rendered.slim)
        self.stamp = stamp
        return ev.Checkpointed(checkpoint.position, rendered.digest)

    async def _write(
        self, checkpoint: Checkpoint, rendered: Rendered, content: FileContent, fence: int
    ) -> Written | FileContent | None:
        """Write if the file is still ``content``; else what it is now, None if it is gone."""
        intent = Intent(rendered.digest, self.saver.node, checkpoint.generation, checkpoint.seq, fence)
        await self.saver.ledger.intend(self.document, self.saver.folder, intent)
        outcome = await self.saver.files.write(
            self.path, rendered.data, content.digest, trusted=rendered.trusted
        )
        return outcome if isinstance(outcome, Written) else outcome.content

    async def _merge(
        self, checkpoint: Checkpoint, content: FileContent, record: FileRecord
    ) -> ev.Event | None:
        """Take the file's changes into the document. None when they change nothing: then write."""
        if content.digest == self._taken:
            # A checkpoint runs only when the edits of the merge before are stored, so this content is
            # common now. Merging it again from the older base would see what people typed into what
            # came from the file as a conflict.
            await self._common(content)
            return None
        merged = await self.saver.codec.merge(self.kind, checkpoint.state, record.base, content.data)
        if merged.loser is not None and content.digest not in self._merged_losers:
            self._merged_losers.add(content.digest)
            beside = await self.saver.files.keep_beside(self.path, merged.loser, "outside")
            self.notice(
                "warning",
                f"{self.path} was changed by another program in the same place as by people here "
                f"({', '.join(merged.conflicts)}); its version is kept as {beside}",
            )
        if merged.update is None:
            # Only now: were it recorded before the edits are in the store, a crash in between would
            # make the file's changes look like something the document had already.
            await self._common(content)
            return None
        self._taken = content.digest
        self.notice("info", f"changes that another program made to {self.path} were merged in")
        return ev.FileMerged(merged.update)

    async def _common(self, content: FileContent) -> None:
        base = await self.saver.codec.slim(self.kind, content.data)
        await self.saver.ledger.common(self.document, self.saver.folder, content.digest, base)
