"""One socket of one person: frames in, frames out, and a bounded backlog.

A frame goes to the socket at once while the socket keeps up. When it does not, frames wait here up to
``Limits.outbox_bytes``; above that the updates among them are dropped and the client is resynced
from what it can have at most, once it has read the rest. So a slow reader costs the others nothing
and the server bounded memory (P5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ConnectionId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member
from notebook_sync.core.state_vector import decode_state_vector, encode_state_vector
from notebook_sync.core.update import decode

log = logging.getLogger(__name__)

CLOSE_PROTOCOL = 1007
CLOSE_TOO_BIG = 1009
CLOSE_TOO_SLOW = 1013


class Transport(Protocol):
    """A socket, as the engine sees it."""

    def write(self, frame: bytes) -> None:
        """Hand one binary message to the socket. Never blocks, never raises."""
        ...

    @property
    def backlog(self) -> int:
        """Bytes accepted by ``write`` that the operating system has not taken yet."""
        ...

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the backlog is empty."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the socket; further writes are ignored."""
        ...


class Mailbox(Protocol):
    """What a connection needs of its room's runner."""

    def post(self, event: ev.Event) -> None: ...

    def state_vector(self) -> bytes: ...


class Connection:
    """``receive`` and ``closed`` are called by the transport's owner, the rest by the runner."""

    def __init__(
        self, number: ConnectionId, member: Member, transport: Transport, mailbox: Mailbox, limits: Limits
    ) -> None:
        self.id = number
        self.member = member
        self._transport = transport
        self._mailbox = mailbox
        self._limits = limits
        self._waiting: list[tuple[bytes, bool]] = []
        self._waiting_bytes = 0
        self._has: dict[int, int] | None = None
        """The clocks that the client surely has once it has read what is not dropped; None while it keeps
        up."""
        self._dropped = False
        self._open = True

    # --- in -----------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """One binary message of the client. Never raises for what a client sends."""
        if not self._open:
            return
        if len(frame) > self._limits.max_message_size:
            self.close(CLOSE_TOO_BIG, f"a message may have {self._limits.max_message_size} bytes")
            return
        try:
            message = wire.parse(frame, self._limits)
        except ProtocolError as error:
            log.info(
                "connection %d of %s sent a frame that can't be read: %s", self.id, self.member.user, error
            )
            self.close(CLOSE_PROTOCOL, str(error))
            return
        self._mailbox.post(ev.MessageReceived(self.id, message, len(frame)))

    def closed(self) -> None:
        """The socket is gone, whoever closed it."""
        if self._open:
            self._open = False
            self._waiting.clear()
        self._mailbox.post(ev.Left(self.id))

    # --- out ----------------------------------------------------------------------------------

    def send(self, frame: bytes, *, droppable: bool) -> None:
        """Send now, or later, or (droppable) not at all: then the client is resynced."""
        if not self._open:
            return
        if self._has is None and self._transport.backlog == 0:
            self._transport.write(frame)
            return
        if self._has is None:
            self._has = decode_state_vector(self._mailbox.state_vector())
            self._transport.when_drained(self._drained)
        if droppable:
            self._may_lack(self._has, frame)
            if self._dropped:
                return
        self._waiting.append((frame, droppable))
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > self._limits.outbox_bytes:
            self._drop()

    def _may_lack(self, has: dict[int, int], frame: bytes) -> None:
        """``frame`` waits and may be dropped. The room had applied it before it was sent, so the state
        vector has it already."""
        try:
            message = wire.parse(frame, self._limits)
            if isinstance(message, wire.SyncUpdate):
                for client, spans in decode(message.update, self._limits).structs.items():
                    has[client] = min(has.get(client, 0), spans[0][0])
        except ProtocolError:
            has.clear()  # what can't be read may be anything: then all of it is sent again

    def _drop(self) -> None:
        self._waiting = [(frame, droppable) for frame, droppable in self._waiting if not droppable]
        self._waiting_bytes = sum(len(frame) for frame, _ in self._waiting)
        if not self._dropped:
            self._dropped = True
            self._mailbox.post(ev.Overflowed(self.id))
        if self._waiting_bytes > self._limits.outbox_bytes * 2:
            self.close(CLOSE_TOO_SLOW, "this client does not read what it is sent")

    def _drained(self) -> None:
        if not self._open:
            return
        has, self._has = self._has, None
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        dropped, self._dropped = self._dropped, False
        for frame, droppable in waiting:
            self.send(frame, droppable=droppable)
        if dropped and has is not None:
            self._mailbox.post(ev.Drained(self.id, encode_state_vector(has)))

    def close(self, code: int, reason: str) -> None:
        """Close the socket with a reason that fits into a close frame (123 bytes)."""
        if not self._open:
            return
        self._open = False
        self._waiting.clear()
        self._transport.close(code, reason.encode()[:123].decode(errors="ignore"))
