"""The socket's fast path: nothing is lost, reordered or torn, however slowly it is read."""

from __future__ import annotations

import asyncio
import random
import socket as sockets
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.testing import bind_unused_port
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from jupyter_collab_ext.transport import WHOLE_FRAME, Framer, IdleWatch, SocketTransport, header
from tests.support.jupyter_wait import DEADLINE, closed, paced, until


class Handler(WebSocketHandler):
    """Gives its transport to the test."""

    transports: asyncio.Queue[SocketTransport]
    framer: Framer

    def open(self, *args: str, **kwargs: str) -> None:
        stream = cast(IOStream, cast(Any, self.ws_connection).stream)
        stream.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 32 * 1024)
        self.transports.put_nowait(SocketTransport(self, stream, self.framer))

    def on_message(self, message: str | bytes) -> None:
        """Nothing is asked of the server."""


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    """A websocket server whose connections end up in ``Handler.transports``."""
    Handler.transports, Handler.framer = asyncio.Queue(), Framer()
    listener, port = bind_unused_port()
    server = HTTPServer(Application([("/", Handler)]))
    server.add_sockets([listener])
    yield f"ws://127.0.0.1:{port}/"
    server.stop()
    await server.close_all_connections()


@pytest_asyncio.fixture
async def pair(url: str) -> AsyncIterator[tuple[SocketTransport, WebSocketClientConnection]]:
    """A transport and the client at its other end."""
    client = await websocket_connect(url, max_message_size=64 * 1024 * 1024)
    transport = await Handler.transports.get()
    yield transport, client
    client.close()
    await closed(client)


def messages(seed: int, count: int) -> list[bytes]:
    """Numbered messages of all kinds of lengths: each header form, and bigger than a whole frame."""
    chance = random.Random(seed)
    lengths = [8, 20, 125, 126, 127, 4000, 65535, 65536, WHOLE_FRAME + 1, 300_000]
    return [number.to_bytes(8, "big").ljust(chance.choice(lengths), b".") for number in range(count)]


async def received(client: WebSocketClientConnection, count: int, pause: float = 0.0) -> list[bytes]:
    """The next ``count`` messages, read with a pause between them."""
    got = []
    async with asyncio.timeout(DEADLINE):
        for _ in range(count):
            message = await client.read_message()
            assert isinstance(message, bytes)
            got.append(message)
            await paced(pause)
    return got


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 70000])
async def test_header_says_the_length(
    pair: tuple[SocketTransport, WebSocketClientConnection], length: int
) -> None:
    transport, client = pair
    transport.write(bytes(length))
    assert await received(client, 1) == [bytes(length)]
    assert len(header(length)) == (2 if length < 126 else 4 if length < 65536 else 10)


@pytest.mark.parametrize("direct", [True, False])
async def test_order_under_backpressure(
    pair: tuple[SocketTransport, WebSocketClientConnection], direct: bool
) -> None:
    transport, client = pair
    transport._direct = direct
    sent = messages(3, 200)
    for message in sent:
        transport.write(message)
    assert transport.backlog > 0
    assert await received(client, len(sent), pause=0.001) == sent
    await until(lambda: transport.backlog == 0, "everything was taken")


async def test_order_when_writing_and_reading_mix(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, client = pair
    chance = random.Random(11)
    sent = messages(5, 300)
    got: list[bytes] = []

    async def write() -> None:
        for message in sent:
            transport.write(message)
            if chance.random() < 0.2:
                await paced(0.002)

    async def read() -> None:
        got.extend(await received(client, len(sent), pause=0.0005))

    await asyncio.gather(write(), read())
    assert got == sent


async def test_pings_do_not_tear_a_message(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, client = pair
    sent = messages(7, 100)
    for message in sent:
        transport.write(message)
        transport._handler.ping(b"?")
    assert await received(client, len(sent)) == sent


async def test_drained_is_called_once_when_all_is_taken(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, client = pair
    backlogs: list[int] = []
    transport.write(bytes(3_000_000))
    assert transport.backlog > 0
    transport.when_drained(lambda: backlogs.append(transport.backlog))
    await paced(0)
    assert backlogs == []
    await received(client, 1)
    await until(lambda: bool(backlogs), "the callback was called")
    transport.write(bytes(3_000_000))
    await received(client, 1)
    await until(lambda: transport.backlog == 0, "everything was taken")
    assert backlogs == [0]


async def test_drained_without_a_backlog_is_called_soon(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, _ = pair
    called = asyncio.Event()
    transport.when_drained(called.set)
    assert not called.is_set()
    async with asyncio.timeout(DEADLINE):
        await called.wait()


async def test_a_slow_reader_costs_the_others_nothing(url: str) -> None:
    slow, fast = await websocket_connect(url), await websocket_connect(url)
    to_slow, to_fast = await Handler.transports.get(), await Handler.transports.get()
    sent = messages(13, 100)
    for message in sent:
        to_slow.write(message)
        to_fast.write(message)
    assert await received(fast, len(sent)) == sent
    assert to_slow.backlog > 0
    assert await received(slow, len(sent)) == sent
    for client in (slow, fast):
        client.close()
        await closed(client)


async def test_a_closed_socket_takes_anything(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, client = pair
    transport.write(bytes(3_000_000))
    cast(Any, client.protocol).stream.close()
    await until(transport._stream.closed, "the server noticed")
    transport.write(b"late")
    transport.close(1001, "late")
    await until(lambda: transport.backlog == 0, "what waited is forgotten")


async def test_close_says_why_within_a_frame_s_limit(
    pair: tuple[SocketTransport, WebSocketClientConnection],
) -> None:
    transport, client = pair
    transport.close(4404, "ä" * 200)
    transport.close(4500, "too late")
    transport.write(b"too late")
    code, reason = await closed(client)
    assert code == 4404
    assert reason == "ä" * 61


def test_framer_frames_a_broadcast_once() -> None:
    framer = Framer()
    message = b"x" * 200
    assert framer.framed(message) is framer.framed(message)
    other = bytes(bytearray(message))
    assert framer.framed(other) == header(200) + message
    assert framer.framed(b"y") == b"\x82\x01y"


async def test_idle_sockets_are_closed(pair: tuple[SocketTransport, WebSocketClientConnection]) -> None:
    transport, client = pair
    watch = IdleWatch(0.2)
    watch.add(transport)
    watch.start()
    code, reason = await closed(client)
    watch.stop()
    assert code == 1001
    assert reason is not None
    assert "no sign of life" in reason


async def test_a_slow_reader_is_not_idle(pair: tuple[SocketTransport, WebSocketClientConnection]) -> None:
    transport, client = pair
    watch = IdleWatch(0.4)
    watch.add(transport)
    sent = [bytes(200_000) for _ in range(40)]
    for message in sent:
        transport.write(message)
    watch.start()
    assert await received(client, len(sent), pause=0.03) == sent
    watch.stop()
