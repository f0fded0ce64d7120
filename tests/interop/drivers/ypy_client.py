"""ypy-websocket's WebsocketProvider on a y-py document, over the websockets package as its docs show."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import y_py as Y  # type: ignore[import-not-found]  # its own environment's
from rpc import serve  # type: ignore[import-not-found]  # beside this script
from websockets.asyncio.client import connect
from ypy_websocket import WebsocketProvider  # type: ignore[import-not-found]  # its own environment's


class Socket:
    """What ypy-websocket expects of a socket; ``path`` is a plain attribute no longer."""

    def __init__(self, socket: Any, path: str) -> None:
        self._socket = socket
        self.path = path

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return await self._socket.__aiter__().__anext__()

    async def send(self, message: bytes) -> None:
        await self._socket.send(message)

    async def recv(self) -> Any:
        return await self._socket.recv()


class Session:
    """One document and its provider."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._doc = Y.YDoc()

    async def connect(self, url: str) -> None:
        socket = await self._stack.enter_async_context(connect(url, max_size=None))
        await self._stack.enter_async_context(WebsocketProvider(self._doc, Socket(socket, url)))

    async def text(self, name: str) -> str:
        return str(self._doc.get_text(name))

    async def insert(self, name: str, at: int, text: str) -> None:
        with self._doc.begin_transaction() as transaction:
            self._doc.get_text(name).insert(transaction, at, text)

    async def insert_in_cell(self, index: int, at: int, text: str) -> None:
        with self._doc.begin_transaction() as transaction:
            self._doc.get_array("cells")[index]["source"].insert(transaction, at, text)

    async def cells(self) -> Any:
        return json.loads(self._doc.get_array("cells").to_json())


async def main() -> None:
    async with AsyncExitStack() as stack:
        session = Session(stack)
        names = ("connect", "text", "insert", "insert_in_cell", "cells")
        await serve({name: getattr(session, name) for name in names})


asyncio.run(main())
