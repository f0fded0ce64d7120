"""Somebody who chats as the chat's front end does: plain maps in a shared array, over pycrdt's provider."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from typing import Any

from pycrdt import Array, Doc, Map, Provider
from rpc import serve  # type: ignore[import-not-found]  # beside this script
from websockets.asyncio.client import connect


class Socket:
    """A pycrdt channel over a websocket."""

    def __init__(self, socket: Any, path: str) -> None:
        self._socket = socket
        self.path = path

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> bytes:
        message: bytes = await self._socket.__aiter__().__anext__()
        return message

    async def send(self, message: bytes) -> None:
        await self._socket.send(message)

    async def recv(self) -> bytes:
        message: bytes = await self._socket.recv()
        return message


class Session:
    """One person in one chat."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._doc: Doc[Any] = Doc()
        self._messages = self._doc.get("messages", type=Array)
        self._users = self._doc.get("users", type=Map)
        self._state = self._doc.get("state", type=Map)

    async def connect(self, url: str) -> None:
        socket = await self._stack.enter_async_context(connect(url, max_size=None))
        provider = await self._stack.enter_async_context(Provider(self._doc, Socket(socket, url)))
        await provider.synced.wait()

    async def say(self, username: str, text: str) -> None:
        message = {
            "type": "msg",
            "id": str(uuid.uuid4()),
            "body": text,
            "sender": username,
            "time": time.time(),
            "raw_time": True,
            "mentions": [],
        }
        with self._doc.transaction():
            self._users[username] = {"username": username, "name": username, "display_name": username}
            self._messages.append(Map(message))

    async def messages(self) -> list[dict[str, Any]]:
        return list(self._messages.to_py() or [])

    async def users(self) -> list[str]:
        return sorted(self._users.to_py() or {})

    async def state(self) -> dict[str, Any]:
        return dict(self._state.to_py() or {})


async def main() -> None:
    async with AsyncExitStack() as stack:
        session = Session(stack)
        names = ("connect", "say", "messages", "users", "state")
        await serve({name: getattr(session, name) for name in names})


asyncio.run(main())
