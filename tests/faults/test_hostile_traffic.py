"""Files that can't be opened, and frames that can't be read: who sent them is told, all others go on."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from pycrdt import Doc, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jupyter_collab_ext.simulated import (
    Browser,
    Close,
    CollabClient,
    Group,
    Habits,
    SessionRefused,
    frames,
    plain_user,
    request_session,
)
from tests.support.servers import RealServer, judged, real_server

CLOSED_WITHIN = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """One server for all of it: whatever is thrown at it, the next group works in it as well."""
    with real_server() as running:
        yield running


MIB = 2**20


@asynccontextmanager
async def busy_group(server: RealServer, path: str, seconds: float) -> AsyncIterator[Group]:
    """Seven people who write while the body does harm elsewhere or in their own room; afterwards every
    copy must be right and nobody of them may have been disconnected."""
    server.write_notebook(path)
    async with Group([server.browser()] * 7, path, seed=21, habits=Habits(pace=0.1)) as group:
        await group.until_synced()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(group.work(seconds))
            yield group
        report = await judged(server, group)
        assert report.right, str(report)
        assert all(client.traffic.connections == 1 for client in group.clients)
        assert [client.traffic.faults for client in group.clients] == [[]] * len(group.clients)


async def closed_for_good(browser: Browser, path: str, format: str = "json", type: str = "notebook") -> Close:
    """How the server turns away a stock client that opens ``path``."""
    user = plain_user("Eve", random.Random(0))
    client = CollabClient(browser, path, user=user, format=format, type=type, reconnect=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run())
        close = await client.until_ended(CLOSED_WITHIN)
        await client.close()
    return close


async def test_files_that_cannot_be_opened(server: RealServer, seconds: float) -> None:
    (server.root / "folder.ipynb").mkdir()
    (server.root / "torn.ipynb").write_text('{"cells": [{"cell_type": "code", "sou')
    (server.root / "no-notebook.ipynb").write_text('["a list", "not a notebook"]')
    outside = server.root.parent / "secret.ipynb"
    outside.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    os.symlink(outside, server.root / "link.ipynb")
    before = {name: (server.root / name).read_bytes() for name in ("torn.ipynb", "no-notebook.ipynb")}
    async with busy_group(server, "beside.ipynb", seconds):
        browser = server.browser()
        closes = {
            path: await closed_for_good(browser, path)
            for path in (
                "missing.ipynb",
                "torn.ipynb",
                "no-notebook.ipynb",
                "folder.ipynb",
                "../secret.ipynb",
                "/../secret.ipynb",
                "a/../../secret.ipynb",
            )
        }
        print(closes)
        assert all(close.reason for close in closes.values()), "closed without a word"
        assert closes["missing.ipynb"].code == 4404
        assert closes["torn.ipynb"].code == 4400
        assert closes["no-notebook.ipynb"].code == 4400
        for path in ("folder.ipynb", "../secret.ipynb", "/../secret.ipynb", "a/../../secret.ipynb"):
            close = closes[path]
            assert 4400 <= close.code <= 4500 or close.handshake_status in (400, 403, 404), (path, close)
    for name, data in before.items():
        assert (server.root / name).read_bytes() == data, f"{name} was written"
    assert outside.read_bytes().startswith(b'{"cells": []')


async def _raw_socket(browser: Browser, path: str) -> ClientConnection:
    session = await request_session(browser, path)
    url = browser.socket_url(f"api/collaboration/room/{session.room}", {"sessionId": session.session_id})
    return await connect(
        url,
        additional_headers=browser.socket_headers(),
        max_size=None,
        proxy=None,
        compression=None,
    )


async def _send_and_read_to_the_end(socket: ClientConnection, frame: bytes | str) -> Close:
    """Send ``frame`` and read until the server closes: how it did, with code 0 when it goes on instead
    (it answers the SyncStep1 sent after the frame)."""
    try:
        await socket.send(frame)
        await socket.send(frames.sync_step1(b"\x00"))
        async with asyncio.timeout(CLOSED_WITHIN):
            answers = 0
            while answers < 1:
                message = await socket.recv()
                answers += isinstance(message, bytes) and message[:2] == bytes((frames.SYNC, frames.STEP2))
    except ConnectionClosed:
        return Close(socket.close_code or 1006, socket.close_reason or "")
    await socket.close()
    return Close(0)


def _mutated(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _sample_update() -> bytes:
    """An update as a client of another document would send it: text in a cell, and a deletion."""
    doc: Doc[Text] = Doc()
    text = doc.get("source", type=Text)
    text += "what nobody here has"
    del text[2:5]
    return frames.sync_update(doc.get_update())


MALFORMED: dict[str, Callable[[random.Random], bytes]] = {
    "empty": lambda rng: b"",
    "unknown type": lambda rng: b"\x63\x01",
    "unknown sync message": lambda rng: b"\x00\x07\x01\x00",
    "length without bytes": lambda rng: b"\x00\x02\x85\x01",
    "endless number": lambda rng: b"\x00\x02" + b"\xff" * 40,
    "truncated update": lambda rng: _sample_update()[: rng.randint(3, 30)],
    "update of rubbish": lambda rng: frames.sync_update(rng.randbytes(rng.randint(3, 200))),
    "claims a million structs": lambda rng: frames.sync_update(b"\x01\xc0\x84\x3d\x01\x00"),
    "awareness of rubbish": lambda rng: b"\x01" + frames.encode_bytes(rng.randbytes(50)),
    "awareness that is no JSON": lambda rng: (
        b"\x01" + frames.encode_bytes(b"\x01\x05\x01" + frames.encode_string("{no"))
    ),
    "random": lambda rng: rng.randbytes(rng.randint(1, 400)),
}


async def test_malformed_frames(server: RealServer, seconds: float) -> None:
    rng, path = random.Random(5), "malformed.ipynb"
    async with busy_group(server, path, seconds) as group:
        browser = server.browser()
        for name, make in MALFORMED.items():
            close = await _send_and_read_to_the_end(await _raw_socket(browser, path), make(rng))
            # a clear close, or ignored; never the sudden death of the socket
            assert close.code != 1006, f"{name}: {close}"
            assert close.code == 0 or close.reason, f"{name}: closed without a word ({close.code})"
        assert len(group.clients[0].peers) >= 7


async def test_mutated_updates_never_reach_the_others(
    server: RealServer, seconds: float, repeats: int
) -> None:
    rng, path = random.Random(6), "mutated.ipynb"
    async with busy_group(server, path, seconds):
        browser = server.browser()
        for _ in range(10 * repeats):
            frame = _mutated(rng, _sample_update())
            close = await _send_and_read_to_the_end(await _raw_socket(browser, path), frame)
            assert close.code != 1006, f"{frame.hex()}: {close}"


async def test_text_frame_and_oversized_frame(server: RealServer, seconds: float) -> None:
    path = "oversized.ipynb"
    async with busy_group(server, path, seconds):
        browser = server.browser()
        close = await _send_and_read_to_the_end(await _raw_socket(browser, path), "a text message")
        assert close.code != 1006, close
        oversized = frames.sync_update(bytes(65 * MIB))
        close = await _send_and_read_to_the_end(await _raw_socket(browser, path), oversized)
        assert close.code == 1009
        assert close.reason


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_with_the_cookie(server: RealServer, origin: str) -> None:
    server.write_notebook("work.ipynb")
    browser = server.browser()
    await browser.open_link(f"{server.url}/lab?token={server.token}")
    cookie_only = Browser(server.url)
    cookie_only.take_cookies(browser)
    session = await request_session(browser, "work.ipynb")
    path = f"api/collaboration/room/{session.room}"
    url = cookie_only.socket_url(path, {"sessionId": session.session_id})
    headers = cookie_only.socket_headers()
    assert headers, "logged in by cookie"
    async with connect(url, origin=browser.origin, additional_headers=headers, proxy=None) as socket:  # type: ignore[arg-type]  # a NewType of str in websockets
        assert await socket.recv()
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin=origin, additional_headers=headers, proxy=None)  # type: ignore[arg-type]  # a NewType of str in websockets
    assert refused.value.response.status_code == 403


async def test_a_stranger_without_a_login(server: RealServer) -> None:
    server.write_notebook("work.ipynb")
    session = await request_session(server.browser(), "work.ipynb")
    stranger = Browser(server.url)
    with pytest.raises(SessionRefused) as refused:
        await request_session(stranger, "work.ipynb")
    assert refused.value.status == 403
    for room in (session.room, "JupyterLab:globalAwareness"):
        url = stranger.socket_url(f"api/collaboration/room/{room}", {"sessionId": session.session_id})
        with pytest.raises(InvalidStatus) as turned_away:
            await connect(url, proxy=None)
        assert turned_away.value.response.status_code == 403
