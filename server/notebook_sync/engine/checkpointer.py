"""Bringing a document and its file together, once: render, compare, then write or merge.

Runs beside the room, never in the path of a keystroke; the long parts run in the codec's worker.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from notebook_sync.core import events as ev
from notebook_sync.core.effects import Checkpoint
from notebook_sync.core.errors import CollabError, FileMissing, FileUnavailable, StoreUnavailable
from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind
from notebook_sync.core.reconcile import Plan, plan
from notebook_sync.engine.outside_edits import OutsideEdits, Saver, Subject, read_only
from notebook_sync.engine.text_view import TextView
from notebook_sync.ports import (
    FileContent,
    FileRecord,
    FileStamp,
    Intent,
    LateWrite,
    LeaseGranted,
    LeaseRefused,
    Rendered,
    Written,
)

__all__ = ["Checkpointer", "Saver"]

log = logging.getLogger(__name__)
WRITE_TRIES = 4


class Checkpointer:
    """One document's checkpoints on this node; ``notice`` tells people of merges and trouble (level,
    sentence)."""

    def __init__(
        self, saver: Saver, kind: DocumentKind, path: str, notice: Callable[[str, str], None]
    ) -> None:
        self.subject = Subject(kind, path, notice)
        self.stamp: FileStamp | None = None
        """The file as this node last saw it, when it agreed with the document."""
        self.trouble = ""
        """Why the file can't be written, for people; empty while it can."""
        self._saver = saver
        self._outside = OutsideEdits(saver, self.subject)
        self._view = TextView(saver, self.subject, self._outside)

    @property
    def path(self) -> str:
        """Where the file is."""
        return self.subject.path

    @path.setter
    def path(self, path: str) -> None:
        self.subject.path = path

    @property
    def document(self) -> DocumentId:
        """Empty until the document is loaded."""
        return self.subject.document

    @document.setter
    def document(self, document: DocumentId) -> None:
        self.subject.document = document

    def late(self, late: LateWrite) -> bool:
        """A program wrote into the file that was replaced: to be taken in. False if it can't be."""
        return self._outside.late(late)

    async def close(self) -> None:
        """The room ends: what is still to be taken in is kept, and another node may write the file."""
        try:
            await self._outside.close()
            await self._saver.leases.release(self.document, self._purpose, self._saver.node)
        except CollabError as error:
            log.warning("%s is not left in order, which mends by itself: %s", self.path, error)

    async def run(self, checkpoint: Checkpoint) -> ev.Event:
        """Do it; every outcome is an event for the room, nothing is raised but cancellation."""
        try:
            event = await self._run(checkpoint)
        except FileMissing:
            return self._unsaved("the file is gone")
        except FileUnavailable as error:
            return self._unsaved(error.reason)
        except CollabError as error:
            log.warning("%s can't be saved for now: %s", self.path, error)
            return ev.CheckpointFailed(str(error))
        if isinstance(event, ev.Checkpointed):
            self._well()
        return event

    def _well(self) -> None:
        """The file holds everything; whether it could be written is known all the same."""
        if self.stamp is not None and not self.stamp.writable:
            self._unsaved(read_only(self.path).reason)
        elif self.trouble:
            self.trouble = ""
            self.subject.notice("info", f"{self.path} can be saved again")

    def _unsaved(self, reason: str) -> ev.CheckpointFailed:
        """The file refuses: people are told once, and the document goes on in the store."""
        sentence = f"{self.path} can't be saved ({reason}); what people write is kept in the store meanwhile"
        if reason != self.trouble:
            self.trouble = reason
            log.warning("%s", sentence)
            self.subject.notice("warning", sentence)
        return ev.CheckpointFailed(sentence)

    # --- one checkpoint -----------------------------------------------------------------------

    @property
    def _purpose(self) -> str:
        return f"file:{self._saver.folder}"

    async def _run(self, checkpoint: Checkpoint) -> ev.Event:
        saver, limits = self._saver, self._saver.limits
        lease_ends = asyncio.get_running_loop().time() + limits.lease_ttl - limits.lease_margin
        try:
            lease = await saver.leases.acquire(self.document, self._purpose, saver.node, limits.lease_ttl)
        except StoreUnavailable:
            async with saver.alone() as alone:
                if not alone:
                    raise
                # Nobody else can write this file, and nobody can while this one does. What another program
                # wrote is left for when the store is back: merging it needs the log's end (rule 4).
                return await self._with_lease(checkpoint, LeaseGranted(0), math.inf)
        return await self._with_lease(checkpoint, lease, lease_ends)

    async def _with_lease(
        self, checkpoint: Checkpoint, lease: LeaseGranted | LeaseRefused, lease_ends: float
    ) -> ev.Event:
        saver = self._saver
        if DocumentKey(self.subject.kind, self.path).is_text_of_notebook:
            return await self._bring_view_together(checkpoint, lease, lease_ends)
        rendered = await saver.codec.render(self.subject.kind, checkpoint.state)
        content = await saver.files.read(self.path)
        record = await saver.ledger.record(self.document, saver.folder)
        if not isinstance(lease, LeaseGranted):
            return self._elsewhere(checkpoint, rendered, content, record)
        if await self._outside.settle_owed(record):
            record = await saver.ledger.record(self.document, saver.folder)
        if await self._outside.settle(rendered, record):
            record = await saver.ledger.record(self.document, saver.folder)
        if (event := await self._outside.take_late(checkpoint, rendered, record)) is not None:
            return event
        for _ in range(WRITE_TRIES):
            outcome = await self._once(checkpoint, rendered, content, lease.fence, lease_ends)
            if not isinstance(outcome, FileContent):
                return outcome
            content = outcome
        return ev.CheckpointDeferred()

    async def _bring_view_together(
        self, checkpoint: Checkpoint, lease: LeaseGranted | LeaseRefused, lease_ends: float
    ) -> ev.Event:
        if not isinstance(lease, LeaseGranted):
            return ev.CheckpointDeferred(self._saver.limits.lease_wait)
        content = await self._saver.files.read(self.path)
        for _ in range(WRITE_TRIES):
            outcome = await self._view.bring_together(checkpoint, content, lease_ends)
            self.stamp = self._view.stamp
            if not isinstance(outcome, FileContent):
                return outcome
            content = outcome
        return ev.CheckpointDeferred()

    def _elsewhere(
        self, checkpoint: Checkpoint, rendered: Rendered, content: FileContent, record: FileRecord
    ) -> ev.Event:
        """Another node writes the file: wait until it holds what this one has, or the lease is free."""
        if content.digest == rendered.digest or _in_other_form(content, rendered, record):
            self.stamp = content.stamp
            return ev.Checkpointed(checkpoint.position, content.digest)
        return ev.CheckpointDeferred(self._saver.limits.lease_wait)

    async def _once(
        self, checkpoint: Checkpoint, rendered: Rendered, content: FileContent, fence: int, lease_ends: float
    ) -> ev.Event | FileContent:
        """One try: an event, or what the file is now if another program was faster."""
        record = await self._saver.ledger.record(self.document, self._saver.folder)
        ours = {intent.digest for intent in record.intents}
        decision = plan(base=record.digest, document=rendered.digest, file=content.digest, ours=ours)
        if decision is Plan.NOTHING:
            return await self._agree(checkpoint, rendered, content.stamp, record)
        if decision is Plan.MERGE:
            event = await self._outside.take(checkpoint, rendered, content, record)
            if event is not None:
                return event
            record = await self._saver.ledger.record(self.document, self._saver.folder)
        elif _is_newer(content, record, checkpoint) and await self._outside.behind(checkpoint):
            # Another node of ours wrote it with entries of the log that this one has not yet (rule 4). A
            # log that was set back may never get to where it was then: the file does not wait for that.
            return ev.CheckpointDeferred(self._saver.limits.gap_patience, behind=True)
        if _in_other_form(content, rendered, record):
            # Nobody edited it, so nobody should find it rewritten for having been looked at.
            self.stamp = content.stamp
            return ev.Checkpointed(checkpoint.position, content.digest)
        if rendered.untouched and content.data.strip():
            return ev.CheckpointFailed(
                f"{self.path} has content and its document never had any: the file is left as it is"
            )
        if not content.writable:
            raise read_only(self.path)
        if asyncio.get_running_loop().time() >= lease_ends:
            return ev.CheckpointDeferred()  # the lease may be another node's by now
        return await self._write(checkpoint, rendered, content, record, fence)

    async def _agree(
        self, checkpoint: Checkpoint, rendered: Rendered, stamp: FileStamp, record: FileRecord
    ) -> ev.Event:
        if record.digest != rendered.digest:
            await self._outside.common(rendered.digest, rendered.slim, rendered.cells, record)
        self.stamp = stamp
        return ev.Checkpointed(checkpoint.position, rendered.digest)

    async def _write(
        self,
        checkpoint: Checkpoint,
        rendered: Rendered,
        content: FileContent,
        record: FileRecord,
        fence: int,
    ) -> ev.Event | FileContent:
        """Write if the file is still ``content``."""
        saver = self._saver
        intent = Intent(rendered.digest, saver.node, checkpoint.generation, checkpoint.seq, fence)
        await saver.ledger.intend(self.document, saver.folder, intent)
        outcome = await saver.files.write(self.path, rendered.data, content.digest, trusted=rendered.trusted)
        if isinstance(outcome, Written):
            return await self._agree(checkpoint, rendered, outcome.stamp, record)
        if outcome.content is None:
            raise FileMissing(self.path, "it was deleted")
        return outcome.content


def _in_other_form(content: FileContent, rendered: Rendered, record: FileRecord) -> bool:
    """Whether the file says what the document does, with other order of keys or indentation, as a program
    wrote it."""
    return record.digest == content.digest and record.base == rendered.slim


def _is_newer(content: FileContent, record: FileRecord, checkpoint: Checkpoint) -> bool:
    """Whether a node wrote this file from a document that had more of the log than the checkpoint has."""
    return any(
        intent.digest == content.digest
        and intent.generation == checkpoint.generation
        and intent.seq > checkpoint.seq
        for intent in record.intents
    )
