"""The document's file, as the room sees it: when to bring both together, and who waits for that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.document import Document
from notebook_sync.core.effects import Checkpoint, Effect, SaveAnswered, Send
from notebook_sync.core.ids import ConnectionId
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import People
from notebook_sync.core.saving import Saving


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who waits for the file to hold ``position``: a client's save request, or a caller on the server."""

    position: int
    connection: ConnectionId | None
    token: int


class Keeping:
    """Effects go to ``out``, which the room owns. Times are monotonic seconds."""

    def __init__(
        self,
        document: Document,
        people: People,
        limits: Limits,
        out: list[Effect],
        path: str,
        file_id: str,
    ) -> None:
        self._document = document
        self._people = people
        self._out = out
        self._path = path
        self._file_id = file_id
        self._askers: list[_Asker] = []
        self._merged_at = 0
        self.saving = Saving(limits)

    # --- what happened ------------------------------------------------------------------------

    def edited(self, now: float) -> None:
        """The document's content changed."""
        self.saving.edited(self._document.log.applied, now)

    def ask(self, connection: ConnectionId | None, token: int) -> None:
        """Somebody wants the file written now."""
        self._askers.append(_Asker(self._document.log.applied, connection, token))
        self.saving.ask()

    def merged(self, event: ev.FileMerged, now: float) -> None:
        """The file's changes, as edits of this document (rule 4).

        Not if somebody typed meanwhile into a cell that they take away: that would go with it. Merged
        again with what they typed, the cell stays.
        """
        if event.removed and self._document.replica.typed_into(dict(event.removed)):
            self.saving.deferred(now)
            return
        if self._document.replica.apply(event.update):
            # Shown once it is stored: did this server die before, its successor would merge the file again
            # under another client id, and whoever had seen the first edits would bring them back (rule 14).
            self._document.edited_here(event.update)
            self.edited(now)
        self._merged_at = self._document.log.applied
        self.saving.deferred(now)

    def renamed(self, path: str) -> None:
        """The file has another path."""
        self._path = path

    def done(self, event: ev.Checkpointed) -> None:
        """File and document agreed as of a position."""
        self.saving.done(event.position)
        state: dict[str, object] = {"hash": event.digest, "path": self._path}
        if self._file_id:
            state["file_id"] = self._file_id
        if not self.saving.dirty:
            state["dirty"] = False
        self._document.write_state(state)
        self.answer(event.position, "success")

    def answer(self, up_to: int, status: wire.SaveStatus) -> None:
        """Tell those who wait for no more than this position."""
        waiting, self._askers = self._askers, []
        for asker in waiting:
            if asker.position > up_to:
                self._askers.append(asker)
            elif asker.connection is None:
                self._out.append(SaveAnswered(asker.token, status == "success"))
            elif asker.connection in self._people.connected:
                self._out.append(Send(asker.connection, wire.encode_save_reply(asker.token, status)))

    # --- what follows -------------------------------------------------------------------------

    def _may_at(self) -> float:
        """A document with missing updates waits a while for them before it is saved (rule 1). And
        what came from the file must be in the store before the file is written over."""
        document = self._document
        if document.rejoining or document.log.durable < self._merged_at:
            return math.inf
        return document.savable_at

    def settle(self, now: float) -> None:
        """Begin a checkpoint that is due; the same state is kept on this disk if that is due too."""
        due, log = self.saving.due_at(), self._document.log
        if due is None or now < due or log.generation is None or now < self._may_at():
            return
        self.saving.started(log.applied, now)
        state = self._document.replica.diff()
        self._out.append(Checkpoint(log.applied, state, log.generation, log.seq, log.chain))
        self._document.checkpointing(state, now)

    @property
    def done_with(self) -> bool:
        """Whether nothing runs and nothing is left to be written that can be."""
        wants = self.saving.dirty and self.saving.autosave and not self.saving.failing
        return self.saving.running is None and not wants

    def deadline(self) -> float | None:
        """When ``settle`` has something to do next."""
        due, may_at = self.saving.due_at(), self._may_at()
        return max(due, may_at) if due is not None and may_at < math.inf else None
