"""The people of a room: who is connected, who is present, who may write under which client id."""

from __future__ import annotations

import json
from collections.abc import Callable

from notebook_sync.core import wire
from notebook_sync.core.connections import ClientOwners, Connected
from notebook_sync.core.effects import Broadcast, Effect, PublishAwareness, Send
from notebook_sync.core.ids import ClientId, ConnectionId, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.presence import Presence
from notebook_sync.core.roles import Action

LOCAL = "local"
"""The level of what is on this server's own disk only."""


class People:
    """Effects go to ``out``, which the room owns. Times are monotonic seconds."""

    def __init__(self, limits: Limits, out: list[Effect]) -> None:
        self._limits = limits
        self._out = out
        self._presence = Presence(limits)
        self.owners = ClientOwners(limits)
        self.connected: dict[ConnectionId, Connected] = {}
        self._unannounced: dict[ClientId, wire.AwarenessEntry] = {}
        self._announce_at: float | None = None
        self._presence_at: float | None = None

    # --- documents' updates -------------------------------------------------------------------

    def pass_on(self, update: bytes, besides: ConnectionId | None = None) -> None:
        """An update for everybody but its author and those who are to be resynced anyway."""
        others = tuple(c for c, known in self.connected.items() if c != besides and not known.slow)
        if others:
            self._out.append(Broadcast(others, wire.encode_update(update)))

    def ask_editors(self, state_vector: bytes) -> None:
        """Ask everybody who may edit for what this state vector lacks (any stock client answers)."""
        editors = tuple(c for c, known in self.connected.items() if known.may(Action.EDIT))
        if editors:
            self._out.append(Broadcast(editors, wire.encode_sync_step1(state_vector), droppable=False))

    def tell_stored(self, durable: int, level: str, *, whole: bool, applied: int) -> None:
        """Acknowledge, to those who asked for it, what is safe now (rule 2).

        ``durable``: the position up to which everything is safe at this ``level``. ``whole``: nothing that
        stored updates build on is missing.
        """
        for connection, connected in self.connected.items():
            if connected.parked and whole:
                connected.unparked(applied)
            if connected.parked:
                continue
            message = connected.stored_message(durable, level, final=level != LOCAL)
            if message is not None:
                self._out.append(Send(connection, wire.encode_raw(message)))

    def take_back(self, level: str, state_vector: bytes) -> None:
        """The store lost what it had acknowledged: whoever was told so gives again what is missing here,
        and counts as stored only what is acknowledged from now on (rule 15)."""
        for connection, connected in self.connected.items():
            if level in connected.told:
                message = json.dumps({"type": "reset", "level": level})
                self._out.append(Send(connection, wire.encode_raw(message)))
        self.ask_editors(state_vector)

    def tell_status(self, status: tuple[str, str, str], only: ConnectionId | None = None) -> None:
        """The document's state, the level at which edits are stored, and the reason, to those who asked."""
        state, stored, reason = status
        frame: bytes | None = None
        for connection, connected in self.connected.items():
            if "status" in connected.wants and only in (None, connection):
                message = {"type": "status", "state": state, "stored": stored, "reason": reason}
                frame = frame or wire.encode_raw(json.dumps(message))
                self._out.append(Send(connection, frame))

    # --- awareness ----------------------------------------------------------------------------

    def said(
        self, connection: ConnectionId, connected: Connected, update: wire.AwarenessUpdate, now: float
    ) -> None:
        """A client's awareness: checked, stamped, passed on to everybody, its sender included."""
        news = self._presence.said(connection, connected.member, update.entries, now)
        client = self._presence.client_of(connection)
        if client is not None:
            self.owners.bind(client, connection, connected.member.user)
        self._say(news)
        self._tell_nodes(news, now)

    def heard(self, node: NodeId, entries: tuple[wire.AwarenessEntry, ...], now: float) -> None:
        """Awareness from another node."""
        self._say(self._presence.heard(node, entries, now))

    def left(self, connection: ConnectionId, now: float) -> bool:
        """The socket is gone. False if it was not here."""
        if self.connected.pop(connection, None) is None:
            return False
        self.owners.left(connection)
        gone = self._presence.left(connection)
        self._say(gone)
        self._tell_nodes(gone, now)
        return True

    def show_everybody(self, connection: ConnectionId) -> None:
        """Tell one connection who is here."""
        if here := self._presence.everybody():
            self._out.append(Send(connection, wire.encode_awareness(here)))

    @property
    def autosave(self) -> bool:
        """False only if every client says so in its awareness (docs/protocol.md)."""
        states = self._presence.states()
        return not states or any(state.get("autosave") is not False for state in states)

    def _say(self, entries: tuple[wire.AwarenessEntry, ...]) -> None:
        if entries and self.connected:
            self._out.append(Broadcast(tuple(self.connected), wire.encode_awareness(entries)))

    def _tell_nodes(self, entries: tuple[wire.AwarenessEntry, ...], now: float) -> None:
        """Gathered for a moment: cursors move more often than other nodes need to know."""
        self._unannounced.update((entry.client, entry) for entry in entries)
        if entries and self._announce_at is None:
            self._announce_at = now + self._limits.awareness_delay

    # --- time ---------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """The room serves from now on."""
        self._presence_at = now + self._limits.presence_announce_interval

    def tick(self, now: float, state_vector: Callable[[], bytes]) -> None:
        """What is due at ``now``: announcements, expiry, and challenges that nobody answered."""
        for challenger in self.owners.decided(now):
            if challenger in self.connected:
                self._out.append(Send(challenger, wire.encode_sync_step1(state_vector())))
        if self._presence_at is not None and now >= self._presence_at:
            self._presence_at = now + self._limits.presence_announce_interval
            self._say(self._presence.expire(now))
            self._tell_nodes(self._presence.everybody(connections_only=True), now)
        if self._announce_at is not None and now >= self._announce_at:
            self._announce_at = None
            entries = tuple(self._unannounced.values())
            self._unannounced.clear()
            self._out.append(PublishAwareness(wire.encode_awareness(entries)))

    def deadline(self) -> float | None:
        """When ``tick`` has something to do next."""
        moments = (self._announce_at, self._presence_at, self.owners.deadline())
        return min((moment for moment in moments if moment is not None), default=None)
