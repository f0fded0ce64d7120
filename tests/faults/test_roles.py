"""People with links: each is who the server says, and who may only watch changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import GROUP, Person, new_roster
from jupyter_collab_ext.people_file import save
from jupyter_collab_ext.simulated import Browser, Group, Habits, frames, plain_user
from jupyter_collab_ext.simulated.client import CollabClient
from jupyter_collab_ext.simulated.notebook_edits import append_stream, cell_ids, find_cell, insert_cell
from notebook_sync.core.roles import Role
from tests.support.servers import RealServer, judged, real_server
from tests.support.waiting import wait_until

PATH = f"{GROUP}/work.ipynb"


@dataclass
class Event:
    """A server with people: who they are, and their links."""

    server: RealServer
    links: dict[str, str] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)

    async def browser(self, person: str) -> Browser:
        """A profile of its own that has opened the person's link."""
        browser = Browser(self.server.url)
        await browser.open_link(self.links[person])
        return browser


@pytest.fixture
def event() -> Iterator[Event]:
    roster = new_roster()
    for role, name, count in (
        (Role.PARTICIPANT, "Participant", 6),
        (Role.TUTOR, "Tutor", 1),
        (Role.OBSERVER, "Observer", 1),
    ):
        roster = roster.with_people(GROUP, role, name, count)

    def prepare(server: RealServer) -> None:
        server.state_dir.mkdir(mode=0o700)
        save(roster, server.state_dir)
        server.write_notebook(PATH)

    with real_server("--JupyterCollab.people=True", prepare=prepare) as server:
        links = Links(server.state_dir)
        made = {person.id: links.link(f"{server.url}/", person, roster) for person in roster.people.values()}
        yield Event(server, made, dict(roster.people))


async def seven(event: Event) -> list[Browser]:
    """Six participants and the tutor, each logged in by their own link."""
    names = [person.id for person in event.people.values() if person.role is not Role.OBSERVER]
    assert len(names) == 7
    return [await event.browser(name) for name in names]


async def test_an_observer_changes_nothing_and_keeps_watching(event: Event, seconds: float) -> None:
    browsers = [*await seven(event), await event.browser("observer-1")]
    async with Group(browsers, PATH, seed=31, watchers=2, habits=Habits(pace=0.1)) as group:
        await group.until_synced()
        observer = group.clients[-1]
        ids = cell_ids(observer.doc)
        insert_cell(observer.doc, 0, "by-observer", "not allowed")
        _, cell = find_cell(observer.doc, ids[1])
        append_stream(cell, "not allowed either\n")
        observer.send(frames.sync_step2(observer.doc.get_update()))
        assert await observer.save() in ("skipped", "failed")
        await group.work(seconds)
        assert observer.traffic.connections == 1, "a stock viewer's frames are dropped silently"
        # from here on without the observer, whose own document now holds what nobody took
        group.clients.remove(observer)
        report = await judged(event.server, group)
        assert report.right, str(report)
        assert "by-observer" not in cell_ids(group.clients[0].doc)
        assert "not allowed" not in (event.server.root / PATH).read_text()
        assert group.log.standing
        await wait_until(
            lambda: {id for id in cell_ids(group.clients[0].doc)} <= set(cell_ids(observer.doc)),
            20,
            "the observer sees everything",
        )
        await observer.close()


async def test_names_in_awareness_are_the_servers(event: Event) -> None:
    first = await event.browser("participant-1")
    second = await event.browser("participant-2")
    async with Group([first, second], PATH, seed=32, watchers=2) as group:
        await group.until_synced()
        liar, other = group.clients
        liar.set_awareness("user", plain_user("Tutor", random.Random(0)))

        def seen() -> object:
            return other.peers.get(liar.doc.client_id, {}).get("user")

        await wait_until(seen, 10, "the liar is seen")
        user = seen()
        assert isinstance(user, dict)
        assert user["username"] == "participant-1"
        assert user["name"] == event.people["participant-1"].name
        assert user["color"] == event.people["participant-1"].color


async def test_a_link_of_another_server_is_refused(event: Event) -> None:
    stranger = Browser(event.server.url)
    client = CollabClient(stranger, PATH, user=plain_user("Eve", random.Random(0)), reconnect=False)
    await client.run()
    assert client.closes[-1].handshake_status == 403
