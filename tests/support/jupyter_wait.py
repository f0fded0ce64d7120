"""Waiting for what a Jupyter server does, with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketClientConnection

from tests.support.waiting import wait_until

DEADLINE = 20.0
"""Seconds that a test waits for something that takes milliseconds on a quiet machine."""


async def refused(answer: Awaitable[Any]) -> int:
    """The status of a request or handshake that must fail."""
    with pytest.raises(HTTPClientError) as error:
        await answer
    return int(error.value.code)


async def closed(socket: WebSocketClientConnection) -> tuple[int | None, str | None]:
    """Read until the connection is closed: the code and reason of who closed it."""
    async with asyncio.timeout(DEADLINE):
        while socket.protocol is not None and await socket.read_message() is not None:
            pass
    return socket.close_code, socket.close_reason


async def read(socket: WebSocketClientConnection, wanted: Callable[[bytes], bool]) -> bytes:
    """The first binary message that ``wanted`` accepts."""
    async with asyncio.timeout(DEADLINE):
        while True:
            message = await socket.read_message()
            assert isinstance(message, bytes), (socket.close_code, socket.close_reason)
            if wanted(message):
                return message


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds."""
    await wait_until(condition, DEADLINE, what)


async def paced(seconds: float) -> None:
    """Let ``seconds`` pass, as one who reads or writes slowly does."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()
