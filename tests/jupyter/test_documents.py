"""Shared documents for other server extensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from jupyter_ydoc import YNotebook, YUnicode

from jupyter_collab_ext.documents import RoomNotFound
from jupyter_collab_ext.extension import JupyterCollab
from tests.support.jupyter_wait import read, until

WORK: dict[str, Any] = {"path": "work.ipynb", "content_type": "notebook", "file_format": "json"}


def is_step1(message: bytes) -> bool:
    """Sync step 1."""
    return message[:2] == b"\x00\x00"


async def test_a_closed_document_is_none(collab: JupyterCollab, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb", "x = 1")
    assert await collab.get_document(**WORK) is None


async def test_create_opens_it(collab: JupyterCollab, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb", "x = 1")
    document = await collab.get_document(**WORK, create=True)
    assert isinstance(document, YNotebook)
    assert document.source["cells"][0]["source"] == "x = 1"


async def test_by_room_and_by_path_is_the_same_live_view(
    collab: JupyterCollab, room: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb", "x = 1")
    await read(await room("work.ipynb"), is_step1)
    _, names = await session("work.ipynb")
    by_room = await collab.get_document(room_id=f"json:notebook:{names['fileId']}", copy=False)
    by_path = await collab.get_document(**WORK, copy=False)
    assert by_room is by_path
    assert isinstance(by_room, YNotebook)
    assert collab.ywebsocket_server is not None
    found = await collab.ywebsocket_server.get_room(f"json:notebook:{names['fileId']}")
    assert found._document is by_room
    assert found.ydoc is by_room.ydoc
    assert found.file_type == "notebook"


async def test_what_server_code_writes_everybody_sees(
    collab: JupyterCollab, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook("work.ipynb", "x = 1")
    socket = await room("work.ipynb")
    await read(socket, is_step1)
    document = await collab.get_document(**WORK, copy=False)
    assert document is not None
    source = cast(YNotebook, document).ycells[0]["source"]
    source += "  # by the server"
    await read(socket, lambda message: message[:2] == b"\x00\x02" and b"# by the server" in message)
    await until(lambda: "# by the server" in path.read_text(), "it is in the file")


async def test_a_copy_keeps_what_is_written_to_itself(
    collab: JupyterCollab, room: Any, notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb", "x = 1")
    await read(await room("work.ipynb"), is_step1)
    copy = await collab.get_document(**WORK)
    live = await collab.get_document(**WORK, copy=False)
    assert copy is not None
    assert live is not None
    source = cast(YNotebook, copy).ycells[0]["source"]
    source += "  # mine"
    assert live.source["cells"][0]["source"] == "x = 1"
    assert copy.ydoc.client_id != live.ydoc.client_id


async def test_text_is_text(collab: JupyterCollab, jp_root_dir: Path) -> None:
    (jp_root_dir / "notes.md").write_text("hello\n")
    document = await collab.get_document(
        path="notes.md", content_type="file", file_format="text", copy=False, create=True
    )
    assert isinstance(document, YUnicode)
    assert document.source == "hello\n"


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"path": "work.ipynb"},
        {"path": "work.ipynb", "content_type": "notebook"},
        {"room_id": "json:notebook:x", "path": "work.ipynb"},
        {"room_id": "json:notebook:unknown", "create": True},
        {"room_id": "JupyterLab:globalAwareness"},
        {"path": "../x", "content_type": "notebook", "file_format": "json"},
    ],
)
async def test_a_wrong_choice_of_arguments_says_so(collab: JupyterCollab, which: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await collab.get_document(**which)


async def test_a_room_of_another_life_is_not_found(collab: JupyterCollab) -> None:
    assert await collab.get_document(room_id="json:notebook:unknown") is None


@pytest.mark.parametrize("name", ["json:notebook:unknown", "nonsense", "JupyterLab:globalAwareness"])
async def test_no_such_room(collab: JupyterCollab, name: str) -> None:
    assert collab.ywebsocket_server is not None
    with pytest.raises(RoomNotFound):
        await collab.ywebsocket_server.get_room(name)


async def test_a_room_is_not_opened_by_looking(
    collab: JupyterCollab, session: Any, notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    _, names = await session("work.ipynb")
    assert collab.ywebsocket_server is not None
    with pytest.raises(RoomNotFound):
        await collab.ywebsocket_server.get_room(f"json:notebook:{names['fileId']}")
    assert collab.service is not None
    assert collab.service.engine is not None
    assert collab.service.engine.rooms() == []
