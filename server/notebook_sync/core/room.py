"""A document's room: the only composer of the machines.

``handle(event, now)`` is the whole interface: an event in, a list of effects out, nothing else
happens. The caller carries the effects out in order, and calls again with ``Tick`` at ``deadline()``.

What comes in order for one update of a client: role, decode, owner of the client id, apply, then
*broadcast before durable* (P7), then the log; the sender is told when the log has it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.document import Document, DocumentConfig
from notebook_sync.core.effects import (
    Disconnect,
    Effect,
    Finish,
    Outlived,
    Report,
    Send,
)
from notebook_sync.core.ids import ConnectionId, Generation, Lineage, NodeId
from notebook_sync.core.intake import Intake
from notebook_sync.core.keeping import Keeping
from notebook_sync.core.lifecycle import DocumentState, Lifecycle
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import LOCAL, People
from notebook_sync.core.replica import Replica
from notebook_sync.core.roles import Action
from notebook_sync.core.waiting_room import CLOSE_TRY_LATER, WaitingRoom

CLOSE_UNKNOWN_SESSION = 1003
UNKNOWN_SESSION = json.dumps({"reason": "unknown_session", "reloadable": True}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """What a room is told at birth.

    ``new_client_id`` gives random Yjs client ids; ``on_server_edit`` hears of edits that server code
    makes in the replica (they come back as ``ServerEdited``); ``level`` names what an acknowledgement
    survives (docs/protocol.md). ``batch_numbers``: the node's own, for a number that a room of it used
    before would make the store take a batch for one that it has (rule 21).
    """

    node: NodeId
    limits: Limits
    new_client_id: Callable[[], int]
    on_server_edit: Callable[[bytes], None]
    path: str
    file_id: str = ""
    level: str = "redis"
    batch_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class Room:
    """One document on one node, from COLD to COLD."""

    def __init__(self, config: RoomConfig) -> None:
        self._config = config
        self._limits = config.limits
        self._out: list[Effect] = []
        self._lifecycle = Lifecycle()
        self._lifecycle.move(DocumentState.LOADING)
        self._people = People(config.limits, self._out)
        self._document = Document(
            DocumentConfig(
                config.node,
                config.limits,
                config.new_client_id,
                config.on_server_edit,
                config.batch_numbers,
                config.level,
            ),
            self._lifecycle,
            self._people,
            self._out,
        )
        parts = (self._document, self._people, config.limits, self._out)
        self._intake = Intake(*parts)
        self._file = Keeping(*parts, config.path, config.file_id)
        self._waiting = WaitingRoom(self._people, config.limits, config.new_client_id, self._out)
        self._cleanup_at: float | None = None
        self._ending: tuple[int, str] | None = None
        self._finished = False
        self._told_status: tuple[str, ...] = ()

    # --- what others may read -----------------------------------------------------------------

    @property
    def state(self) -> DocumentState:
        """Where the document is in its life."""
        return self._lifecycle.state

    @property
    def lineage(self) -> Lineage | None:
        """The document's history; None until it is loaded."""
        return self._document.log.lineage

    def shown_state_vector(self) -> bytes:
        """What people here can have been sent; see ``Document.shown_state_vector``."""
        return self._document.shown_state_vector()

    @property
    def replica(self) -> Replica:
        """This node's copy."""
        return self._document.replica

    @property
    def provisional(self) -> bool:
        """Whether the store may turn out to have another history for this path (rule 9)."""
        return self._document.provisional

    @property
    def reason(self) -> str:
        """Why the document is in its state, for people."""
        return self._document.reason

    @property
    def stored(self) -> bool:
        """Whether everything applied here is in the store."""
        return self._document.log.settled

    @property
    def saved(self) -> bool:
        """Whether the file has everything."""
        return self._file.saving.idle

    @property
    def seq(self) -> int:
        """The last log entry up to which this node has everything."""
        return self._document.log.seq

    @property
    def place(self) -> tuple[Generation, int, bytes] | None:
        """Generation, number and chain value of that entry; None while no log is followed."""
        log = self._document.log
        return None if log.generation is None else (log.generation, log.seq, log.chain)

    # --- the one way in -----------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> list[Effect]:
        """Take one event at ``now`` (monotonic seconds); carry out the returned effects in order."""
        if not self._finished:
            self._dispatch(event, now)
            self._settle(now)
        effects = self._out.copy()
        self._out.clear()
        return effects

    def _dispatch(self, event: ev.Event, now: float) -> None:  # noqa: C901, PLR0915 - one flat table of all events
        document = self._document
        match event:
            case ev.Joined():
                self._join(event)
            case ev.Left():
                self._leave(event.connection, now)
            case ev.RoleChanged():
                self._change_role(event)
            case ev.MessageReceived():
                self._receive(event, now)
            case ev.Overflowed():
                self._overflowed(event.connection)
            case ev.Drained():
                self._resync(event)
            case ev.Opened():
                self._open(event, now)
            case ev.OpenFailed() | ev.CloseAsked():
                self._end(event.code, event.reason)
            case ev.OpenedLocally():
                document.opened_locally(event, now)
                self._first_opened(now)
            case ev.SeedsWanted():
                self._waiting.want_seeds()
            case ev.StoreLost():
                document.store_lost(event.local)
            case ev.LineageEnded():
                self._lineage_ended()
            case ev.Refounded():
                document.refounded(event)
                self._file.edited(now)
            case ev.Recorded():
                document.journal.written()
            case ev.RecordFailed():
                document.journal.not_written(now)
            case ev.CopyKept():
                document.journal.kept()
            case ev.CopyFailed():
                document.journal.not_kept(now)
            case ev.BatchAppended():
                document.appended(event)
            case ev.AppendFailed():
                document.append_failed(event, now)
            case ev.HistoryChanged():
                document.load_again("the store's log is not the one this document was written to")
            case ev.EntryArrived():
                self._log_grew(self._lifecycle.serving and document.entries((event,), now), now)
            case ev.LogAhead():
                document.fetch_soon(now)
            case ev.LogRead():
                self._log_grew(document.log_read(event, now), now)
            case ev.LogUnreadable():
                document.log_unreadable(event, now)
            case ev.PeerAwareness():
                self._people.heard(event.node, event.entries, now)
            case ev.ServerEdited():
                self._server_edited(event.update, now)
            case ev.FileMerged():
                self._file.merged(event, now)
            case ev.Checkpointed():
                self._file.done(event)
            case ev.CheckpointDeferred():
                self._file.saving.deferred(now + event.wait)
                if event.behind:
                    document.fetch_soon(now)
            case ev.CheckpointSkipped():
                self._file.saving.done(event.position)
                self._file.answer(event.position, "skipped")
            case ev.CheckpointFailed():
                self._file.saving.failed(now)
                self._file.answer(document.log.applied, "failed")
            case ev.FileTouched():
                self._file.saving.ask()
            case ev.SaveAsked():
                self._file.ask(None, event.token)
            case ev.PathChanged():
                self._rename(event.path)
            case ev.Compacted():
                document.compacted(event.seq)
            case ev.Tick():
                pass
            case _:
                assert_never(event)

    # --- people come and go -------------------------------------------------------------------

    def _join(self, event: ev.Joined) -> None:
        if self._ending is not None:
            self._out.append(Disconnect(event.connection, *self._ending))
        elif len(self._people.connected) >= self._limits.max_connections_per_room:
            reason = "too many people have this document open"
            self._out.append(Disconnect(event.connection, CLOSE_TRY_LATER, reason))
        else:
            self._people.connected[event.connection] = Connected(event.member, event.wants, event.lineage)
            self._cleanup_at = None
            if self._lifecycle.serving:
                self._welcome(event.connection)
            else:
                self._waiting.joined(event.connection)

    def _welcome(self, connection: ConnectionId) -> None:
        connected = self._people.connected[connection]
        if not connected.of(self.lineage):
            if self._document.provisional:
                # The client's history may well be the one that the store has: only the store can say so.
                reason = "the shared store is away, and another history of this document is open here"
                self._out.append(Disconnect(connection, CLOSE_TRY_LATER, reason))
            else:
                self._out.append(Disconnect(connection, CLOSE_UNKNOWN_SESSION, UNKNOWN_SESSION))
            return
        self._out.append(Send(connection, wire.encode_sync_step1(self.replica.state_vector())))
        self._people.show_everybody(connection)
        self._people.tell_status(self._status, only=connection)

    def _leave(self, connection: ConnectionId, now: float) -> None:
        if not self._people.left(connection, now):
            return
        self._waiting.left(connection)
        if not self._people.connected:
            self._cleanup_at = now + self._limits.cleanup_delay

    def _change_role(self, event: ev.RoleChanged) -> None:
        connected = self._people.connected.get(event.connection)
        if connected is None:
            return
        connected.change_role(event.role)
        if connected.may(Action.EDIT) and self._lifecycle.serving:
            # What was refused before must arrive before anything that builds on it (rule 1).
            self._out.append(Send(event.connection, wire.encode_sync_step1(self.replica.state_vector())))

    def _overflowed(self, connection: ConnectionId) -> None:
        connected = self._people.connected.get(connection)
        if connected is not None:
            connected.slow = True

    def _resync(self, event: ev.Drained) -> None:
        connected = self._people.connected.get(event.connection)
        if connected is None:
            return
        connected.slow = False
        if self._lifecycle.serving:
            self._intake.answer_step1(event.connection, event.state_vector)
            self._people.show_everybody(event.connection)

    # --- what clients send --------------------------------------------------------------------

    def _receive(self, event: ev.MessageReceived, now: float) -> None:
        connected = self._people.connected.get(event.connection)
        if connected is None:
            return
        if not self._lifecycle.serving:
            self._waiting.receive(event, connected)
        elif connected.of(self.lineage):
            # One of another history is being told to go; what it sends until then is not merged (P2).
            self._take_message(event, connected, now)

    def _take_message(self, event: ev.MessageReceived, connected: Connected, now: float) -> None:
        self._people.owners.alive(event.connection)
        match event.message:
            case wire.SyncStep1():
                self._intake.answer_step1(event.connection, event.message.state_vector)
            case wire.SyncStep2() | wire.SyncUpdate():
                if self._intake.update(event.connection, connected, event.message, now):
                    self._file.edited(now)
            case wire.AwarenessUpdate():
                self._people.said(event.connection, connected, event.message, now)
                self._file.saving.autosave = self._people.autosave
            case wire.AwarenessQuery():
                self._people.show_everybody(event.connection)
            case wire.SaveRequest():
                self._client_save(event.connection, connected, event.message.request_id)
            case wire.UnknownMessage():
                pass
            case _:
                assert_never(event.message)

    def _client_save(self, connection: ConnectionId, connected: Connected, request: int) -> None:
        if connected.may(Action.EDIT):
            self._file.ask(connection, request)
        else:
            self._out.append(Send(connection, wire.encode_save_reply(request, "skipped")))

    # --- the stored document, the server's own edits, the file --------------------------------

    def _open(self, event: ev.Opened, now: float) -> None:
        if self.lineage is not None and self.lineage != event.lineage:
            self._lineage_ended()
            return
        first = self.lineage is None
        self._document.opened(event, now)
        if first:
            self._first_opened(now)
        else:
            self._file.edited(now)

    def _first_opened(self, now: float) -> None:
        self._people.opened(now)
        # The file may have been changed while nobody was here.
        self._file.saving.ask()
        if not self._people.connected:
            self._cleanup_at = now + self._limits.cleanup_delay
        for connection in self._people.connected:
            self._welcome(connection)
        for message in self._waiting.leave():
            self._receive(message, now)

    def _log_grew(self, changed: bool, now: float) -> None:
        """Another node's edits are saved here too if this node writes the file."""
        if changed:
            self._file.edited(now)

    def _server_edited(self, update: bytes, now: float) -> None:
        if self._lifecycle.serving:
            self._document.edited_here(update)
            self._file.edited(now)

    def _rename(self, path: str) -> None:
        self._file.renamed(path)
        if self._lifecycle.serving:
            self._document.write_state({"path": path})

    # --- the end ------------------------------------------------------------------------------

    def _end(self, code: int, reason: str) -> None:
        """Everybody is told to go; what is applied still gets to the store before the room finishes."""
        self._ending = (code, reason)
        self._out.extend(Disconnect(c, code, reason) for c in self._people.connected)
        if not self._lifecycle.serving:
            self._finish()

    def _lineage_ended(self) -> None:
        if self.lineage is not None:
            state = self._document.content.state()
            self._out.append(Outlived(self.lineage, state, self._document.provisional))
        self._out.append(Report("the store holds another history of this document: it must be loaded anew"))
        for connection in self._people.connected:
            self._out.append(Disconnect(connection, CLOSE_UNKNOWN_SESSION, UNKNOWN_SESSION))
        self._finish()

    def _finish(self) -> None:
        self._file.answer(self._document.log.applied, "failed")
        self._finished = True
        self._out.append(Finish())

    # --- what follows from where we are -------------------------------------------------------

    def _settle(self, now: float) -> None:
        if self._finished or not self._lifecycle.serving:
            return
        self._document.settle(now)
        self._tell_stored()
        self._tell_status()
        self._people.tick(now, self.replica.state_vector)
        self._file.settle(now)
        self._maybe_finish(now)

    def _tell_stored(self) -> None:
        """At the level of the store once both it and this disk have it, so that a store that is set back
        costs nothing (rule 15); while the store is away, at that of this disk."""
        log, journal, whole = self._document.log, self._document.journal, self._document.content.whole
        if self.state is DocumentState.LIVE:
            durable = min(log.durable, journal.recorded) if journal.trusted else log.durable
            self._people.tell_stored(durable, self._config.level, whole=whole, applied=log.applied)
        else:
            self._people.tell_stored(journal.on_this_disk, LOCAL, whole=whole, applied=log.applied)

    @property
    def stored_where(self) -> str:
        """The level at which edits are acknowledged now; "nothing" while neither store nor disk takes any."""
        if self.state is DocumentState.LIVE:
            return self._config.level
        return LOCAL if self._document.journal.trusted else "nothing"

    @property
    def _status(self) -> tuple[str, str, str]:
        """State, level and reason, for those who ask to be told."""
        return str(self.state), self.stored_where, self._document.reason

    def _tell_status(self) -> None:
        status = self._status
        if status != self._told_status:
            self._told_status = status
            self._people.tell_status(status)

    def _maybe_finish(self, now: float) -> None:
        nobody = self._cleanup_at is not None and now >= self._cleanup_at
        if not nobody and self._ending is None:
            return
        if self.stored and self._file.done_with:
            self._finish()
        elif nobody:
            self._cleanup_at = now + self._limits.cleanup_retry

    def deadline(self) -> float | None:
        """When to call ``handle(Tick())`` next, in monotonic seconds; None when nothing is waited for."""
        if self._finished or not self._lifecycle.serving:
            return None
        parts = (self._document, self._people, self._file)
        moments = [*(part.deadline() for part in parts), self._cleanup_at]
        return min((moment for moment in moments if moment is not None), default=None)
