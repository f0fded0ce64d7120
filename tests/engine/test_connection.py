"""One socket: a bounded backlog, and a resync instead of endless buffering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycrdt import Doc, Text

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.ids import ConnectionId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member, Role
from notebook_sync.engine.connection import Connection

LIMITS = Limits(outbox_bytes=100, max_message_size=1000)


class StuckSocket:
    """A transport whose reader can be stopped."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.stuck = False
        self.closed: tuple[int, str] | None = None
        self._backlog = 0
        self._drained: list[Callable[[], None]] = []

    def write(self, frame: bytes) -> None:
        self.written.append(frame)
        if self.stuck:
            self._backlog += len(frame)

    @property
    def backlog(self) -> int:
        return self._backlog

    def when_drained(self, callback: Callable[[], None]) -> None:
        self._drained.append(callback)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def read_on(self) -> None:
        self.stuck = False
        self._backlog = 0
        waiting, self._drained = self._drained, []
        for callback in waiting:
            callback()


class Room:
    """Collects what a connection posts."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self.doc: Doc[Any] = Doc(client_id=7)

    def post(self, event: ev.Event) -> None:
        self.events.append(event)

    def state_vector(self) -> bytes:
        return self.doc.get_state()

    def types(self, text: str) -> bytes:
        """Something is typed here; the frame that tells of it."""
        before = self.doc.get_state()
        typed = self.doc.get("t", type=Text)
        typed += text
        return wire.encode_update(self.doc.get_update(before))


def connected() -> tuple[Connection, StuckSocket, Room]:
    socket, room = StuckSocket(), Room()
    member = Member(UserId("anna"), Role.PARTICIPANT, {})
    return Connection(ConnectionId(1), member, socket, room, LIMITS), socket, room


def test_frames_go_out_at_once_while_the_socket_keeps_up() -> None:
    connection, socket, _ = connected()
    connection.send(b"a", droppable=True)
    connection.send(b"b", droppable=False)
    assert socket.written == [b"a", b"b"]


def test_a_short_pause_loses_nothing_and_keeps_the_order() -> None:
    connection, socket, room = connected()
    socket.stuck = True
    frames = [room.types(text) for text in "123"]
    for frame in frames:
        connection.send(frame, droppable=True)
    assert socket.written == frames[:1]
    socket.read_on()
    assert socket.written == frames
    assert room.events == []


def test_above_the_bound_updates_are_dropped_and_the_client_is_resynced_from_what_it_had() -> None:
    connection, socket, room = connected()
    socket.stuck = True
    written = room.types("1")
    connection.send(written, droppable=True)
    had = room.state_vector()
    # Several of one moment: each is in the room's document before the first is sent.
    for frame in [room.types(text * 60) for text in "234"]:
        connection.send(frame, droppable=True)
    connection.send(b"reply", droppable=False)
    assert room.events == [ev.Overflowed(ConnectionId(1))]
    socket.read_on()
    assert socket.written == [written, b"reply"]
    assert room.events[-1] == ev.Drained(ConnectionId(1), had)


def test_a_client_that_never_reads_is_closed_in_the_end() -> None:
    connection, socket, _ = connected()
    socket.stuck = True
    for _ in range(10):
        connection.send(b"x" * 50, droppable=False)
    assert socket.closed is not None
    assert socket.closed[0] == 1013


def test_a_frame_that_can_not_be_read_closes_its_sender_with_a_reason() -> None:
    connection, socket, room = connected()
    connection.receive(b"\x00\x02\xff")
    assert socket.closed is not None
    assert socket.closed[0] == 1007
    assert socket.closed[1]
    assert room.events == []


def test_a_frame_that_is_too_big_closes_with_1009() -> None:
    connection, socket, _ = connected()
    connection.receive(b"\x00" * 1001)
    assert socket.closed is not None
    assert socket.closed[0] == 1009
    assert "1000" in socket.closed[1]


def test_a_good_frame_becomes_an_event() -> None:
    connection, _, room = connected()
    frame = wire.encode_sync_step1(b"\x00")
    connection.receive(frame)
    assert room.events == [ev.MessageReceived(ConnectionId(1), wire.SyncStep1(b"\x00"), len(frame))]


def test_a_close_reason_fits_into_a_close_frame_whatever_it_holds() -> None:
    connection, socket, _ = connected()
    connection.close(4400, "ü" * 200)
    assert socket.closed is not None
    assert len(socket.closed[1].encode()) <= 123


def test_nothing_is_sent_or_taken_after_the_close() -> None:
    connection, socket, room = connected()
    connection.close(4403, "revoked")
    connection.send(b"late", droppable=False)
    connection.receive(wire.encode_sync_step1(b"\x00"))
    assert socket.written == []
    connection.closed()
    assert room.events == [ev.Left(ConnectionId(1))]
