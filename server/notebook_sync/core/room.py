"""A document's room: the only composer of the machines.

``handle(event, now)`` is the whole interface: an event in, a list of effects out, nothing else
happens. The caller carries the effects out in order, and calls again with ``Tick`` at ``deadline()``.

What comes in order for one update of a client: decode, role, owner of the client id, apply, then
*broadcast before durable* (P7), then the log; the sender is told when the log has it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.content import Taken
from notebook_sync.core.document import EMPTY_UPDATE, Document, DocumentConfig
from notebook_sync.core.effects import (
    Checkpoint,
    Disconnect,
    Effect,
    Finish,
    OfferSeed,
    Outlived,
    Report,
    SaveAnswered,
    Send,
)
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ClientId, ConnectionId, Generation, Lineage, NodeId
from notebook_sync.core.lifecycle import DocumentState, Lifecycle
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import LOCAL, People
from notebook_sync.core.replica import DamagedReplica, Replica
from notebook_sync.core.roles import Action
from notebook_sync.core.saving import Saving
from notebook_sync.core.update import UpdateSummary, decode

CLOSE_PROTOCOL = 1007
CLOSE_UNKNOWN_SESSION = 1003
CLOSE_POLICY = 1008
CLOSE_TRY_LATER = 1013
EMPTY_STATE_VECTOR = b"\x00"
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


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who waits for the file to hold ``position``: a client's save request, or a caller on the server."""

    position: int
    connection: ConnectionId | None
    token: int


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
        self._saving = Saving(config.limits)
        self._path = config.path
        self._waiting: deque[ev.MessageReceived] = deque()
        self._waiting_bytes = 0
        self._askers: list[_Asker] = []
        self._merged_at = 0
        self._cleanup_at: float | None = None
        self._ending: tuple[int, str] | None = None
        self._finished = False
        self._told_status = ""
        self._seeds_wanted = False

    # --- what others may read -----------------------------------------------------------------

    @property
    def state(self) -> DocumentState:
        """Where the document is in its life."""
        return self._lifecycle.state

    @property
    def lineage(self) -> Lineage | None:
        """The document's history; None until it is loaded."""
        return self._document.log.lineage

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
        return self._saving.idle

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
                self._want_seeds()
            case ev.StoreLost():
                document.store_lost(event.local)
            case ev.LineageEnded():
                self._lineage_ended()
            case ev.Refounded():
                document.refounded(event)
                self._edited(now)
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
                self._file_merged(event.update, now)
            case ev.Checkpointed():
                self._checkpointed(event)
            case ev.CheckpointDeferred():
                self._saving.deferred(now + event.wait)
                if event.behind:
                    document.fetch_soon(now)
            case ev.CheckpointSkipped():
                self._saving.done(event.position)
                self._answer_askers(event.position, "skipped")
            case ev.CheckpointFailed():
                self._saving.failed(now)
                self._answer_askers(document.log.applied, "failed")
            case ev.FileTouched():
                self._saving.ask()
            case ev.SaveAsked():
                self._ask_save(None, event.token)
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
            elif self._seeds_wanted:
                self._ask_seed(event.connection)

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
        self._people.tell_status(self._status(), only=connection)

    def _leave(self, connection: ConnectionId, now: float) -> None:
        if not self._people.left(connection, now):
            return
        self._waiting = deque(m for m in self._waiting if m.connection != connection)
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
            self._answer_step1(event.connection, event.state_vector)
            self._people.show_everybody(event.connection)

    # --- what clients send --------------------------------------------------------------------

    def _receive(self, event: ev.MessageReceived, now: float) -> None:
        connected = self._people.connected.get(event.connection)
        if connected is None:
            return
        if not self._lifecycle.serving:
            self._wait(event)
            if self._seeds_wanted and isinstance(event.message, wire.SyncStep2):
                self._offer_seed(connected, event.message.update)
            return
        if connected.of(self.lineage):
            # One of another history is being told to go; what it sends until then is not merged (P2).
            self._take_message(event, connected, now)

    def _take_message(self, event: ev.MessageReceived, connected: Connected, now: float) -> None:
        self._people.owners.alive(event.connection)
        match event.message:
            case wire.SyncStep1():
                self._answer_step1(event.connection, event.message.state_vector)
            case wire.SyncStep2() | wire.SyncUpdate():
                self._client_update(event.connection, connected, event.message, now)
            case wire.AwarenessUpdate():
                self._people.said(event.connection, connected, event.message, now)
                self._saving.autosave = self._people.autosave
            case wire.AwarenessQuery():
                self._people.show_everybody(event.connection)
            case wire.SaveRequest():
                self._client_save(event.connection, connected, event.message.request_id)
            case wire.UnknownMessage():
                pass
            case _:
                assert_never(event.message)

    def _wait(self, event: ev.MessageReceived) -> None:
        frames = self._limits.loading_queue_frames * len(self._people.connected)
        if (
            self._waiting_bytes + event.size > self._limits.loading_queue_bytes
            or len(self._waiting) >= frames
        ):
            reason = "the document is still being loaded"
            self._out.append(Disconnect(event.connection, CLOSE_TRY_LATER, reason))
            return
        self._waiting_bytes += event.size
        self._waiting.append(event)

    def _answer_step1(self, connection: ConnectionId, state_vector: bytes) -> None:
        try:
            diff = self.replica.diff(state_vector)
        except ValueError:
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, "the state vector can't be read"))
            return
        self._out.append(Send(connection, wire.encode_sync_step2(diff)))
        # A gapped replica leaves parked updates out of its diff, so they follow as they came (rule 1).
        for update in self._document.content.gapped:
            self._out.append(Send(connection, wire.encode_update(update), droppable=True))

    def _client_update(
        self,
        connection: ConnectionId,
        connected: Connected,
        message: wire.SyncStep2 | wire.SyncUpdate,
        now: float,
    ) -> None:
        log = self._document.log
        if not connected.may(Action.EDIT):
            connected.counted_refused(log.applied)
            return
        if message.update == EMPTY_UPDATE:
            connected.counted(log.applied)
            return
        try:
            summary = decode(message.update, self._limits)
        except ProtocolError as error:
            reason = f"a sync message can't be read: {error}"
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, reason))
            return
        new_clients = self._document.content.would_add(summary)
        if self._document.content.doubles(new_clients):
            reason = "this client can't read client ids over 32 bits, and would double the content"
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, reason))
            return
        if not self._writes_as_itself(connection, connected, new_clients, now):
            connected.counted_refused(log.applied)
            return
        if isinstance(message, wire.SyncUpdate):
            connected.client_ids.update(map(ClientId, new_clients))
            if len(connected.client_ids) > self._limits.max_client_ids_per_connection:
                reason = "one connection may not type under so many client ids"
                self._out.append(Disconnect(connection, CLOSE_POLICY, reason))
                return
            for client in new_clients:
                self._people.owners.bind(ClientId(client), connection, connected.member.user)
        self._take(connection, connected, message.update, summary, now)

    def _take(
        self,
        connection: ConnectionId,
        connected: Connected,
        update: bytes,
        summary: UpdateSummary,
        now: float,
    ) -> None:
        taken = self._document.take(update, summary, connection, now)
        if taken is Taken.BROKEN:
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, "an update can't be applied"))
            return
        if taken is not Taken.KNOWN:
            self._edited(now)
        # Stored, but of no use to anybody without what it builds on: acknowledged only with that.
        connected.parked |= taken is Taken.PARKED
        connected.counted(self._document.log.applied)

    def _writes_as_itself(
        self, connection: ConnectionId, connected: Connected, clients: list[int], now: float
    ) -> bool:
        """Whether all new structs are under ids that this person may write under (rule 13)."""
        owners = self._people.owners
        for client in clients:
            owner = owners.owner(ClientId(client), connection, connected.member.user)
            if owner is not None and owner in self._people.connected:
                self._out.append(Send(owner, wire.encode_sync_step1(self.replica.state_vector())))
                owners.challenge(owner, connection, now)
                return False
        return True

    def _client_save(self, connection: ConnectionId, connected: Connected, request: int) -> None:
        if connected.may(Action.EDIT):
            self._ask_save(connection, request)
        else:
            self._out.append(Send(connection, wire.encode_save_reply(request, "skipped")))

    # --- a document that only clients still have ----------------------------------------------

    def _want_seeds(self) -> None:
        """The store has lost the document, and this server's disk has nothing of it: ask the clients that
        say they hold a history of it (rule 10)."""
        self._seeds_wanted = True
        for connection in self._people.connected:
            self._ask_seed(connection)

    def _ask_seed(self, connection: ConnectionId) -> None:
        connected = self._people.connected[connection]
        if connected.lineage is not None and connected.may(Action.EDIT):
            self._out.append(Send(connection, wire.encode_sync_step1(EMPTY_STATE_VECTOR)))

    def _offer_seed(self, connected: Connected, update: bytes) -> None:
        """Only a tab that has all of the first content may give it back: one that was still loading would
        found the document as a blank one (rule 10)."""
        if connected.lineage is None or not connected.may(Action.EDIT):
            return
        try:
            decode(update, self._limits)
            copy = Replica(self._config.new_client_id())
            copy.apply(update)
        except (ProtocolError, DamagedReplica):
            return
        if copy.covers_seed(connected.lineage):
            self._out.append(OfferSeed(connected.lineage, update))

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
            self._edited(now)

    def _first_opened(self, now: float) -> None:
        self._people.opened(now)
        # The file may have been changed while nobody was here.
        self._saving.ask()
        if not self._people.connected:
            self._cleanup_at = now + self._limits.cleanup_delay
        for connection in self._people.connected:
            self._welcome(connection)
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        for message in waiting:
            self._receive(message, now)

    def _edited(self, now: float) -> None:
        self._saving.edited(self._document.log.applied, now)

    def _log_grew(self, changed: bool, now: float) -> None:
        """Another node's edits are saved here too if this node writes the file."""
        if changed:
            self._edited(now)

    def _server_edited(self, update: bytes, now: float) -> None:
        if self._lifecycle.serving:
            self._document.edited_here(update)
            self._edited(now)

    def _file_merged(self, update: bytes, now: float) -> None:
        if self.replica.apply(update):
            # Shown once it is stored: did this server die before, its successor would merge the file again
            # under another client id, and whoever had seen the first edits would bring them back (rule 14).
            self._document.edited_here(update)
            self._edited(now)
        self._merged_at = self._document.log.applied
        self._saving.deferred(now)

    def _rename(self, path: str) -> None:
        self._path = path
        if self._lifecycle.serving:
            self._document.write_state({"path": path})

    def _checkpointed(self, event: ev.Checkpointed) -> None:
        self._saving.done(event.position)
        state: dict[str, object] = {"hash": event.digest, "path": self._path}
        if self._config.file_id:
            state["file_id"] = self._config.file_id
        if not self._saving.dirty:
            state["dirty"] = False
        self._document.write_state(state)
        self._answer_askers(event.position, "success")

    def _ask_save(self, connection: ConnectionId | None, token: int) -> None:
        self._askers.append(_Asker(self._document.log.applied, connection, token))
        self._saving.ask()

    def _answer_askers(self, up_to: int, status: wire.SaveStatus) -> None:
        waiting, self._askers = self._askers, []
        for asker in waiting:
            if asker.position > up_to:
                self._askers.append(asker)
            elif asker.connection is None:
                self._out.append(SaveAnswered(asker.token, status == "success"))
            elif asker.connection in self._people.connected:
                self._out.append(Send(asker.connection, wire.encode_save_reply(asker.token, status)))

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
        self._answer_askers(self._document.log.applied, "failed")
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
        self._checkpoint(now)
        self._maybe_finish(now)

    def _tell_stored(self) -> None:
        """At the level of the store once both it and this disk have it, so that a store that is set back
        costs nothing (rule 15); while the store is away, at that of this disk."""
        log, journal, whole = self._document.log, self._document.journal, self._document.content.whole
        if self.state is DocumentState.LIVE:
            durable = min(log.durable, journal.recorded) if journal.trusted else log.durable
            self._people.tell_stored(durable, self._config.level, whole=whole, applied=log.applied)
        else:
            self._people.tell_stored(journal.recorded, LOCAL, whole=whole, applied=log.applied)

    @property
    def stored_where(self) -> str:
        """The level at which edits are acknowledged now; "nothing" while neither store nor disk takes any."""
        if self.state is DocumentState.LIVE:
            return self._config.level
        return LOCAL if self._document.journal.trusted else "nothing"

    def _status(self) -> str:
        return json.dumps(
            {
                "type": "status",
                "state": str(self.state),
                "stored": self.stored_where,
                "reason": self._document.reason,
            }
        )

    def _tell_status(self) -> None:
        status = self._status()
        if status != self._told_status:
            self._told_status = status
            self._people.tell_status(status)

    def _may_checkpoint_at(self) -> float:
        """A document with missing updates waits a while for them before it is saved (rule 1). And
        what came from the file must be in the store before the file is written over."""
        document = self._document
        joined = self.state is not DocumentState.REJOINING
        return document.savable_at if joined and document.log.durable >= self._merged_at else math.inf

    def _checkpoint(self, now: float) -> None:
        due = self._saving.due_at()
        log = self._document.log
        if due is None or now < due or log.generation is None or now < self._may_checkpoint_at():
            return
        self._saving.started(log.applied, now)
        state = self.replica.diff()
        self._out.append(Checkpoint(log.applied, state, log.generation, log.seq, log.chain))
        self._document.journal.checkpoint(len(state))
        if self._document.journal.snapshot_due(now) and not self._document.content.gapped:
            self._document.keep_copy(state, now)

    def _maybe_finish(self, now: float) -> None:
        nobody = self._cleanup_at is not None and now >= self._cleanup_at
        if not nobody and self._ending is None:
            return
        wants_save = self._saving.dirty and self._saving.autosave and not self._saving.failing
        if self.stored and self._saving.running is None and not wants_save:
            self._finish()
        elif nobody:
            self._cleanup_at = now + self._limits.cleanup_retry

    def deadline(self) -> float | None:
        """When to call ``handle(Tick())`` next, in monotonic seconds; None when nothing is waited for."""
        if self._finished or not self._lifecycle.serving:
            return None
        moments = [self._document.deadline(), self._people.deadline(), self._cleanup_at]
        due, may_at = self._saving.due_at(), self._may_checkpoint_at()
        if due is not None and may_at < math.inf:
            moments.append(max(due, may_at))
        return min((moment for moment in moments if moment is not None), default=None)
