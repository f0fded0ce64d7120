"""``/api/collaboration/room/{room}``: a document's socket, and the one of the global awareness.

The room is named ``format:type:fileId``, or ``JupyterLab:globalAwareness``. Query: ``sessionId`` from
the session endpoint, ``token`` as everywhere in Jupyter, and ``collab``, a list like ``stored,role``
of the extra messages that this client understands (docs/protocol.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler

from jupyter_collab_ext.asking import reach_for
from jupyter_collab_ext.audience import Audience
from jupyter_collab_ext.flow import Pause, slowed
from jupyter_collab_ext.identity import may_hear, member_of
from jupyter_collab_ext.service import LOBBY, Refused, Service
from jupyter_collab_ext.transport import SocketTransport
from notebook_sync.app import Connection, Transport
from notebook_sync.core import wire
from notebook_sync.core.ids import DocumentKey
from notebook_sync.core.paths import moved
from notebook_sync.core.roles import Member, Role

ACTIVITY_INTERVAL = 10.0
"""Seconds: how often typing counts as activity of the server (it would be culled as idle otherwise)."""
TEXT_MESSAGE = 1003


class RoomHandler(WebSocketHandler, JupyterHandler):
    """One socket of one person: it names document, person and socket; the engine does the rest."""

    auth_resource = "contents"

    def initialize(self, service: Service) -> None:
        """``service`` is the extension's."""
        self._service = service
        self._transport: SocketTransport | None = None
        self._connection: Connection | None = None
        self._in_lobby: Member | None = None
        self._activity = 0.0
        self._person = ""
        self._path = ""
        self._wants_status = False
        self._gone = asyncio.Event()

    # --- the handshake ------------------------------------------------------------------------

    async def prepare(self) -> None:  # type: ignore[override]  # JupyterHandler's is asynchronous as well
        """Authenticate; a script without a login gets 403, not a redirect to a page it can't read."""
        result: Any = super().prepare(_redirect_to_login=False)
        if isinstance(result, Awaitable):
            await result

    def check_origin(self, origin: str = "") -> bool:
        """As for every request of Jupyter's API: the same host, an allowed origin, or a token."""
        return bool(JupyterHandler.check_origin(self, origin))

    @property
    def max_message_size(self) -> int:
        """Twice what is allowed: up to here a message is read, so that its sender can be told.

        tornado cuts a bigger one off after a close frame with 1009, which the sender may not get to see.
        """
        return 2 * self._service.settings.limits.max_message_size

    @property
    def ping_interval(self) -> float:
        """Seconds. (tornado reads this property in seconds, Jupyter's WebSocketMixin in milliseconds.)"""
        return self._service.settings.limits.ping_interval

    @property
    def ping_timeout(self) -> float:
        """None by tornado: see ``IdleWatch``."""
        return 0.0

    @ws_authenticated
    @authorized
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """The upgrade, once the engine runs."""
        await self._service.sync()
        await super().get(*args, **kwargs)

    # --- the socket ---------------------------------------------------------------------------

    async def open(self, room: str) -> None:
        """Join the room. What is wrong with it is said by the close code."""
        self.set_nodelay(True)
        connection = cast(Any, self.ws_connection)
        transport = SocketTransport(self, cast(IOStream, connection.stream), self._service.framer)
        self._transport = transport
        self._service.idle_watch.add(transport)
        member = member_of(self)
        self._person = member.user
        sync = await self._service.sync()
        try:
            self._must_reach(room)
            key, file_id = await self._service.room(room)
            member = self._within_reach(key, member)
        except Refused as refused:
            transport.close(refused.close_code, str(refused))
            return
        if self.ws_connection is None or self.ws_connection.is_closing():
            return
        wants = frozenset(self.get_query_argument("collab", "").split(",")) - {""}
        self._wants_status = "status" in wants
        self._connection = sync.connect(
            key,
            self._audience(key, transport),
            member,
            session_id=self.get_query_argument("sessionId", "") or None,
            wants=wants,
            file_id=file_id,
        )
        if key is not None:
            self._path = key.path
            self._service.open_sockets.add(self)
        else:
            self._in_lobby = member
            self._service.events.lobby_joined(member)

    def moved(self, old: str, new: str) -> None:
        """A file or folder was renamed: the socket ends if its document is out of its person's reach now."""
        path = moved(self._path, old, new)
        if path is None:
            return
        self._path = path
        if self._transport is not None and not reach_for(self).sees(self._path):
            self._transport.close(4404, "this file was moved to where you can't open it")

    def _must_reach(self, room: str) -> None:
        """Raises ``Refused`` for the file id of a file out of reach, as for one that was never given."""
        reach, file_ids = reach_for(self), self._service.file_ids
        if reach.everything or room == LOBBY:
            return
        path = file_ids.get_path(room.rpartition(":")[2])
        if path is None or not reach.sees(path):
            raise Refused("no file has this id; it may have been deleted", 404, 4404)

    def _within_reach(self, key: DocumentKey | None, member: Member) -> Member:
        """Who the person is in this room: what all groups read nobody writes."""
        reach = reach_for(self)
        if key is None or reach.everything:
            return member
        return replace(member, role=Role.OBSERVER) if reach.only_looks(key.path) else member

    def _audience(self, key: DocumentKey | None, transport: SocketTransport) -> Transport:
        """The socket, or where people of several groups meet, one that hears of some of them only."""
        reach = reach_for(self)
        if reach.everything or (key is not None and not reach.only_looks(key.path)):
            return transport
        limits = self._service.settings.limits
        return Audience(transport, partial(may_hear, self), partial(reach_for, self), limits)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Hand a message to the engine, which never raises for what a client sends.

        What is returned is waited for before the next message is read: so whoever floods is slowed down,
        by their own operating system at last, and nobody else is.
        """
        if self._transport is None:
            return None
        now = time.monotonic()
        self._transport.last_sign = now
        if isinstance(message, str):
            self._transport.close(TEXT_MESSAGE, "this protocol has binary messages only")
            return None
        if now - self._activity > ACTIVITY_INTERVAL:
            self._activity = now
            self.settings["api_last_activity"] = datetime.now(UTC)
        if self._connection is not None:
            self._connection.receive(message)
        pause = self._service.flow.pause(self._person, len(message), now)
        if pause is not None and pause.say and self._wants_status:
            self._transport.write(wire.encode_raw('{"type":"slowed"}'))
        return self._slowed(pause) if pause is not None else None

    async def _slowed(self, pause: Pause) -> None:
        """Read on after the pause; a socket that was closed meanwhile ends at once."""
        await slowed(pause, self._gone)
        if self._transport is not None:
            self._transport.last_sign = time.monotonic()

    def on_pong(self, data: bytes) -> None:
        """The client is there."""
        if self._transport is not None:
            self._transport.last_sign = time.monotonic()

    def on_close(self) -> None:
        """Leave the room."""
        self._gone.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()
        member, self._in_lobby = self._in_lobby, None
        if member is not None:
            self._service.events.lobby_left(member)
