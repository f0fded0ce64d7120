"""The relay that the faults of a network are made with does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Proxy

WITHIN = 20.0
HELD_BACK = 0.4
"""Seconds in which nothing may come through."""


@pytest.fixture
async def echo() -> AsyncIterator[Proxy]:
    """A relay to a server that says everything back."""

    calls: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    with Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as proxy:
        yield proxy
    server.close()
    for writer in calls:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Caller:
    """One connection through the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def said(self, data: bytes) -> bytes:
        """What comes back."""
        self._writer.write(data)
        return await self.hears(len(data))

    async def hears(self, length: int) -> bytes:
        async with asyncio.timeout(WITHIN):
            return await self._reader.readexactly(length)

    async def hears_nothing(self, data: bytes) -> None:
        self._writer.write(data)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HELD_BACK):
                await self._reader.readexactly(1)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def call(proxy: Proxy) -> Caller:
    return Caller(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_fair_weather_and_delays(echo: Proxy) -> None:
    caller = await call(echo)
    assert await caller.said(b"hello") == b"hello"
    echo.change(delay_up=0.2, delay_down=0.2)
    before = time.monotonic()
    assert await caller.said(b"slow") == b"slow"
    assert time.monotonic() - before >= 0.4
    echo.clear()
    assert await caller.said(b"x" * 300_000) == b"x" * 300_000
    await caller.close()


async def test_cut_refused_and_back(echo: Proxy) -> None:
    caller = await call(echo)
    await caller.said(b"hello")
    echo.away()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await caller.said(b"gone")
    with pytest.raises(ConnectionRefusedError):
        await call(echo)
    echo.clear()
    again = await call(echo)
    assert await again.said(b"back") == b"back"
    await caller.close()
    await again.close()


async def test_a_black_hole_takes_connections_and_gives_nothing_until_it_is_over(echo: Proxy) -> None:
    caller = await call(echo)
    await caller.said(b"hello")
    echo.change(black_hole=True)
    late = await call(echo)
    await caller.hears_nothing(b"one")
    await late.hears_nothing(b"two")
    echo.clear()
    assert await caller.hears(3) == b"one"
    assert await late.hears(3) == b"two"
    await caller.close()
    await late.close()


async def test_throttled(echo: Proxy) -> None:
    caller = await call(echo)
    echo.change(throttle=1000)
    before = time.monotonic()
    assert await caller.said(b"x" * 500) == b"x" * 500
    assert time.monotonic() - before >= 0.4
    echo.clear()
    await caller.close()


async def test_damaged_on_the_way(echo: Proxy) -> None:
    caller = await call(echo)
    echo.change(corrupt=1)
    assert await caller.said(b"x" * 100) != b"x" * 100
    assert await caller.said(b"y" * 100) == b"y" * 100
    await caller.close()
