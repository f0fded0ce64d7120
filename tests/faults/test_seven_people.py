"""Six people write in one notebook and a tutor watches: nothing is lost, nothing doubled, anywhere."""

from __future__ import annotations

from jupyter_collab_ext.simulated import Group, Habits
from tests.support.servers import RealServer, judged

BUSY = Habits(pace=0.05)
"""Faster than people, so that a short run has every kind of edit many times."""


async def test_nothing_is_lost_or_doubled_in_any_copy(server: RealServer, seconds: float) -> None:
    server.write_notebook("work.ipynb")
    async with Group([server.browser()] * 7, "work.ipynb", seed=3, habits=BUSY) as group:
        await group.until_synced()
        await group.work(seconds)
        report = await judged(server, group)
        print(report)
        assert report.right, str(report)
        assert set(report.copies) >= {"client 6", "fresh joiner", "Redis replayed", "file"}
        deeds = [person.deeds for person in group.people]
        assert all(deed.words for deed in deeds)
        assert sum(deed.cells_moved for deed in deeds)
        assert sum(deed.cells_deleted for deed in deeds)
        assert sum(deed.runs for deed in deeds)
        assert [client.traffic.faults for client in group.clients] == [[]] * len(group.clients)
        assert all(client.traffic.connections == 1 for client in group.clients)


async def test_everything_is_acknowledged_to_those_who_asked(server: RealServer) -> None:
    server.write_notebook("work.ipynb")
    people = Group([server.browser()] * 7, "work.ipynb", seed=4, habits=BUSY, wants=("stored",))
    async with people as group:
        await group.until_synced()
        await group.work(2)
        await group.until_stored(20)
        sent = [client.sync_frames_sent for client in group.clients]
        assert [client.stored for client in group.clients] == sent
        assert not any(
            "refused" in said and said["refused"] for c in group.clients for said in c.side_messages
        )


async def test_a_save_that_is_asked_for_is_answered_when_the_file_has_it(server: RealServer) -> None:
    file = server.write_notebook("work.ipynb")
    async with Group([server.browser()] * 2, "work.ipynb", seed=5, watchers=1, habits=BUSY) as group:
        await group.until_synced()
        await group.work(1)
        assert await group.clients[0].save() in ("success", "skipped")
        words = {word.token for word in group.log.words if word.deleted is None}
        assert words
        text = file.read_text()
        assert {word for word in words if word not in text} == set()
