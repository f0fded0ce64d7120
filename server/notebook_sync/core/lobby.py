"""The room with people and no document: who is on this server (``JupyterLab:globalAwareness``)."""

from __future__ import annotations

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.effects import Broadcast, Effect, PublishAwareness, Send
from notebook_sync.core.ids import ConnectionId
from notebook_sync.core.limits import Limits
from notebook_sync.core.presence import Presence
from notebook_sync.core.roles import Member
from notebook_sync.core.state_vector import EMPTY_STATE_VECTOR
from notebook_sync.core.update import EMPTY_UPDATE

LobbyEvent = ev.Joined | ev.Left | ev.MessageReceived | ev.PeerAwareness | ev.Tick


class Lobby:
    """``handle(event, now)`` as a room has it; documents that clients sync here are not kept."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._presence = Presence(limits)
        self._members: dict[ConnectionId, Member] = {}
        self._announce_at: float | None = None

    def handle(self, event: LobbyEvent, now: float) -> list[Effect]:
        """Take one event at ``now`` (monotonic seconds); carry out the returned effects in order."""
        match event:
            case ev.Joined():
                return self._join(event, now)
            case ev.Left():
                self._members.pop(event.connection, None)
                gone = self._presence.left(event.connection)
                return [*self._say(gone), *self._publish(gone)]
            case ev.MessageReceived():
                return self._receive(event, now)
            case ev.PeerAwareness():
                return self._say(self._presence.heard(event.node, event.entries, now))
            case ev.Tick():
                return self._tick(now)

    def _join(self, event: ev.Joined, now: float) -> list[Effect]:
        self._members[event.connection] = event.member
        if self._announce_at is None:
            self._announce_at = now + self._limits.presence_announce_interval
        effects: list[Effect] = [Send(event.connection, wire.encode_sync_step1(EMPTY_STATE_VECTOR))]
        if here := self._presence.everybody():
            effects.append(Send(event.connection, wire.encode_awareness(here)))
        return effects

    def _receive(self, event: ev.MessageReceived, now: float) -> list[Effect]:
        member = self._members.get(event.connection)
        if member is None:
            return []
        match event.message:
            case wire.SyncStep1():
                return [Send(event.connection, wire.encode_sync_step2(EMPTY_UPDATE))]
            case wire.AwarenessUpdate():
                news = self._presence.said(event.connection, member, event.message.entries, now)
                return [*self._say(news), *self._publish(news)]
            case wire.AwarenessQuery():
                return [Send(event.connection, wire.encode_awareness(self._presence.everybody()))]
            case _:
                return []

    def _tick(self, now: float) -> list[Effect]:
        if self._announce_at is None or now < self._announce_at:
            return []
        self._announce_at = now + self._limits.presence_announce_interval if self._members else None
        gone = self._presence.expire(now)
        return [*self._say(gone), *self._publish(self._presence.everybody(connections_only=True))]

    def _say(self, entries: tuple[wire.AwarenessEntry, ...]) -> list[Effect]:
        if not entries or not self._members:
            return []
        return [Broadcast(tuple(self._members), wire.encode_awareness(entries))]

    @staticmethod
    def _publish(entries: tuple[wire.AwarenessEntry, ...]) -> list[Effect]:
        return [PublishAwareness(wire.encode_awareness(entries))] if entries else []

    def deadline(self) -> float | None:
        """When to call ``handle(Tick())`` next; None while nobody is here."""
        return self._announce_at
