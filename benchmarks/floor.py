"""The floor: the least a server of shared notebooks can do on the same web server.

A plain tornado relay with one bare CRDT document per room: no store, no file, no roles, no checks.
It speaks enough of the protocol for the same clients, so every figure of a real server can be given
as a ratio to it. Run as ``python -m benchmarks.floor --port N --root DIR``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from jupyter_ydoc import YNotebook
from pycrdt import Doc
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_collab_ext.simulated import frames


class Room:
    """A document and the sockets on it."""

    def __init__(self, notebook: Path) -> None:
        ynotebook = YNotebook()
        ynotebook.set(json.loads(notebook.read_text()))
        self.doc: Doc[Any] = ynotebook.ydoc
        self.sockets: set[RoomSocket] = set()

    def relay(self, message: bytes, but: RoomSocket | None = None) -> None:
        """Hand ``message`` to every socket but one."""
        for socket in self.sockets:
            if socket is not but:
                socket.hand(message)


class Session(RequestHandler):
    """The session call; the path itself serves as file id."""

    def put(self, path: str) -> None:
        wanted = json.loads(self.request.body)
        self.set_status(201)
        self.finish(wanted | {"fileId": path.replace("/", "--"), "sessionId": "floor"})


class Status(RequestHandler):
    """Says that the relay is up."""

    def get(self) -> None:
        self.finish({})


class RoomSocket(WebSocketHandler):
    """One client."""

    def initialize(self, root: Path, rooms: dict[str, Room]) -> None:
        self._root = root
        self._rooms = rooms

    def check_origin(self, origin: str) -> bool:
        return True

    def open(self, name: str) -> None:
        self.set_nodelay(True)
        if name not in self._rooms:
            self._rooms[name] = Room(self._root / name.split(":", 2)[2].replace("--", "/"))
        self._room = self._rooms[name]
        self._room.sockets.add(self)
        self.hand(frames.sync_step1(self._room.doc.get_state()))

    def hand(self, message: bytes) -> None:
        """Write without waiting; a socket that is just closing is left alone."""
        try:
            self.write_message(message, binary=True)
        except WebSocketClosedError:
            self._room.sockets.discard(self)

    def on_message(self, message: str | bytes) -> None:
        assert isinstance(message, bytes)
        match frames.decode(message):
            case frames.SyncStep1(state_vector):
                self.hand(frames.sync_step2(self._room.doc.get_update(state_vector)))
            case frames.SyncStep2(update) | frames.SyncUpdate(update):
                if update != frames.EMPTY_UPDATE:
                    self._room.doc.apply_update(update)
                    self._room.relay(frames.sync_update(update), but=self)
            case frames.AwarenessUpdate():
                self._room.relay(message)

    def on_close(self) -> None:
        self._room.sockets.discard(self)


def application(root: Path) -> Application:
    """The relay for the notebooks below ``root``."""
    rooms: dict[str, Room] = {}
    return Application(
        [
            (r"/api/collaboration/session/(.+)", Session),
            (r"/api/collaboration/room/(.+)", RoomSocket, {"root": root, "rooms": rooms}),
            (r"/api/status", Status),
        ]
    )


async def serve(port: int, root: Path) -> None:
    """Serve until the process is ended."""
    application(root).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.root))
