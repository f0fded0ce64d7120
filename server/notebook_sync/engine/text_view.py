"""The text view of a notebook brought together with the notebook's file.

To the notebook's own document this is one more program that edits the file: it announces nothing, and
what it writes is merged there cell by cell. What the notebook's people do comes back through the file as
the smallest edits of the text. So both can be open, and neither ever overwrites the other.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core.effects import Checkpoint
from notebook_sync.core.errors import FileMissing, UnreadableDocument
from notebook_sync.engine.outside_edits import OutsideEdits, Saver, Subject, read_only
from notebook_sync.ports import FileContent, FileRecord, FileStamp, ViewMerged, Written

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Given:
    """Edits of the text that were given to the room: once they are stored, this is common."""

    digest: str
    slim: bytes


class TextView:
    """Those of one view, on this node."""

    def __init__(self, saver: Saver, subject: Subject, outside: OutsideEdits) -> None:
        self.stamp: FileStamp | None = None
        """The file as it was last seen."""
        self._saver = saver
        self._subject = subject
        self._outside = outside
        self._given: _Given | None = None

    async def bring_together(
        self, checkpoint: Checkpoint, content: FileContent, lease_ends: float
    ) -> ev.Event | FileContent:
        """One try, under the lease: an event, or what the file is now if another program was faster.

        Nobody has typed in the view for a while, as far as the checkpoint goes.
        """
        record = await self._common_now()
        if await self._outside.behind(checkpoint):
            return ev.CheckpointDeferred(self._saver.limits.gap_patience, behind=True)
        self.stamp = content.stamp
        try:
            merged = await self._saver.codec.merge_view(checkpoint.state, record.base, content.data)
        except UnreadableDocument as error:
            # It is being written, or the notebook's own document will mend it.
            log.info("the text view of %s waits: %s", self._subject.path, error)
            return self._outside.wait_for_whole(content) or ev.CheckpointSkipped(checkpoint.position)
        if not merged.valid:
            return ev.CheckpointSkipped(checkpoint.position)
        if merged.loser is not None:
            await self._keep_loser(merged)
        digest = content.digest
        if merged.data is not None and merged.data != content.data:
            outcome = await self._write(merged.data, content, lease_ends)
            if not isinstance(outcome, Written):
                return outcome
            self.stamp, digest = outcome.stamp, outcome.digest
        if merged.update is None:
            await self._outside.common(digest, merged.slim, (), record)
            return ev.Checkpointed(checkpoint.position, digest)
        self._given = _Given(digest, merged.slim)
        return ev.FileMerged(merged.update)

    async def _common_now(self) -> FileRecord:
        """What text and file last had in common. A checkpoint runs only when the edits given before are
        stored: until then the file's part of them would look like something that the text took out."""
        saver, document = self._saver, self._subject.document
        record = await saver.ledger.record(document, saver.folder)
        if await self._outside.settle_owed(record):
            record = await saver.ledger.record(document, saver.folder)
        if self._given is not None:
            given, self._given = self._given, None  # common, also if that can't be recorded just now
            await self._outside.common(given.digest, given.slim, (), record)
            record = await saver.ledger.record(document, saver.folder)
        return record

    async def _write(
        self, data: bytes, content: FileContent, lease_ends: float
    ) -> Written | ev.Event | FileContent:
        if not content.writable:
            raise read_only(self._subject.path)
        if asyncio.get_running_loop().time() >= lease_ends:
            return ev.CheckpointDeferred()
        outcome = await self._saver.files.write(self._subject.path, data, content.digest)
        if isinstance(outcome, Written):
            return outcome
        if outcome.content is None:
            raise FileMissing(self._subject.path, "it was deleted")
        return outcome.content

    async def _keep_loser(self, merged: ViewMerged) -> None:
        assert merged.loser is not None
        where = ", ".join(merged.conflicts)
        kept = await self._outside.keep(merged.loser, "merge", f"the text view's: {where}")
        self._subject.notice(
            "warning",
            f"{self._subject.path} was changed in its text view in the same place as in the notebook "
            f"({where}); the text is kept as {kept}",
        )
