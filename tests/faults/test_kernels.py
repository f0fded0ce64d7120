"""A notebook's room and its kernel have lives of their own."""

from __future__ import annotations

from jupyter_collab_ext.simulated import Group
from tests.support.servers import RealServer, real_server
from tests.support.waiting import wait_until

SHORT = "--JupyterCollab.document_cleanup_delay=0.2"


async def test_a_kernel_goes_on_when_everybody_has_left_and_the_room_is_freed() -> None:
    with real_server(SHORT) as server:
        server.write_notebook("work.ipynb")
        body = {"path": "work.ipynb", "name": "", "type": "notebook", "kernel": {"name": "python3"}}
        started = server.request("POST", "api/sessions", body)
        assert started.status_code == 201, started.text
        kernel = started.json()["kernel"]["id"]
        async with Group([server.browser()] * 2, "work.ipynb", seed=1) as group:
            await group.until_synced()
            await group.work(1)
        await wait_until(lambda: not _rooms(server), 30, "the room is freed")
        (session,) = server.request("GET", "api/sessions").json()
        assert session["kernel"]["id"] == kernel
        async with Group([server.browser()], "work.ipynb", seed=2, watchers=1) as group:
            await group.until_synced()
            (session,) = server.request("GET", "api/sessions").json()
            assert session["kernel"]["id"] == kernel
        assert server.request("DELETE", f"api/sessions/{session['id']}").status_code == 204


def _rooms(server: RealServer) -> list[str]:
    rooms = server.request("GET", "api/collaboration/status").json()["rooms"]
    return [room["path"] for room in rooms]
