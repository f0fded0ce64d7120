"""ypy-websocket 0.12.4 with y-py 0.6.2: the libraries before pycrdt, still found in older tools."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.conftest import OpenNode, cells_on_disk, sources, write_notebook
from tests.interop.driver import DRIVERS, Driver
from tests.interop.environments import client_environment
from tests.interop.test_y_websocket import synced
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually

OpenYpy = Callable[[str, str], Driver]


@pytest.fixture
def open_ypy(clients: ExitStack, tmp_path: Path) -> OpenYpy:
    """Opens a room's address with ypy-websocket's provider."""
    python = client_environment("ypy").python

    def open_as(name: str, url: str) -> Driver:
        driver = clients.enter_context(
            Driver([str(python), str(DRIVERS / "ypy_client.py")], tmp_path / f"{name}.log")
        )
        driver.call("connect", url=url)
        return driver

    return open_as


def test_a_text_file_is_edited_from_both_sides(
    server: JupyterProcess, open_ypy: OpenYpy, open_node: OpenNode
) -> None:
    (server.root / "notes.txt").write_text("héllo 🙂\n", encoding="utf-8")
    old = open_ypy("old", server.room_url("notes.txt", "text", "file"))
    new = synced(open_node(server, "new", "notes.txt", "text", "file"))
    eventually(
        lambda: old.call("text", name="source") == "héllo 🙂\n", what="the file's text at the old client"
    )

    old.call("insert", name="source", at=0, text="from y-py, ")
    eventually(lambda: new.call("text", name="source") == "from y-py, héllo 🙂\n", what="y-py's edit at yjs")
    new.call("insert", name="source", at=0, text="from yjs, ")

    wanted = "from yjs, from y-py, héllo 🙂\n"
    eventually(lambda: old.call("text", name="source") == wanted, what="yjs's edit at y-py")
    eventually(
        lambda: (server.root / "notes.txt").read_text(encoding="utf-8") == wanted, what="the file to follow"
    )


def test_two_of_them_share_a_text_file(server: JupyterProcess, open_ypy: OpenYpy) -> None:
    (server.root / "notes.txt").write_text("start\n", encoding="utf-8")
    url = server.room_url("notes.txt", "text", "file")
    ada, grace = open_ypy("ada", url), open_ypy("grace", url)
    eventually(lambda: ada.call("text", name="source") == "start\n", what="ada's first sync")
    eventually(lambda: grace.call("text", name="source") == "start\n", what="grace's first sync")

    ada.call("insert", name="source", at=0, text="ada ")
    eventually(lambda: grace.call("text", name="source") == "ada start\n", what="ada's edit at grace")
    grace.call("insert", name="source", at=4, text="grace ")

    eventually(lambda: ada.call("text", name="source") == "ada grace start\n", what="grace's edit at ada")


def test_a_notebook_is_edited_from_both_sides(
    server: JupyterProcess, open_ypy: OpenYpy, open_node: OpenNode
) -> None:
    write_notebook(server, "work.ipynb", "x = 1", "y = 2")
    old = open_ypy("old", server.room_url("work.ipynb"))
    new = synced(open_node(server, "new"))
    eventually(lambda: sources(old.call("cells")) == ["x = 1", "y = 2"], what="the cells at the old client")

    new.call("insertInCell", index=1, at=5, text="0")
    new.call("addCell", id="new", source="z = 3")
    eventually(lambda: len(old.call("cells")) == 3, what="the new cell at y-py")
    old.call("insert_in_cell", index=2, at=5, text="00")

    wanted = ["x = 1", "y = 20", "z = 300"]
    eventually(lambda: sources(new.call("cells")) == wanted, what="y-py's edit at yjs")
    eventually(lambda: sources(old.call("cells")) == wanted, what="yjs's edits at y-py")
    eventually(lambda: sources(cells_on_disk(server)) == wanted, what="the file to follow")
