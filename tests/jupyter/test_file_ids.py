"""File ids stay with their files over saves, whichever manager keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jupyter_server_fileid.manager import ArbitraryFileIdManager, LocalFileIdManager
from pycrdt import Array, Text

from jupyter_collab_ext import file_ids
from jupyter_collab_ext.extension import JupyterCollab
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from tests.support.jupyter_wait import read, until

KEY = DocumentKey(NOTEBOOK, "work.ipynb")


@pytest.fixture(params=[ArbitraryFileIdManager, LocalFileIdManager])
def jp_server_config(request: pytest.FixtureRequest, jp_server_config: dict[str, Any]) -> dict[str, Any]:
    """Both kinds of managers."""
    jp_server_config["FileIdExtension"] = {"file_id_manager_class": request.param}
    return jp_server_config


def _says(path: Path, word: str) -> bool:
    return word in path.read_text()


async def test_a_save_by_us_leaves_the_file_its_id(
    collab: JupyterCollab, room: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook("work.ipynb", "x = 1")
    _, names = await session("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    assert collab.service is not None
    engine = collab.service.engine
    assert engine is not None
    doc = await engine.live_document(KEY)
    for number in range(3):
        inode = path.stat().st_ino
        source: Text = doc.get("cells", type=Array)[0]["source"]
        source += f" # {number}"
        word = f"# {number}"
        await until(partial(_says, path, word), "the save")
        assert path.stat().st_ino != inode
        assert (await session("work.ipynb"))[1]["fileId"] == names["fileId"]
        again = await room("work.ipynb")
        await read(again, lambda message: message[:2] == b"\x00\x00")
    assert [status.key for status in engine.rooms()] == [KEY]


async def test_a_file_moved_behind_jupyter_keeps_its_id(
    collab: JupyterCollab, room: Any, session: Any, notebook: Callable[..., Path]
) -> None:
    path = notebook("work.ipynb", "x = 1")
    _, names = await session("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    assert collab.service is not None
    engine = collab.service.engine
    assert engine is not None
    await until(lambda: all(status.saved for status in engine.rooms()), "the first look at the file")
    (path.parent / "week").mkdir()
    path.rename(path.parent / "week" / "moved.ipynb")
    await until(
        lambda: [status.key.path for status in engine.rooms()] == ["week/moved.ipynb"], "the room has moved"
    )
    _, moved = await session("week/moved.ipynb")
    assert moved == {**moved, "fileId": names["fileId"], "sessionId": names["sessionId"]}
    assert socket.close_code is None


def test_an_inode_that_a_deleted_file_had_is_used_again(tmp_path: Path) -> None:
    ids = LocalFileIdManager(root_dir=str(tmp_path), db_path=str(tmp_path / "ids.db"))
    first, second = tmp_path / "first.ipynb", tmp_path / "second.ipynb"
    first.write_text("1")
    second.write_text("2")
    kept, gone = ids.index("first.ipynb"), ids.index("second.ipynb")
    before, reused = first.stat().st_ino, second.stat().st_ino
    second.replace(first)  # the first file has now the inode that the database knows as the second's
    assert first.stat().st_ino == reused
    file_ids.replaced(ids, "first.ipynb", before)
    assert ids.get_path(str(kept)) == "first.ipynb"
    assert ids.index("first.ipynb") == kept
    assert ids.get_path(str(gone)) is None
    # Another file's, or an unknown one's, changes nothing.
    file_ids.replaced(ids, "first.ipynb", 1)
    file_ids.replaced(ids, "nowhere.ipynb", before)
    assert ids.get_path(str(kept)) == "first.ipynb"
    connection: sqlite3.Connection = ids.con
    assert connection.execute("SELECT COUNT(*) FROM Files WHERE path LIKE '%first%'").fetchone() == (1,)
