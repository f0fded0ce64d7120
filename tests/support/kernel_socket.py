"""A kernel's websocket as a page has it, in either of Jupyter's wire formats."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_collab_ext.kernel_channels import V1
from jupyter_collab_ext.simulated import Browser
from tests.support.jupyter_wait import DEADLINE, closed

FORMATS = ("v1", "text", "binary")


def message(kind: str, content: dict[str, Any], channel: str = "shell") -> dict[str, Any]:
    """A message as a front end makes it."""
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": kind, "session": uuid.uuid4().hex, "username": "",
        "date": "2024-01-01T00:00:00Z", "version": "5.3",
    }  # fmt: skip
    return {
        "header": header, "parent_header": {}, "metadata": {}, "content": content,
        "channel": channel, "buffers": [],
    }  # fmt: skip


def encoded(made: dict[str, Any], form: str) -> bytes | str:
    """The message on the wire: ``v1``, or the older format as ``text`` or ``binary``."""
    if form == "v1":
        wire: bytes = serialize_msg_to_ws_v1(made, made["channel"], lambda part: json.dumps(part).encode())
        return wire
    if form == "binary":
        blob: bytes = serialize_binary_message(made)
        return blob
    return json.dumps(made)


def run(code: str) -> dict[str, Any]:
    """The content of a request to run ``code``."""
    return {
        "code": code, "silent": False, "store_history": True, "user_expressions": {},
        "allow_stdin": False, "stop_on_error": True,
    }  # fmt: skip


class KernelSocket:
    """One page's connection to a kernel."""

    def __init__(self, socket: WebSocketClientConnection, form: str) -> None:
        self._socket = socket
        self._form = form
        self.seen: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        """All that came: type, parent header, content."""

    async def send(self, kind: str, content: dict[str, Any], channel: str = "shell") -> str:
        """Send a request; returns its id."""
        made = message(kind, content, channel)
        await self._socket.write_message(encoded(made, self._form), binary=self._form != "text")
        return str(made["header"]["msg_id"])

    async def answer(self, kind: str, request: str) -> dict[str, Any]:
        """The content of the message of this type that answers the request."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for seen, parent, content in self.seen:
                    if seen == kind and parent.get("msg_id") == request:
                        return content
                self.seen.append(self._decoded(await self._socket.read_message()))

    async def text(self, code: str) -> str:
        """What ``code`` prints; runs it."""
        request = await self.send("execute_request", run(code))
        reply = await self.answer("execute_reply", request)
        assert reply["status"] == "ok", reply
        return str((await self.answer("stream", request))["text"])

    def _decoded(self, wire: bytes | str | None) -> tuple[str, dict[str, Any], dict[str, Any]]:
        assert wire is not None, (self._socket.close_code, self._socket.close_reason)
        if self._form == "v1":
            _, parts = deserialize_msg_from_ws_v1(wire)
            header, parent, _, content = (json.loads(part) for part in parts[:4])
        else:
            made = deserialize_binary_message(wire) if isinstance(wire, bytes) else json.loads(wire)
            header, parent, content = made["header"], made["parent_header"], made["content"]
        return header["msg_type"], parent, content


@asynccontextmanager
async def kernel_socket(browser: Browser, kernel_id: str, form: str = "v1") -> AsyncIterator[KernelSocket]:
    """Connect to a kernel with what the browser's profile knows. Raises HTTPClientError when refused."""
    url = browser.socket_url(f"api/kernels/{kernel_id}/channels", {"session_id": uuid.uuid4().hex})
    request = HTTPRequest(url, headers=browser.socket_headers())
    socket = await websocket_connect(request, subprotocols=[V1] if form == "v1" else None)
    assert socket.selected_subprotocol == (V1 if form == "v1" else None)
    try:
        yield KernelSocket(socket, form)
    finally:
        socket.close()
        await closed(socket)
