"""The lobby's shell: as ``RoomRunner``, for a room without a document."""

from __future__ import annotations

import asyncio
import logging

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.errors import ProtocolError, StoreUnavailable
from notebook_sync.core.ids import ConnectionId, DocumentId, UserId
from notebook_sync.core.lobby import Lobby, LobbyEvent
from notebook_sync.core.roles import Member
from notebook_sync.core.state_vector import EMPTY_STATE_VECTOR
from notebook_sync.engine.connection import Connection, Transport
from notebook_sync.engine.workshop import Workshop
from notebook_sync.ports import AwarenessPublished, ChannelEvent

log = logging.getLogger(__name__)

LOBBY = DocumentId("lobby")


class LobbyRunner:
    """One for each node; it lives as long as the node."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._lobby = Lobby(workshop.limits)
        self._connections: dict[ConnectionId, Connection] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def subscribe(self) -> None:
        """Hear of people on other nodes, as soon as the store is there."""
        while True:
            try:
                await self._workshop.channel.subscribe(LOBBY, self._heard)
            except StoreUnavailable:
                await asyncio.sleep(self._workshop.limits.append_retry_most)
            else:
                return

    def connect(self, transport: Transport, member: Member) -> Connection:
        """A person's socket is open."""
        number = ConnectionId(next(self._workshop.connection_numbers))
        connection = Connection(number, member, transport, self, self._workshop.limits)
        self._connections[number] = connection
        self.post(ev.Joined(number, member, frozenset(), None))
        return connection

    def disconnect(self, user: UserId, code: int, reason: str) -> int:
        """Close a person's sockets and take nothing more from them; returns how many there were."""
        theirs = [each for each in self._connections.values() if each.member.user == user]
        for connection in theirs:
            connection.close(code, reason)
            self.post(ev.Left(connection.id))
        return len(theirs)

    def state_vector(self) -> bytes:
        """There is no document."""
        return EMPTY_STATE_VECTOR

    def post(self, event: ev.Event) -> None:
        """Handle an event; those that a lobby has no use for are dropped here, by name."""
        if isinstance(event, ev.Left):
            self._connections.pop(event.connection, None)
        if isinstance(event, ev.Overflowed | ev.Drained):
            return
        if isinstance(event, LobbyEvent):
            for effect in self._lobby.handle(event, asyncio.get_running_loop().time()):
                self._perform(effect)
        self._set_timer()

    def _perform(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Send():
                self._send(effect.connection, effect.frame, effect.droppable)
            case ef.Broadcast():
                for number in effect.connections:
                    self._send(number, effect.frame, effect.droppable)
            case ef.PublishAwareness():
                self._workshop.supervisor.spawn(self._publish(effect), "lobby awareness")
            case _:
                log.error("the lobby has no use for %s", effect)

    def _send(self, number: ConnectionId, frame: bytes, droppable: bool) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.send(frame, droppable=droppable)

    async def _publish(self, effect: ef.PublishAwareness) -> None:
        try:
            await self._workshop.channel.publish_awareness(LOBBY, self._workshop.node, effect.frame)
        except StoreUnavailable:
            self._workshop.metrics.count("awareness_failures")

    def _heard(self, event: ChannelEvent) -> None:
        if not isinstance(event, AwarenessPublished) or event.node == self._workshop.node:
            return
        try:
            message = wire.parse(event.frame, self._workshop.limits)
        except ProtocolError as error:
            log.warning("awareness of node %s can't be read: %s", event.node, error)
            return
        if isinstance(message, wire.AwarenessUpdate):
            self.post(ev.PeerAwareness(event.node, message.entries))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._lobby.deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.post(ev.Tick())

    def close(self, code: int, reason: str) -> None:
        """Everybody goes; the timer stops."""
        for connection in list(self._connections.values()):
            connection.close(code, reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
