"""What the contents API does reaches the engine within the request; a stock save rolls nobody back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import nbformat
import pytest
from jupyter_ydoc import YNotebook
from pycrdt import Doc

from jupyter_collab_ext.extension import JupyterCollab
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from tests.support.jupyter_wait import read, refused, until


@pytest.fixture(params=["async", "sync"])
def jp_server_config(request: pytest.FixtureRequest, jp_server_config: dict[str, Any]) -> dict[str, Any]:
    """Both kinds of contents managers."""
    if request.param == "sync":
        manager = "jupyter_server.services.contents.largefilemanager.LargeFileManager"
        jp_server_config["ServerApp"]["contents_manager_class"] = manager
    return jp_server_config


pytestmark = pytest.mark.filterwarnings("ignore:.*ContentsManager.*:DeprecationWarning")


@pytest.fixture
def told(collab: JupyterCollab) -> list[tuple[str, ...]]:
    """What the engine is told."""
    service = collab.service
    assert service is not None
    calls: list[tuple[str, ...]] = []
    renamed, deleted = service.renamed, service.deleted

    async def noting_rename(old: str, new: str) -> None:
        calls.append(("renamed", old, new))
        await renamed(old, new)

    async def noting_delete(path: str) -> None:
        calls.append(("deleted", path))
        await deleted(path)

    service.renamed = noting_rename  # type: ignore[method-assign]  # watched
    service.deleted = noting_delete  # type: ignore[method-assign]  # watched
    return calls


def rename(jp_fetch: Any, old: str, new: str) -> Any:
    """The request of a file browser's rename."""
    return jp_fetch("api/contents", old, method="PATCH", body=json.dumps({"path": new}))


async def test_rename_is_told_once_within_the_request(
    jp_fetch: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("old.ipynb")
    answer = await rename(jp_fetch, "old.ipynb", "new.ipynb")
    assert json.loads(answer.body)["path"] == "new.ipynb"
    assert told == [("renamed", "old.ipynb", "new.ipynb")]


async def test_a_rename_that_fails_is_not_told(
    jp_fetch: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("old.ipynb")
    notebook("taken.ipynb")
    assert await refused(rename(jp_fetch, "old.ipynb", "taken.ipynb")) == 409
    assert await refused(rename(jp_fetch, "nowhere.ipynb", "new.ipynb")) in (404, 500)
    assert told == []


async def test_an_update_without_a_new_path_tells_nothing(
    jp_fetch: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("old.ipynb")
    await rename(jp_fetch, "old.ipynb", "old.ipynb")
    assert told == []


async def test_a_folder_s_rename_and_the_files_ids_in_it(
    jp_fetch: Any, session: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("old/deep/work.ipynb")
    _, before = await session("old/deep/work.ipynb")
    await rename(jp_fetch, "old", "new")
    assert told == [("renamed", "old", "new")]
    status, after = await session("new/deep/work.ipynb")
    assert status == 200
    assert after == before


async def test_file_id_is_moved_when_the_answer_comes(
    collab: JupyterCollab, jp_fetch: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    assert collab.service is not None
    notebook("old.ipynb")
    _, names = await session("old.ipynb")
    await rename(jp_fetch, "old.ipynb", "new.ipynb")
    assert collab.service.file_ids.get_path(names["fileId"]) == "new.ipynb"


async def test_an_id_left_by_a_file_deleted_elsewhere_does_not_stop_a_rename(
    collab: JupyterCollab, session: Any, notebook: Callable[..., Path]
) -> None:
    service = collab.service
    assert service is not None
    _, stale = await session("new.ipynb")
    _, names = await session("old.ipynb")
    service.move_file_id("old.ipynb", "new.ipynb")
    assert service.file_ids.get_id("new.ipynb") == names["fileId"]
    assert service.file_ids.get_path(stale["fileId"]) is None


async def test_delete_is_told(
    jp_fetch: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("work.ipynb")
    await jp_fetch("api/contents", "work.ipynb", method="DELETE")
    assert told == [("deleted", "work.ipynb")]


async def test_listing_copying_and_saving_tell_nothing(
    jp_fetch: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("folder/work.ipynb")
    await jp_fetch("api/contents", "folder")
    await jp_fetch(
        "api/contents", "folder", method="POST", body=json.dumps({"copy_from": "folder/work.ipynb"})
    )
    assert told == []


async def test_server_code_outside_a_request_is_heard_too(
    server: Any, notebook: Callable[..., Path], told: list[tuple[str, ...]]
) -> None:
    notebook("old.ipynb")
    result = server.contents_manager.rename("old.ipynb", "new.ipynb")
    if asyncio.iscoroutine(result):
        await result
    await until(lambda: told == [("renamed", "old.ipynb", "new.ipynb")], "the engine was told")


async def test_the_room_stays_over_a_rename(
    collab: JupyterCollab, jp_fetch: Any, room: Any, notebook: Callable[..., Path]
) -> None:
    notebook("old.ipynb", "x = 1")
    socket = await room("old.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    await rename(jp_fetch, "old.ipynb", "new.ipynb")
    engine = collab.service and collab.service.engine
    assert engine
    await until(lambda: [status.key.path for status in engine.rooms()] == ["new.ipynb"], "the room has moved")
    assert socket.close_code is None
    assert [len(status.people) for status in engine.rooms()] == [1]
    doc = await engine.live_document(DocumentKey(NOTEBOOK, "new.ipynb"))
    await until(lambda: _state(doc).get("path") == "new.ipynb", "the shared state has the path")


def _state(doc: Doc[Any]) -> dict[str, Any]:
    from pycrdt import Map

    return doc.get("state", type=Map).to_py() or {}


async def test_deleting_the_file_closes_the_room(
    jp_fetch: Any, room: Any, notebook: Callable[..., Path]
) -> None:
    from tests.support.jupyter_wait import closed

    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    await jp_fetch("api/contents", "work.ipynb", method="DELETE")
    code, _ = await closed(socket)
    assert code == 4404


async def test_a_stock_put_is_merged_into_the_open_document(
    collab: JupyterCollab, jp_fetch: Any, room: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook("work.ipynb", "x = 1", "y = 2")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    document = await collab.get_document(
        path="work.ipynb", content_type="notebook", file_format="json", copy=False
    )
    assert document is not None
    source = cast(YNotebook, document).ycells[0]["source"]
    source += "  # typed"
    await until(lambda: "# typed" in path.read_text(), "the typing was saved")
    saved = nbformat.read(path, as_version=4)
    saved.cells[1].source = "y = 3"
    body = json.dumps({"type": "notebook", "format": "json", "content": saved})
    await jp_fetch("api/contents", "work.ipynb", method="PUT", body=body)
    await until(lambda: document.source["cells"][1]["source"] == "y = 3", "the save arrived")
    assert document.source["cells"][0]["source"] == "x = 1  # typed"
