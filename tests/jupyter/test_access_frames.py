"""Every type of message on a document's socket and on a kernel's, and every command: who gets through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from pycrdt import Doc, Text
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_collab_ext.cli import app as commands
from jupyter_collab_ext.kernel_channels import HARMLESS
from jupyter_collab_ext.simulated import Browser, frames
from notebook_sync.core.roles import Role
from tests.jupyter.test_kernel_channels import REQUESTS, channel
from tests.support import access
from tests.support.access import ACTORS
from tests.support.access_table import whose, write_or_compare
from tests.support.jupyter_wait import closed, read
from tests.support.kernel_socket import encoded, message
from tests.support.people_here import Event
from tests.support.two_groups import LONG_AGO, change, logged_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

EDIT, LOOK = access.EDIT, access.READ
FRAMES = {
    "sync step 1": LOOK,
    "sync step 2 with an edit": EDIT,
    "update": EDIT,
    "awareness": LOOK,
    "awareness query": LOOK,
    "save": EDIT,
    "unknown type": dict.fromkeys(LOOK, frozenset[str]()),
}
"""What a message does, if anything: who sees it do so."""


@pytest_asyncio.fixture
async def browsers(two_groups: Event) -> AsyncIterator[dict[str, Browser]]:
    """Everybody, logged in while they still could."""
    async with AsyncExitStack() as stack:
        found = {}
        for actor, who in ACTORS.items():
            found[actor] = await logged_in(two_groups, who)
            stack.callback(found[actor].close)
        change(two_groups, ACTORS["revoked"], revoked=True)
        change(two_groups, ACTORS["expired"], issued=LONG_AGO)
        yield found


class Room:
    """One actor's socket in a folder's notebook."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket

    @classmethod
    async def enter(cls, browser: Browser, file_id: str) -> Room | None:
        """None if there is no way in."""
        url = browser.socket_url(f"api/collaboration/room/json:notebook:{file_id}", {})
        try:
            socket = await websocket_connect(HTTPRequest(url, headers=browser.socket_headers()))
        except HTTPClientError:
            return None
        if await socket.read_message() is None:
            socket.close()
            assert (socket.close_code, socket.close_reason) == (
                4404,
                "no file has this id; it may have been deleted",
            )
            return None
        return cls(socket)

    async def content(self) -> Doc[Any]:
        """The document as it is after everything sent so far: a socket's frames are handled in order."""
        doc: Doc[Any] = Doc()
        await self.send(frames.sync_step1(b"\x00"))
        answer = await read(self.socket, lambda frame: frame[:2] == b"\x00\x01")
        doc.apply_update(frames.Reader(answer[2:]).bytes())
        return doc

    async def send(self, frame: bytes) -> None:
        await self.socket.write_message(frame, binary=True)

    async def does(self, kind: str, mark: str) -> bool:
        """Send a message of this type; whether it did what it is for."""
        if kind == "sync step 1":
            return "cells" in set((await self.content()).keys())
        if kind in ("update", "sync step 2 with an edit"):
            doc: Doc[Any] = Doc()
            doc.get(mark, type=Text).insert(0, mark)
            wrap = frames.sync_update if kind == "update" else frames.sync_step2
            await self.send(wrap(doc.get_update()))
            return str((await self.content()).get(mark, type=Text)) == mark
        return await self._answered(kind)

    async def _answered(self, kind: str) -> bool:
        if kind == "save":
            await self.send(frames.save_request(7))
            reply = await read(self.socket, lambda frame: frame[:1] == b"\x02" and b"responseTo" in frame)
            return b'"success"' in reply
        if kind == "unknown type":
            before = (await self.content()).get_state()
            await self.send(b"\x63\x01\x02")
            return (await self.content()).get_state() != before
        state = frames.PeerState(77, 1, {"user": {"username": "somebody-else"}})
        await self.send(frames.awareness_update([state]) if kind == "awareness" else b"\x03")
        heard = await read(self.socket, lambda frame: frame[:1] == b"\x01")
        return b"somebody-else" not in heard


async def test_every_frame_of_a_document(browsers: dict[str, Browser], jp_serverapp: Any) -> None:
    ids = jp_serverapp.web_app.settings["file_id_manager"]
    wrong: list[str] = []
    cells: dict[tuple[str, str], list[str]] = {(kind, folder): [] for kind in FRAMES for folder in LOOK}
    for folder in LOOK:
        for actor, browser in browsers.items():
            room = await Room.enter(browser, ids.index(f"{folder}/work.ipynb"))
            assert (room is not None) == (actor in LOOK[folder]), (actor, folder)
            for kind, who in FRAMES.items():
                did = room is not None and await room.does(kind, f"{actor} {kind}".replace(" ", "-"))
                if did is not (actor in who[folder]):
                    wrong.append(f"{kind} in {folder} by {actor}: {did}")
                cells[kind, folder].append("yes" if did else "no" if room else "no socket")
            if room is not None:
                room.socket.close()
                await closed(room.socket)
    assert not wrong, "\n".join(wrong)
    lines = [f"| {kind} | {whose(folder)} | {' | '.join(row)} |" for (kind, folder), row in cells.items()]
    write_or_compare("Messages of a document's socket", lines)


def test_every_message_to_a_kernel() -> None:
    roles = {actor: Role(actor) for actor in ("tutor", "participant", "observer", "organiser")}
    lines = []
    for kind in sorted({*REQUESTS, *HARMLESS}):
        cells = []
        for actor in ACTORS:
            if actor in roles or actor == "server token":
                kernel = channel(roles.get(actor), "v1")
                kernel.handle_incoming_message(encoded(message(kind, {}), "v1"))
                passed = bool(kernel.passed)
                assert passed == (actor != "observer" or kind in HARMLESS), (actor, kind)
                cells.append("yes" if passed else "no")
            else:
                cells.append("no socket")  # as the table of endpoints says of the kernel's socket
        lines.append(f"| {kind} | own | {' | '.join(cells)} |")
    write_or_compare("Messages to a kernel", lines)


COMMANDS = ("add", "demo", "doctor", "init", "links", "move", "relink", "revoke", "start")


def test_every_command(two_groups: Event) -> None:
    """Commands work on the state folder and have no other way in: who can't write there can do nothing."""
    known = {(c.name or c.callback.__name__) for c in commands.registered_commands if c.callback is not None}
    assert known == set(COMMANDS), "a new command: say here who may use it"
    assert two_groups.state_dir.stat().st_mode & 0o077 == 0
    for file in two_groups.state_dir.glob("*.json"):
        assert file.stat().st_mode & 0o077 == 0, file
    cells = " | ".join("no" for _ in ACTORS)
    write_or_compare("Commands (only for who has the server's user's rights on its machine)", [
        f"| jupyter collab {name} | - | {cells} |" for name in COMMANDS
    ])  # fmt: skip
