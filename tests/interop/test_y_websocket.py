"""y-websocket 3.1.0 with yjs 13.6 in node: the provider that most Yjs applications use, plain."""

from __future__ import annotations

import json
from typing import Any

from tests.interop.conftest import OpenNode, cells_on_disk, sources, write_notebook
from tests.interop.driver import Driver
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually


def test_two_providers_sync_both_ways_and_the_file_follows(
    server: JupyterProcess, open_node: OpenNode
) -> None:
    write_notebook(server, "work.ipynb", "x = 1", "y = 2")
    ada, grace = synced(open_node(server, "ada")), synced(open_node(server, "grace"))

    ada.call("insertInCell", index=0, at=5, text="00 # 🙂")
    grace.call("addCell", id="new", source="z = 3")
    grace.call("insertInCell", index=1, at=0, text="# why\n")

    wanted = ["x = 100 # 🙂", "# why\ny = 2", "z = 3"]
    eventually(lambda: sources(ada.call("cells")) == wanted, what="ada's cells as wanted")
    eventually(lambda: sources(grace.call("cells")) == wanted, what="grace's cells as wanted")
    eventually(lambda: sources(cells_on_disk(server)) == wanted, what="the file to follow")
    assert [cell["id"] for cell in cells_on_disk(server)] == ["cell-0", "cell-1", "new"]
    assert not ada.call("pending")
    assert not grace.call("pending")


def test_awareness_is_exchanged_and_ends_with_the_connection(
    server: JupyterProcess, open_node: OpenNode
) -> None:
    write_notebook(server, "work.ipynb", "x = 1")
    ada, grace = synced(open_node(server, "ada")), synced(open_node(server, "grace"))
    ada_id = str(ada.call("status")["clientId"])

    ada.call("setAwareness", field="user", value={"username": "ada", "name": "Ada"})
    ada.call("setAwareness", field="cursors", value=[{"anchor": 4}])

    def ada_at_grace() -> dict[str, Any]:
        state: dict[str, Any] = grace.call("awareness").get(ada_id, {})
        return state

    eventually(lambda: ada_at_grace().get("cursors") == [{"anchor": 4}], what="ada's cursor at grace")
    # A server that knows who is on the socket may put its own answer here; it must be somebody.
    assert ada_at_grace()["user"]["username"]

    ada.call("disconnect")
    eventually(lambda: not ada_at_grace(), what="ada gone from grace's list")


def test_a_killed_server_is_rejoined_with_the_same_session(
    server: JupyterProcess, open_node: OpenNode
) -> None:
    write_notebook(server, "work.ipynb", "x = 1", "y = 2")
    ada, grace = synced(open_node(server, "ada")), synced(open_node(server, "grace"))
    before = server.session("work.ipynb")
    ada.call("insertInCell", index=0, at=5, text="0")
    eventually(lambda: sources(grace.call("cells"))[0] == "x = 10", what="the edit at grace")
    eventually(lambda: sources(cells_on_disk(server))[0] == "x = 10", what="the edit in the file")

    server.kill()
    eventually(lambda: not ada.call("status")["connected"], what="ada to notice")
    ada.call("insertInCell", index=0, at=6, text="0")
    grace.call("insertInCell", index=1, at=5, text="2")
    server.start()

    wanted = ["x = 100", "y = 22"]
    eventually(lambda: sources(ada.call("cells")) == wanted, what="both offline edits at ada")
    eventually(lambda: sources(grace.call("cells")) == wanted, what="both offline edits at grace")
    closes = ada.call("status")["closes"] + grace.call("status")["closes"]
    assert [close for close in closes if close["code"] == 1003] == []
    eventually(lambda: sources(cells_on_disk(server)) == wanted, what="the file to follow")
    assert server.session("work.ipynb")["fileId"] == before["fileId"]


def test_an_unknown_session_is_told_so_in_words_clients_read(
    server: JupyterProcess, open_node: OpenNode
) -> None:
    write_notebook(server, "work.ipynb", "x = 1")

    stranger = open_node(server, "stranger", sessionId="of-another-life")

    closes = eventually(lambda: stranger.call("status")["closes"], what="the server to close")
    assert closes[0]["code"] == 1003
    reason = json.loads(closes[0]["reason"])
    assert (reason["reason"], reason["reloadable"]) == ("unknown_session", True)


def synced(client: Driver) -> Driver:
    eventually(lambda: client.call("status")["synced"], what="the first sync")
    return client
