"""The room's socket: handshake, close codes, and one person's faults that stay his own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, create_sync_message, handle_sync_message

from jupyter_collab_ext.extension import JupyterCollab
from tests.support.jupyter_wait import closed, read, refused, until

LOBBY = "JupyterLab:globalAwareness"
LIMIT = 64 * 1024
STEP1 = b"\x00\x00"


@pytest.fixture
def collab_config() -> dict[str, Any]:
    """A small limit, so that a test can go over it."""
    return {"max_message_size": LIMIT}


def is_step1(message: bytes) -> bool:
    """Sync step 1."""
    return message[:2] == STEP1


def update_of(change: Callable[[Doc[Any]], None], before: bytes) -> bytes:
    """The sync update frame that makes ``change`` after the update ``before``."""
    doc: Doc[Any] = Doc()
    doc.apply_update(before)
    state = doc.get_state()
    change(doc)
    update = doc.get_update(state)
    return b"\x00\x02" + varuint(len(update)) + update


def varuint(value: int) -> bytes:
    """lib0's variable length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


async def content(socket: Any) -> Doc[Any]:
    """Sync a fresh replica over ``socket`` and return it."""
    doc: Doc[Any] = Doc()
    await read(socket, is_step1)
    await socket.write_message(create_sync_message(doc), binary=True)
    step2 = await read(socket, lambda message: message[:2] == b"\x00\x01")
    handle_sync_message(step2[1:], doc)
    return doc


# --- the handshake --------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ["json:notebook:some-id", LOBBY])
async def test_handshake_without_login_is_403(dial: Any, server: Any, room: str) -> None:
    handshake = dial("api/collaboration/room", room, headers={"Authorization": "token wrong"})
    assert await refused(handshake) == 403


async def test_foreign_origin_is_403_for_a_cookie(dial: Any, cookie: str) -> None:
    headers = {"Authorization": "", "Cookie": cookie}
    ours = await dial("api/collaboration/room", LOBBY, headers=dict(headers))
    await read(ours, is_step1)
    foreign = dial("api/collaboration/room", LOBBY, headers={**headers, "Origin": "https://evil.example"})
    assert await refused(foreign) == 403


async def test_a_plain_get_is_refused(jp_fetch: Any, server: Any) -> None:
    assert await refused(jp_fetch("api/collaboration/room", LOBBY)) == 400


async def test_no_compression_is_negotiated(dial: Any, server: Any) -> None:
    socket = await dial("api/collaboration/room", LOBBY, compression_options={})
    assert "Sec-WebSocket-Extensions" not in socket.headers


# --- documents ------------------------------------------------------------------------------------


async def test_server_speaks_first(room: Any, notebook: Callable[..., Path]) -> None:
    notebook("folder/my work.ipynb", "x = 1")
    doc = await content(await room("folder/my work.ipynb"))
    assert str(doc.get("cells", type=Array)[0]["source"]) == "x = 1"


async def test_an_edit_reaches_the_other_and_the_file(room: Any, notebook: Callable[..., Path]) -> None:
    path = notebook("work.ipynb", "x = 1")
    ann, bob = await room("work.ipynb"), await room("work.ipynb")
    before = (await content(ann)).get_update()
    await content(bob)

    def edit(doc: Doc[Any]) -> None:
        source = doc.get("cells", type=Array)[0]["source"]
        source += "\ny = 2"

    await ann.write_message(update_of(edit, before), binary=True)
    await read(bob, lambda message: message[:2] == b"\x00\x02" and b"y = 2" in message)
    await until(lambda: "y = 2" in path.read_text(), "the edit is in the file")


async def test_lobby_needs_no_session(dial: Any, server: Any) -> None:
    socket = await dial("api/collaboration/room", LOBBY)
    await read(socket, is_step1)


@pytest.mark.parametrize(
    "name",
    ["json:notebook:unknown-id", "no-room", "json:notebook", "JupyterLab:other", "%00", "json:notebook:"],
)
async def test_no_such_room_is_4404(dial: Any, server: Any, name: str) -> None:
    socket = await dial("api/collaboration/room", name)
    code, reason = await closed(socket)
    assert code == 4404
    assert reason


async def test_missing_file_is_4404_and_others_go_on(room: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb", "x = 1")
    good = await room("work.ipynb")
    await read(good, is_step1)
    code, reason = await closed(await room("nowhere.ipynb"))
    assert code == 4404
    assert reason is not None
    assert "nowhere.ipynb" in reason
    await good.write_message(create_sync_message(Doc()), binary=True)
    await read(good, lambda message: message[:2] == b"\x00\x01")


async def test_unreadable_notebook_is_4400(room: Any, jp_root_dir: Path) -> None:
    (jp_root_dir / "broken.ipynb").write_text("{ not json")
    code, reason = await closed(await room("broken.ipynb"))
    assert code == 4400
    assert reason


async def test_directory_is_4400(server: Any, collab: JupyterCollab, dial: Any, jp_root_dir: Path) -> None:
    (jp_root_dir / "folder").mkdir()
    assert collab.service is not None
    file_id = collab.service.file_ids.index("folder")
    code, reason = await closed(await dial("api/collaboration/room", f"json:notebook:{file_id}"))
    assert (code, reason) == (4400, "folder is a folder")


async def test_path_outside_the_root_is_4404(
    server: Any, collab: JupyterCollab, dial: Any, jp_root_dir: Path
) -> None:
    (jp_root_dir.parent / "secret.ipynb").write_text("{}")
    assert collab.service is not None
    file_id = collab.service.file_ids.index("../secret.ipynb")
    code, reason = await closed(await dial("api/collaboration/room", f"json:notebook:{file_id}"))
    assert code == 4404
    assert reason == "this path is not in the server's folder"


async def test_link_out_of_the_root_is_refused(room: Any, jp_root_dir: Path) -> None:
    secret = jp_root_dir.parent / "secret.txt"
    secret.write_text("secret")
    (jp_root_dir / "link.txt").symlink_to(secret)
    code, _ = await closed(await room("link.txt", "text", "file"))
    assert code == 4404


async def test_text_files_are_served(room: Any, jp_root_dir: Path) -> None:
    from pycrdt import Text

    (jp_root_dir / "notes.md").write_text("hello\n")
    doc = await content(await room("notes.md", "text", "file"))
    assert str(doc.get("source", type=Text)) == "hello\n"


async def test_extra_messages_go_to_those_who_ask(
    dial: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb", "x = 1")
    _, names = await session("work.ipynb")
    where = "api/collaboration/room", f"json:notebook:{names['fileId']}"
    asking = await dial(*where, params={"sessionId": names["sessionId"], "collab": "stored,role,unknown"})
    stock = await dial(*where, params={"sessionId": names["sessionId"]})
    before = (await content(asking)).get_update()

    def edit(doc: Doc[Any]) -> None:
        source = doc.get("cells", type=Array)[0]["source"]
        source += "\ny = 2"

    await content(stock)
    await asking.write_message(update_of(edit, before), binary=True)
    stored = await read(asking, lambda message: message[:1] == b"\x02" and b'"stored"' in message)
    assert json.loads(stored[stored.index(b"{") :])["n"] >= 1

    def none_is_raw(message: bytes) -> bool:
        assert message[:1] != b"\x02"
        return message[:2] == b"\x00\x02" and b"y = 2" in message

    await read(stock, none_is_raw)


async def test_old_session_of_another_history_is_1003(
    dial: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    _, names = await session("work.ipynb")
    socket = await dial(
        "api/collaboration/room", f"json:notebook:{names['fileId']}", params={"sessionId": "made-up"}
    )
    code, reason = await closed(socket)
    assert code == 1003
    assert reason is not None
    assert json.loads(reason)["reason"] == "unknown_session"


# --- faults of one client -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 2])
async def test_too_big_is_1009_with_a_reason(room: Any, notebook: Callable[..., Path], size: int) -> None:
    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await socket.write_message(b"\x01" * size, binary=True)
    code, reason = await closed(socket)
    assert code == 1009
    assert reason is not None
    assert str(LIMIT) in reason


async def test_far_too_big_is_cut_off_with_1009(room: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await socket.write_message(b"\x01" * (LIMIT * 2 + 1), binary=True)
    code, _ = await closed(socket)
    assert code == 1009


async def test_a_text_message_is_refused(room: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await socket.write_message("hello")
    code, reason = await closed(socket)
    assert code == 1003
    assert reason == "this protocol has binary messages only"


@pytest.mark.parametrize(
    "frame",
    [b"\x00\x02\x05abc", b"\x00\x07\x00", b"\x63", b"\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b""],
)
async def test_a_malformed_frame_hurts_its_sender_only(
    room: Any, notebook: Callable[..., Path], frame: bytes
) -> None:
    path = notebook("work.ipynb", "x = 1")
    bad, ann, bob = await room("work.ipynb"), await room("work.ipynb"), await room("work.ipynb")
    before = (await content(ann)).get_update()
    await content(bob)
    await content(bad)
    await bad.write_message(frame, binary=True)

    def edit(doc: Doc[Any]) -> None:
        source = doc.get("cells", type=Array)[0]["source"]
        source += "\ny = 2"

    await ann.write_message(update_of(edit, before), binary=True)
    await read(bob, lambda message: message[:2] == b"\x00\x02" and b"y = 2" in message)
    await until(lambda: "y = 2" in path.read_text(), "the edit is in the file")


async def test_random_bytes_never_stop_the_room(room: Any, notebook: Callable[..., Path]) -> None:
    import random

    chance = random.Random(7)
    notebook("work.ipynb", "x = 1")
    good = await room("work.ipynb")
    await content(good)
    for _ in range(30):
        bad = await room("work.ipynb")
        for _ in range(5):
            if bad.protocol is None:
                break
            try:
                await bad.write_message(chance.randbytes(chance.randrange(1, 60)), binary=True)
            except Exception:  # noqa: BLE001, S110  # the server may have closed it already
                break
        bad.close()
    await good.write_message(create_sync_message(Doc()), binary=True)
    await read(good, lambda message: message[:2] == b"\x00\x01")


async def test_a_client_that_vanishes_leaves_the_room(
    room: Any, notebook: Callable[..., Path], collab: JupyterCollab
) -> None:
    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, is_step1)
    assert collab.current_activity() == ["work.ipynb"]
    socket.protocol.stream.close()
    await until(lambda: collab.current_activity() == [], "the person has left")


async def test_typing_counts_as_activity(room: Any, notebook: Callable[..., Path], server: Any) -> None:
    from datetime import UTC, datetime

    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, is_step1)
    server.web_app.settings["api_last_activity"] = datetime(2000, 1, 1, tzinfo=UTC)
    await socket.write_message(create_sync_message(Doc()), binary=True)
    await until(lambda: server.web_app.last_activity().year > 2000, "activity was noted")


async def test_nagle_is_off(room: Any, notebook: Callable[..., Path], collab: JupyterCollab) -> None:
    import socket as sockets

    notebook("work.ipynb")
    await read(await room("work.ipynb"), is_step1)
    assert collab.service is not None
    watched = list(collab.service.idle_watch._sockets)
    assert watched
    for transport in watched:
        assert transport._stream.socket.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)


async def test_handshake_waits_for_the_engine(jp_serverapp: Any, http_server: Any, jp_ws_fetch: Any) -> None:
    handshake = jp_ws_fetch("api/collaboration/room", LOBBY)
    try:
        done, _ = await asyncio.wait([handshake], timeout=0.3)
        assert not done
        await jp_serverapp.extension_manager.start_all_extensions()
        socket = await handshake
        await read(socket, is_step1)
        socket.close()
        await closed(socket)
    finally:
        await jp_serverapp.extension_manager.stop_all_extensions()
