"""Two servers on one folder and one Redis: one document, one writer of the file, one list of people."""

from __future__ import annotations

import asyncio

import pytest

from jupyter_collab_ext.simulated import Group
from jupyter_collab_ext.simulated.notebook_edits import cell_ids, read_document
from tests.support.matrix import Case
from tests.support.site import Site
from tests.support.waiting import each

VALKEY, REDIS = "valkey", "redis"
CELLS = 20


@pytest.mark.over((2, REDIS), (2, VALKEY))
async def test_a_class_opens_a_notebook_at_both_at_the_same_moment(
    case: Case, place: Site, repeats: int
) -> None:
    for round in range(repeats):
        path = f"both-{round}.ipynb"
        before = place.servers[0].write_notebook(path, CELLS).read_bytes()
        browsers = [place.browser(place.server_of(number)) for number in range(14)]
        async with Group(browsers, path, seed=round, watchers=14) as group:
            await group.until_synced()
            await group.until_settled(30)
            assert len({client.session.session_id for client in group.clients if client.session}) == 1
            for client in group.clients:
                assert cell_ids(client.doc) == [f"seed-{number}" for number in range(CELLS)]
            replayed = await place.servers[0].replayed(path)
            assert read_document(replayed) == read_document(group.clients[0].doc)
        assert (place.root / path).read_bytes() == before, "nobody wrote anything"


@pytest.mark.over((2, VALKEY), (2, REDIS))
async def test_connections_tear_while_a_new_notebook_is_opened(case: Case, place: Site, repeats: int) -> None:
    for round in range(2 * repeats):
        path = f"torn-{round}.ipynb"
        place.servers[0].write_notebook(path, CELLS)
        browsers = [place.browser(place.server_of(number)) for number in range(6)]
        async with Group(browsers, path, seed=round, watchers=6) as group:

            async def tear() -> None:
                for line in place.lines:
                    line.cut()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(each(0.02, 0.5, tear))
                tasks.create_task(group.until_synced())
            await group.until_settled(30)
            assert [client.reloads_forced for client in group.clients] == [0] * 6
            assert len({client.session.session_id for client in group.clients if client.session}) == 1
            for client in group.clients:
                assert cell_ids(client.doc) == [f"seed-{number}" for number in range(CELLS)]
