"""A class opens a notebook at the same moment: one copy of each cell, however they race."""

from __future__ import annotations

import asyncio

from jupyter_collab_ext.simulated import Group
from jupyter_collab_ext.simulated.notebook_edits import cell_ids, read_document
from tests.support.servers import RealServer

CLIENTS = 30
CELLS = 20


async def test_thirty_join_a_cold_room(server: RealServer, repeats: int) -> None:
    for round in range(repeats):
        path = f"storm-{round}.ipynb"
        file = server.write_notebook(path, CELLS)
        before = file.read_bytes()
        # a browser of its own for each, so that the session calls race as well
        browsers = [server.browser() for _ in range(CLIENTS)]
        async with Group(browsers, path, seed=round, watchers=CLIENTS) as group:
            await group.until_synced()
            await group.until_settled(30)
            assert len({client.session.session_id for client in group.clients if client.session}) == 1
            for client in group.clients:
                assert cell_ids(client.doc) == [f"seed-{number}" for number in range(CELLS)]
            replayed = await server.replayed(path)
            assert read_document(replayed) == read_document(group.clients[0].doc)
        assert file.read_bytes() == before, "nobody wrote anything"
        for browser in browsers:
            browser.close()


async def test_all_but_one_leave_and_come_back_at_once(server: RealServer, repeats: int) -> None:
    server.write_notebook("back.ipynb", CELLS)
    async with Group([server.browser()] * 7, "back.ipynb", seed=1, watchers=6) as group:
        await group.until_synced()
        for _ in range(repeats):
            for client in group.clients[1:]:
                client.cut()
            await asyncio.gather(group.work(0.5), group.until_synced())
        await group.until_settled(30)
        assert [len(cell_ids(client.doc)) for client in group.clients] == [
            len(set(cell_ids(client.doc))) for client in group.clients
        ]
