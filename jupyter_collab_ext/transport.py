"""A tornado websocket as the engine's ``Transport``.

``write_message`` costs two to four times the rest of a broadcast (a task for each message and the same
header built for each reader). Here a message is framed once for all who get the same bytes object,
and goes straight to the socket while nothing is waiting; else it joins the stream's own buffer, so
order is kept whatever path a message takes.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
import weakref
from collections.abc import Callable
from functools import partial

from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

log = logging.getLogger(__name__)

BINARY_FRAME = 0x82
"""FIN and opcode 2 (RFC 6455 section 5.2)."""
WHOLE_FRAME = 64 * 1024
"""Bytes: bigger messages are not copied behind their header, but written after it."""
REASON_BYTES = 123
"""A close frame has 125 bytes, two of which are the code (RFC 6455 section 5.5)."""


class Framer:
    """Puts websocket headers before messages; remembers the last one, for which a broadcast asks often."""

    def __init__(self) -> None:
        self._message = b""
        self._framed = header(0)

    def framed(self, message: bytes) -> bytes:
        """``message`` as one unmasked binary frame. At most ``WHOLE_FRAME`` bytes are remembered."""
        if message is not self._message:
            self._framed = header(len(message)) + message
            self._message = message
        return self._framed


def header(length: int) -> bytes:
    """The header of an unmasked, final, binary frame with ``length`` bytes of payload."""
    if length < 126:
        return struct.pack("!BB", BINARY_FRAME, length)
    if length <= 0xFFFF:
        return struct.pack("!BBH", BINARY_FRAME, 126, length)
    return struct.pack("!BBQ", BINARY_FRAME, 127, length)


class SocketTransport:
    """One open websocket. Made in ``open``, when the handler's connection has its stream.

    Args:
        handler: the websocket's handler; it must not use permessage-deflate.
        stream: its stream.
        framer: shared by all transports of a server.
    """

    def __init__(self, handler: WebSocketHandler, stream: IOStream, framer: Framer) -> None:
        self._handler = handler
        self._stream = stream
        self._framer = framer
        # OpenSSL wants a refused write repeated with the same bytes, which only the stream's buffer does.
        self._direct = not isinstance(stream, SSLIOStream)
        self._closing = False
        self._waiting = 0
        self._on_drained: list[Callable[[], None]] = []
        self.last_sign = time.monotonic()
        """When the client last sent something or took something that was waiting."""

    @property
    def backlog(self) -> int:
        """Bytes accepted by ``write`` that the operating system has not taken yet."""
        return self._waiting

    def write(self, frame: bytes) -> None:
        """Send one binary message. Never blocks, never raises; what a closed socket gets is dropped."""
        if self._closing or self._stream.closed():
            return
        if len(frame) <= WHOLE_FRAME:
            self._put(self._framer.framed(frame))
        else:
            self._put(header(len(frame)))
            self._put(frame)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        if self._direct and not self._stream.writing():
            rest = rest[self._send(rest) :]
            if not rest:
                return
        try:
            written = self._stream.write(rest)
        except StreamClosedError:
            return
        if written.done():
            return
        self._waiting += len(rest)
        written.add_done_callback(partial(self._written, len(rest)))

    def _send(self, data: memoryview) -> int:
        if self._stream.closed():
            return len(data)
        try:
            return self._stream.write_to_fd(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            log.debug("a websocket could not be written: %s", error)
            self._stream.close(exc_info=error)
            return len(data)

    def _written(self, size: int, done: asyncio.Future[None]) -> None:
        self._waiting -= size
        if done.cancelled() or done.exception() is not None:
            return
        self.last_sign = time.monotonic()
        if self._waiting == 0:
            callbacks, self._on_drained = self._on_drained, []
            for callback in callbacks:
                callback()

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, when the backlog is empty; never if the socket closes before."""
        if self._waiting == 0:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._on_drained.append(callback)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; further writes are ignored. The reason is cut to what such a frame holds."""
        if self._closing:
            return
        self._closing = True
        self._handler.close(code, reason.encode()[:REASON_BYTES].decode(errors="ignore"))


class IdleWatch:
    """Closes sockets that neither send nor take anything, not even an answer to a ping.

    tornado's own limit would also close a slow reader, whose answer waits behind what he has to read.

    Args:
        idle_timeout: seconds without a sign of life.
    """

    def __init__(self, idle_timeout: float) -> None:
        self._idle_timeout = idle_timeout
        self._sockets: weakref.WeakSet[SocketTransport] = weakref.WeakSet()
        self._timer = PeriodicCallback(self._look, idle_timeout * 1000 / 6)

    def start(self) -> None:
        """Begin to look, on the running loop."""
        self._timer.start()

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def add(self, socket: SocketTransport) -> None:
        """Watch ``socket`` until it is gone."""
        self._sockets.add(socket)

    def _look(self) -> None:
        oldest = time.monotonic() - self._idle_timeout
        for socket in list(self._sockets):
            if socket.last_sign < oldest:
                self._sockets.discard(socket)
                socket.close(1001, f"no sign of life for {self._idle_timeout:.0f} seconds")
