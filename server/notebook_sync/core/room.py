"""A document's room: the only composer of the machines.

``handle(event, now)`` is the whole interface: an event in, a list of effects out, nothing else
happens. The caller carries the effects out in order, and calls again with ``Tick`` at ``deadline()``.

What comes in order for one update of a client: decode, role, owner of the client id, apply, then
*broadcast before durable* (P7), then the log; the sender is told when the log has it. The bytes that
were received are what is passed on and logged, never a re-encoding (rule 1).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.connections import ClientOwners, Connected
from notebook_sync.core.effects import (
    Append,
    Broadcast,
    Checkpoint,
    Compact,
    Disconnect,
    Effect,
    FetchEntries,
    Finish,
    Load,
    PublishAwareness,
    Report,
    SaveAnswered,
    Send,
    StateChanged,
)
from notebook_sync.core.errors import InvariantBroken, ProtocolError
from notebook_sync.core.ids import ClientId, ConnectionId, Lineage, NodeId
from notebook_sync.core.lifecycle import DocumentState, Lifecycle
from notebook_sync.core.limits import Limits
from notebook_sync.core.presence import Presence
from notebook_sync.core.replica import DamagedReplica, Replica
from notebook_sync.core.roles import Action
from notebook_sync.core.saving import Saving
from notebook_sync.core.update import Clocks, UpdateSummary, decode
from notebook_sync.core.update_log import UpdateLog

CLOSE_PROTOCOL = 1007
CLOSE_UNKNOWN_SESSION = 1003
CLOSE_TRY_LATER = 1013
CLOSE_OTHER = 4500
EMPTY_UPDATE = b"\x00\x00"


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """What a room is told at birth. ``new_client_id``: a random id that no document ever wrote under."""

    node: NodeId
    limits: Limits
    new_client_id: Callable[[], int]
    on_server_edit: Callable[[bytes], None]
    path: str
    file_id: str = ""
    level: str = "redis"
    """The level of acknowledgements (docs/protocol.md)."""
    savable: bool = True


@dataclass(frozen=True, slots=True)
class _Saver:
    """Who waits for the file to hold ``position``: a client's save request, or a caller of the server."""

    position: int
    connection: ConnectionId | None
    token: int


@dataclass(slots=True)
class _Deadlines:
    retry_append: float | None = None
    fetch: float | None = None
    repair: float | None = None
    sweep: float | None = None
    presence: float | None = None
    announce: float | None = None
    cleanup: float | None = None


class Room:
    """One document on one node, from COLD to COLD."""

    def __init__(self, config: RoomConfig) -> None:
        self._config = config
        self._limits = config.limits
        self._lifecycle = Lifecycle()
        self._lifecycle.move(DocumentState.LOADING)
        self._replica = self._new_replica()
        self._clocks = Clocks()
        self._log = UpdateLog(config.limits)
        self._saving = Saving(config.limits)
        self._presence = Presence(config.limits)
        self._owners = ClientOwners(config.limits)
        self._connected: dict[ConnectionId, Connected] = {}
        self._waiting: deque[ev.MessageReceived] = deque()
        self._waiting_bytes = 0
        self._gapped: list[bytes] = []
        self._unannounced: dict[ClientId, wire.AwarenessEntry] = {}
        self._held_back: deque[tuple[int, bytes]] = deque()
        self._savers: list[_Saver] = []
        self._merged_at = 0
        self._path = config.path
        self._at = _Deadlines()
        self._append_failures = 0
        self._fetching = False
        self._loading_again = False
        self._damaged = False
        self._since_snapshot = 0
        self._since_snapshot_bytes = 0
        self._compacting = False
        self._ending: tuple[int, str] | None = None
        self._finished = False
        self._out: list[Effect] = []

    # --- what others may read -----------------------------------------------------------------

    @property
    def state(self) -> DocumentState:
        """Where the document is in its life."""
        return self._lifecycle.state

    @property
    def lineage(self) -> Lineage | None:
        """The document's history; None until it is loaded."""
        return self._log.lineage

    @property
    def members(self) -> list[Connected]:
        """Who is connected, one entry for each socket."""
        return list(self._connected.values())

    @property
    def replica(self) -> Replica:
        """This node's copy."""
        return self._replica

    @property
    def stored(self) -> bool:
        """Whether everything applied here is in the store."""
        return self._log.settled

    @property
    def saved(self) -> bool:
        """Whether the file has everything, or nobody wants it to."""
        return self._saving.idle or not self._config.savable

    @property
    def seq(self) -> int:
        """The last log entry up to which this node has everything."""
        return self._log.seq

    # --- the one way in -----------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> list[Effect]:
        """Take one event at ``now`` (monotonic seconds); carry out the returned effects in order."""
        self._out = []
        if not self._finished:
            self._dispatch(event, now)
            self._settle(now)
        return self._out

    def _dispatch(self, event: ev.Event, now: float) -> None:  # noqa: C901 - one flat table of all events
        match event:
            case ev.Joined():
                self._join(event, now)
            case ev.Left():
                self._leave(event.connection, now)
            case ev.RoleChanged():
                self._change_role(event)
            case ev.MessageReceived():
                self._receive(event, now)
            case ev.Overflowed():
                if (slow := self._connected.get(event.connection)) is not None:
                    slow.slow = True
            case ev.Drained():
                self._resync(event)
            case ev.Opened():
                self._open(event, now)
            case ev.OpenFailed():
                self._end(event.code, event.reason)
            case ev.LineageEnded():
                self._lineage_ended()
            case ev.Refounded():
                self._refounded(event, now)
            case ev.BatchAppended():
                self._appended(event)
            case ev.AppendFailed():
                self._append_failed(event, now)
            case ev.HistoryChanged():
                self._load_again("the store's log is not the one this document was written to")
            case ev.EntryArrived():
                self._entries((event,), now)
            case ev.LogAhead():
                self._fetch_soon(now)
            case ev.LogUnreadable():
                self._fetching = False
                self._at.fetch = now + self._limits.sweep_interval
            case ev.LogRead():
                self._log_read(event, now)
            case ev.PeerAwareness():
                self._say(self._presence.heard(event.node, event.entries, now), now, elsewhere=False)
            case ev.ServerEdited():
                self._server_edit(event.update, now)
            case ev.FileMerged():
                self._file_merged(event.update, now)
            case ev.Checkpointed():
                self._checkpointed(event, now)
            case ev.CheckpointDeferred():
                self._saving.deferred(now)
            case ev.CheckpointFailed():
                self._saving.failed(now)
                self._answer_savers(self._log.applied, saved=False)
            case ev.FileTouched():
                self._saving.ask()
            case ev.SaveAsked():
                self._ask_save(None, event.token)
            case ev.PathChanged():
                self._path = event.path
                self._write_state({"path": event.path})
            case ev.Compacted():
                self._compacting = False
                self._since_snapshot = max(0, self._log.seq - event.seq)
                self._since_snapshot_bytes = 0
            case ev.CloseAsked():
                self._end(event.code, event.reason)
            case ev.Tick():
                pass
            case _:
                assert_never(event)

    # --- people come and go -------------------------------------------------------------------

    def _join(self, event: ev.Joined, now: float) -> None:
        if self._ending is not None:
            self._out.append(Disconnect(event.connection, *self._ending))
            return
        if len(self._connected) >= self._limits.max_connections_per_room:
            self._out.append(
                Disconnect(event.connection, CLOSE_TRY_LATER, "too many people have this document open")
            )
            return
        self._connected[event.connection] = Connected(event.member, event.wants, event.lineage)
        self._at.cleanup = None
        if self._lifecycle.serving:
            self._welcome(event.connection)

    def _welcome(self, connection: ConnectionId) -> None:
        lineage = self._connected[connection].lineage
        if lineage is not None and lineage != self._log.lineage:
            self._out.append(Disconnect(connection, CLOSE_UNKNOWN_SESSION, self._unknown_session()))
            return
        self._out.append(Send(connection, wire.encode_sync_step1(self._replica.state_vector())))
        if here := self._presence.everybody():
            self._out.append(Send(connection, wire.encode_awareness(here)))

    def _unknown_session(self) -> str:
        return json.dumps({"reason": "unknown_session", "reloadable": True}, separators=(",", ":"))

    def _leave(self, connection: ConnectionId, now: float) -> None:
        if self._connected.pop(connection, None) is None:
            return
        self._waiting = deque(m for m in self._waiting if m.connection != connection)
        self._owners.left(connection)
        self._say(self._presence.left(connection), now)
        if not self._connected:
            self._at.cleanup = now + self._limits.cleanup_delay

    def _change_role(self, event: ev.RoleChanged) -> None:
        connected = self._connected.get(event.connection)
        if connected is None:
            return
        old = connected.member
        connected.member = type(old)(user=old.user, role=event.role, identity=old.identity)
        if connected.may(Action.EDIT) and self._lifecycle.serving:
            # What was refused before must arrive before anything that builds on it (rule 1).
            self._out.append(
                Send(event.connection, wire.encode_sync_step1(self._replica.state_vector()))
            )

    # --- what clients send --------------------------------------------------------------------

    def _receive(self, event: ev.MessageReceived, now: float) -> None:
        connected = self._connected.get(event.connection)
        if connected is None:
            return
        if not self._lifecycle.serving:
            self._wait(event)
            return
        self._owners.alive(event.connection)
        match event.message:
            case wire.SyncStep1():
                self._answer_step1(event.connection, event.message.state_vector)
            case wire.SyncStep2() | wire.SyncUpdate():
                self._client_update(event.connection, connected, event.message, now)
            case wire.AwarenessUpdate():
                self._client_awareness(event.connection, connected, event.message, now)
            case wire.AwarenessQuery():
                self._out.append(
                    Send(event.connection, wire.encode_awareness(self._presence.everybody()))
                )
            case wire.SaveRequest():
                self._client_save(event.connection, connected, event.message.request_id)
            case wire.UnknownMessage():
                pass
            case _:
                assert_never(event.message)

    def _wait(self, event: ev.MessageReceived) -> None:
        self._waiting_bytes += event.size
        self._waiting.append(event)
        if (
            self._waiting_bytes > self._limits.loading_queue_bytes
            or len(self._waiting) > self._limits.loading_queue_frames * len(self._connected)
        ):
            self._waiting_bytes -= event.size
            self._waiting.pop()
            self._out.append(
                Disconnect(event.connection, CLOSE_TRY_LATER, "the document is still being loaded")
            )

    def _answer_step1(self, connection: ConnectionId, state_vector: bytes) -> None:
        try:
            diff = self._replica.diff(state_vector)
        except ValueError:
            self._refuse(connection, "the state vector can't be read")
            return
        self._out.append(Send(connection, wire.encode_sync_step2(diff)))
        # A gapped replica leaves parked updates out of its diff, so they follow as they came (rule 1).
        self._out.extend(Send(connection, wire.encode_update(update), True) for update in self._gapped)

    def _refuse(self, connection: ConnectionId, reason: str) -> None:
        self._out.append(Disconnect(connection, CLOSE_PROTOCOL, reason))

    def _client_update(
        self,
        connection: ConnectionId,
        connected: Connected,
        message: wire.SyncStep2 | wire.SyncUpdate,
        now: float,
    ) -> None:
        if not connected.may(Action.EDIT):
            connected.counted_refused(self._log.applied)
            return
        if message.update == EMPTY_UPDATE:
            connected.counted(self._log.applied)
            return
        if self._log.full:
            self._out.append(
                Disconnect(connection, CLOSE_TRY_LATER, "the store is away and the server can keep no more")
            )
            return
        try:
            summary = decode(message.update, self._limits)
        except ProtocolError as error:
            self._refuse(connection, f"a sync message can't be read: {error}")
            return
        if not self._own_client_ids(connection, connected, summary, now):
            connected.counted_refused(self._log.applied)
            return
        if isinstance(message, wire.SyncUpdate):
            for client in self._clocks.would_add(summary):
                self._owners.bind(ClientId(client), connection, connected.member.user)
        if self._take(connection, message.update, summary, now):
            connected.counted(self._log.applied)

    def _own_client_ids(
        self, connection: ConnectionId, connected: Connected, summary: UpdateSummary, now: float
    ) -> bool:
        """Whether all new structs are under ids that this person may write under (rule 13)."""
        for client in self._clocks.would_add(summary):
            owner = self._owners.owner(ClientId(client), connection, connected.member.user)
            if owner is None or owner not in self._connected:
                continue
            self._out.append(Send(owner, wire.encode_sync_step1(self._replica.state_vector())))
            self._owners.challenge(owner, connection, now)
            return False
        return True

    def _take(self, source: ConnectionId | None, update: bytes, summary: UpdateSummary, now: float) -> bool:
        """Apply one decoded update, pass it on, log it. False if the replica broke on it."""
        try:
            changed = self._replica.apply(update)
        except DamagedReplica as error:
            self._damaged = True
            if source is not None:
                self._refuse(source, f"an update can't be applied: {error}")
            self._load_again("an update was half applied")
            return False
        added = self._clocks.add(summary)
        if added.gap:
            self._keep_gapped(update, now)
        if changed or added.new or added.gap:
            self._pass_on(update, besides=source)
            self._saving.edited(self._log.submit(update), now)
        return True

    def _keep_gapped(self, update: bytes, now: float) -> None:
        if len(self._gapped) < self._limits.gapped_updates:
            self._gapped.append(update)
        if self._at.repair is None:
            self._at.repair = now

    def _pass_on(self, update: bytes, besides: ConnectionId | None = None) -> None:
        others = tuple(c for c, known in self._connected.items() if c != besides and not known.slow)
        if others:
            self._out.append(Broadcast(others, wire.encode_update(update)))

    def _client_awareness(
        self, connection: ConnectionId, connected: Connected, message: wire.AwarenessUpdate, now: float
    ) -> None:
        news = self._presence.said(connection, connected.member, message.entries, now)
        client = self._presence.client_of(connection)
        if client is not None:
            self._owners.bind(client, connection, connected.member.user)
        self._say(news, now)
        states = self._presence.states()
        self._saving.autosave = not states or any(s.get("autosave") is not False for s in states)

    def _say(self, entries: tuple[wire.AwarenessEntry, ...], now: float, *, elsewhere: bool = True) -> None:
        """Tell everybody here, and other nodes too (gathered for a moment) what this node's people say."""
        if entries and self._connected:
            self._out.append(Broadcast(tuple(self._connected), wire.encode_awareness(entries)))
        if entries and elsewhere:
            self._unannounced.update((entry.client, entry) for entry in entries)
            if self._at.announce is None:
                self._at.announce = now + self._limits.awareness_delay

    def _client_save(self, connection: ConnectionId, connected: Connected, request: int) -> None:
        if not connected.may(Action.EDIT):
            self._out.append(Send(connection, wire.encode_save_reply(request, "skipped")))
            return
        self._ask_save(connection, request)

    def _ask_save(self, connection: ConnectionId | None, token: int) -> None:
        self._savers.append(_Saver(self._log.applied, connection, token))
        self._saving.ask()

    def _resync(self, event: ev.Drained) -> None:
        connected = self._connected.get(event.connection)
        if connected is None:
            return
        connected.slow = False
        if self._lifecycle.serving:
            self._answer_step1(event.connection, event.state_vector)
            if here := self._presence.everybody():
                self._out.append(Send(event.connection, wire.encode_awareness(here)))

    # --- the stored document ------------------------------------------------------------------

    def _new_replica(self) -> Replica:
        return Replica(self._config.new_client_id(), self._config.on_server_edit)

    def _open(self, event: ev.Opened, now: float) -> None:
        self._loading_again = False
        known = self._log.lineage
        if known is not None and known != event.lineage:
            self._lineage_ended()
            return
        updates = [event.snapshot, *(u for entry in event.entries for u in entry.updates)]
        if known is None:
            self._fill(updates)
            self._log.follow(event.lineage, event.generation, event.seq, event.chain)
            self._first_opened(now)
        else:
            self._rejoin(event, updates, now)
        self._since_snapshot = len(event.entries)
        self._since_snapshot_bytes = sum(len(u) for e in event.entries for u in e.updates)

    def _fill(self, updates: list[bytes]) -> None:
        """A fresh replica from the store's bytes; a record that can't be applied is left out and reported."""
        self._damaged = False
        self._gapped.clear()
        good = list(updates)
        while True:
            self._replica = self._new_replica()
            for index, update in enumerate(good):
                try:
                    self._replica.apply(update)
                except DamagedReplica as error:
                    self._out.append(Report(f"a stored update of {len(update)} bytes is left out: {error}"))
                    del good[index]
                    break
            else:
                break
        self._clocks = Clocks(self._replica.state_vector())

    def _first_opened(self, now: float) -> None:
        self._move(DocumentState.LIVE, "")
        self._at.sweep = now + self._limits.sweep_interval
        self._at.presence = now + self._limits.presence_announce_interval
        if self._config.savable:
            self._saving.ask()
        if not self._connected and self._at.cleanup is None:
            self._at.cleanup = now + self._limits.cleanup_delay
        for connection in self._connected:
            self._welcome(connection)
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        for message in waiting:
            self._receive(message, now)

    def _rejoin(self, event: ev.Opened, updates: list[bytes], now: float) -> None:
        """The same lineage, from another incarnation of the log: merge both ways, lose neither."""
        before = self._replica.state_vector()
        unstored = self._log.unstored()
        if self._damaged:
            self._fill(updates)
            missing = None
            for update in unstored:
                self._replica.apply(update)
        else:
            probe = self._new_replica()
            probe.apply(*updates)
            missing = self._replica.diff(probe.state_vector())
            self._replica.apply(*updates)
        self._clocks = Clocks(self._replica.state_vector())
        self._log.follow(event.lineage, event.generation, event.seq, event.chain)
        if missing is not None and missing != EMPTY_UPDATE:
            self._log.submit(missing)
        self._pass_on(self._replica.diff(before))
        for connection in self._connected:
            self._out.append(Send(connection, wire.encode_sync_step1(self._replica.state_vector())))
        self._move(DocumentState.LIVE, "")
        self._saving.edited(self._log.applied, now)

    def _refounded(self, event: ev.Refounded, now: float) -> None:
        self._loading_again = False
        if self._log.lineage is None:
            raise InvariantBroken("a document is founded again only by a replica that has it")
        self._log.refounded(event.position)
        self._log.follow(self._log.lineage, event.generation, 0, bytes(8))
        self._move(DocumentState.LIVE, "")
        self._saving.edited(self._log.applied, now)

    def _load_again(self, reason: str) -> None:
        if self._loading_again or self._log.lineage is None:
            return
        self._loading_again = True
        self._out.append(Report(reason))
        self._move(DocumentState.REJOINING, reason)
        trusted = not self._damaged and not self._clocks.has_gap
        self._out.append(
            Load(self._log.lineage, self._replica.diff() if trusted else None, self._log.applied)
        )

    def _lineage_ended(self) -> None:
        self._out.append(Report("the store holds another history of this document; everybody must load it anew"))
        for connection in self._connected:
            self._out.append(Disconnect(connection, CLOSE_UNKNOWN_SESSION, self._unknown_session()))
        self._finish()

    def _appended(self, event: ev.BatchAppended) -> None:
        self._append_failures = 0
        self._at.retry_append = None
        rolled_back = self._log.contradicts(event.seq, event.chain)
        flight = self._log.in_flight
        if not self._log.acknowledged(event.number, event.seq, event.chain):
            return
        if flight is not None:
            self._since_snapshot += 1
            self._since_snapshot_bytes += sum(map(len, flight.updates))
        if rolled_back:
            self._load_again("the store's log was rolled back")
        elif self.state is DocumentState.DEGRADED:
            self._move(DocumentState.LIVE, "")

    def _append_failed(self, event: ev.AppendFailed, now: float) -> None:
        wait = self._limits.append_retry_first * 2**self._append_failures
        self._append_failures = min(self._append_failures + 1, 16)
        self._at.retry_append = now + min(wait, self._limits.append_retry_most)
        if self.state is DocumentState.LIVE:
            self._move(DocumentState.DEGRADED, event.reason)

    def _entries(self, entries: tuple[ev.EntryArrived, ...], now: float) -> None:
        for entry in entries:
            if not self._lifecycle.serving or entry.generation != self._log.generation:
                continue
            if self._log.contradicts(entry.seq, entry.chain):
                self._load_again("the store's log was rolled back")
                return
            if not self._log.seen(entry.seq, entry.chain):
                continue
            self._since_snapshot += 1
            self._since_snapshot_bytes += sum(map(len, entry.updates))
            if entry.node != self._config.node:
                for update in entry.updates:
                    self._stored_update(update, now)
        if self._log.gap:
            self._fetch_soon(now)

    def _stored_update(self, update: bytes, now: float) -> None:
        """Another node's update: stored already, so it is passed on and not logged again."""
        try:
            summary = decode(update, self._limits)
            changed = self._replica.apply(update)
        except ProtocolError as error:
            self._out.append(Report(f"a stored update of {len(update)} bytes is left out: {error}"))
            return
        except DamagedReplica:
            self._damaged = True
            self._load_again("a stored update was half applied")
            return
        added = self._clocks.add(summary)
        if added.gap:
            self._keep_gapped(update, now)
        if changed or added.new or added.gap:
            self._pass_on(update)
            self._saving.edited(self._log.applied, now)

    def _fetch_soon(self, now: float) -> None:
        if self._at.fetch is None and not self._fetching:
            self._at.fetch = now + self._limits.gap_patience

    def _log_read(self, event: ev.LogRead, now: float) -> None:
        self._fetching = False
        if event.trimmed:
            self._load_again("the log no longer has the entries this document lacks")
            return
        self._entries(event.entries, now)

    # --- the server's own edits, and the file -------------------------------------------------

    def _server_edit(self, update: bytes, now: float) -> None:
        """Made in this replica already: log it, and show it once it is stored (rule 14)."""
        if not self._lifecycle.serving:
            return
        self._clocks.add(decode(update, self._limits))
        position = self._log.submit(update)
        self._held_back.append((position, update))
        self._saving.edited(position, now)

    def _write_state(self, values: dict[str, object]) -> None:
        if not self._lifecycle.serving:
            return
        update = self._replica.write_state(values)
        if update is not None:
            self._clocks.add(decode(update, self._limits))
            self._held_back.append((self._log.submit(update), update))

    def _file_merged(self, update: bytes, now: float) -> None:
        if self._lifecycle.serving:
            self._take(None, update, decode(update, self._limits), now)
            self._merged_at = self._log.applied
        self._saving.deferred(now)

    def _checkpointed(self, event: ev.Checkpointed, now: float) -> None:
        self._saving.done(event.position)
        state: dict[str, object] = {"hash": event.digest, "path": self._path}
        if self._config.file_id:
            state["file_id"] = self._config.file_id
        if not self._saving.dirty:
            state["dirty"] = False
        self._write_state(state)
        self._answer_savers(event.position, saved=True)

    def _answer_savers(self, up_to: int, *, saved: bool) -> None:
        waiting, self._savers = self._savers, []
        for saver in waiting:
            if saver.position > up_to:
                self._savers.append(saver)
            elif saver.connection is None:
                self._out.append(SaveAnswered(saver.token, saved))
            elif saver.connection in self._connected:
                reply = wire.encode_save_reply(saver.token, "success" if saved else "failed")
                self._out.append(Send(saver.connection, reply))

    # --- what follows from where we are -------------------------------------------------------

    def _move(self, target: DocumentState, reason: str) -> None:
        if self._lifecycle.move(target):
            self._out.append(StateChanged(target, reason))

    def _end(self, code: int, reason: str) -> None:
        """Everybody is told to go; what is applied still gets to the store before the room finishes."""
        self._ending = (code, reason)
        self._out.extend(Disconnect(c, code, reason) for c in self._connected)
        if not self._lifecycle.serving:
            self._finish()

    def _finish(self) -> None:
        self._answer_savers(self._log.applied, saved=False)
        self._finished = True
        self._out.append(Finish())

    def _settle(self, now: float) -> None:
        if self._finished or not self._lifecycle.serving:
            return
        self._append(now)
        self._tell_stored()
        self._show_stored_edits()
        self._keep_in_step(now)
        self._people_in_step(now)
        self._checkpoint(now)
        self._maybe_compact()
        self._maybe_finish(now)

    def _append(self, now: float) -> None:
        if self.state is DocumentState.REJOINING or self._log.lineage is None:
            return
        flight = self._log.in_flight
        if self._at.retry_append is None or flight is None:
            flight = self._log.next_batch()
        elif now < self._at.retry_append:
            return
        self._at.retry_append = None
        if flight is not None and self._log.generation is not None:
            self._out.append(
                Append(self._log.lineage, self._log.generation, flight.number, flight.updates)
            )

    def _tell_stored(self) -> None:
        for connection, connected in self._connected.items():
            if connected.awaiting:
                message = connected.stored_message(self._log.durable, self._config.level)
                if message is not None:
                    self._out.append(Send(connection, wire.encode_raw(message)))

    def _show_stored_edits(self) -> None:
        while self._held_back and self._held_back[0][0] <= self._log.durable:
            self._pass_on(self._held_back.popleft()[1])

    def _keep_in_step(self, now: float) -> None:
        """Ask the log, then the clients, for what is missing; look at the log now and then anyway."""
        if self._clocks.has_gap and self._at.repair is not None and now >= self._at.repair:
            self._repair(now)
        elif not self._clocks.has_gap:
            self._at.repair = None
            self._gapped.clear()
        if self._at.sweep is not None and now >= self._at.sweep:
            self._at.sweep = now + self._limits.sweep_interval
            self._at.fetch = now
        if self._at.fetch is not None and now >= self._at.fetch and not self._fetching:
            self._at.fetch = None
            if self._log.generation is not None and self.state is DocumentState.LIVE:
                self._fetching = True
                self._out.append(FetchEntries(self._log.generation, self._log.seq, self._log.chain))

    def _repair(self, now: float) -> None:
        self._at.repair = now + self._limits.repair_interval
        # pycrdt may have filled the gap from a snapshot whose parked structs it does not show.
        self._clocks.advance(self._replica.state_vector())
        if not self._clocks.has_gap:
            return
        self._at.fetch = now
        question = wire.encode_sync_step1(self._replica.state_vector())
        editors = tuple(c for c, known in self._connected.items() if known.may(Action.EDIT))
        if editors:
            self._out.append(Broadcast(editors, question, droppable=False))

    def _people_in_step(self, now: float) -> None:
        for challenger in self._owners.unanswered(now):
            if challenger in self._connected:
                self._out.append(
                    Send(challenger, wire.encode_sync_step1(self._replica.state_vector()))
                )
        if self._at.presence is not None and now >= self._at.presence:
            self._at.presence = now + self._limits.presence_announce_interval
            self._say(self._presence.expire(now), now, elsewhere=False)
            self._unannounced.update((e.client, e) for e in self._presence.everybody(connections_only=True))
            self._at.announce = now
        if self._at.announce is not None and now >= self._at.announce:
            self._at.announce = None
            if self._unannounced:
                entries = tuple(self._unannounced.values())
                self._unannounced.clear()
                self._out.append(PublishAwareness(wire.encode_awareness(entries)))

    def _checkpoint(self, now: float) -> None:
        due = self._saving.due_at()
        if due is None or now < due or not self._may_checkpoint() or self._log.generation is None:
            return
        position = self._log.applied
        self._saving.started(position, now)
        self._out.append(Checkpoint(position, self._replica.diff(), self._log.generation, self._log.seq))

    def _may_checkpoint(self) -> bool:
        """A document with missing updates is not what anybody sees, so it is not saved (rule 1). And
        what came from the file must be in the store before the file is written over."""
        whole = not self._clocks.has_gap and self.state is not DocumentState.REJOINING
        return whole and self._config.savable and self._log.durable >= self._merged_at

    def _maybe_compact(self) -> None:
        if self._compacting or self.state is not DocumentState.LIVE:
            return
        if (
            self._since_snapshot > self._limits.compact_entries
            or self._since_snapshot_bytes > self._limits.compact_bytes
        ):
            self._compacting = True
            self._out.append(Compact())

    def _maybe_finish(self, now: float) -> None:
        nobody = self._at.cleanup is not None and now >= self._at.cleanup and not self._connected
        if not nobody and self._ending is None:
            return
        if self._log.settled and self._saving.running is None and not self._wants_save():
            self._finish()
        elif nobody:
            self._at.cleanup = now + self._limits.cleanup_retry

    def _wants_save(self) -> bool:
        """Whether the file should still get something; one that can't be written is not waited for."""
        if not self._config.savable or self._saving.failing or not self._saving.autosave:
            return False
        return self._saving.dirty

    def deadline(self) -> float | None:
        """When to call ``handle(Tick())`` next, in monotonic seconds; None when nothing is waited for."""
        if self._finished or not self._lifecycle.serving:
            return None
        moments = [
            self._at.retry_append if self.state is not DocumentState.REJOINING else None,
            self._at.fetch if not self._fetching else None,
            self._at.repair,
            self._at.sweep,
            self._at.presence,
            self._at.announce,
            self._at.cleanup,
            self._owners.deadline(),
        ]
        if self._may_checkpoint():
            moments.append(self._saving.due_at())
        return min((moment for moment in moments if moment is not None), default=None)
