"""Ten groups of six and four tutors from one file, on a real server: links, logins, people in mid-work."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from pycrdt import Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jupyter_collab_ext.simulated import Browser
from jupyter_collab_ext.simulated.browser import LoginFailed, quote_path
from jupyter_collab_ext.simulated.client import (
    GLOBAL_AWARENESS,
    CollabClient,
    plain_user,
    request_session,
)
from tests.support.started_event import LINK, StartedEvent
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("event")]

GROUPS, SIZE, TUTORS = 10, 6, 4
LOGINS_WITHIN = 10.0
CUT_WITHIN = 2.0
"""Seconds from the change of the file of people."""


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedEvent]:
    home = tmp_path_factory.mktemp("e")
    with StartedEvent(home, groups=GROUPS, size=SIZE, tutors=TUTORS) as running:
        yield running


def link(event: StartedEvent, name: str) -> str:
    [found] = [row["link"] for row in event.rows() if row["name"] == name]
    return found


def test_links_of_all_are_on_the_screen_whole(event: StartedEvent) -> None:
    print(f"seconds from the command to all links: {event.seconds_to_links:.1f}")
    shown, rows = event.shown(), event.rows()
    printed = LINK.findall(shown)
    assert len(printed) == len(set(printed)) == GROUPS * SIZE + TUTORS == 64
    assert set(printed) == {row["link"] for row in rows}
    assert max(map(len, printed)) <= 100
    for number in range(1, GROUPS + 1):
        assert f"Gruppe Übung {number}  Ferries" in shown
    assert "These links work on this machine only" in shown
    assert event.seconds_to_links < 60
    log = event.said()
    assert "key=" not in log
    assert not any(printed_link.rpartition("=")[2] in log for printed_link in printed)


async def test_sixty_four_log_in_by_their_links(event: StartedEvent) -> None:
    """Everybody at nine o'clock: each opens their link, and the notebook of their group."""
    rows = event.rows()
    browsers = [Browser(event.url) for _ in rows]

    async def come_in(browser: Browser, link: str) -> str:
        first = await browser.go(link)
        assert first.status == 302, first.status
        me: Any = (await browser.request("GET", "api/me")).json()
        assert unquote(first.headers["Location"]).endswith("/work.ipynb")
        return str(me["identity"]["name"])

    try:
        began = time.monotonic()
        came = await asyncio.gather(
            *(come_in(browser, row["link"]) for browser, row in zip(browsers, rows, strict=True))
        )
        took = time.monotonic() - began
        print(f"seconds until {len(came)} were logged in: {took:.2f}")
        assert came == [row["name"] for row in rows]
        assert took < LOGINS_WITHIN

        # The page gives the token that changes need.
        await asyncio.gather(
            *(browser.open_link(row["link"]) for browser, row in zip(browsers, rows, strict=True))
        )
        print(f"seconds until {len(came)} had their page: {time.monotonic() - began:.2f}")
        clients = [
            CollabClient(
                browser, f"{folder_of(row)}/work.ipynb", user=plain_user(row["name"], random.Random(1))
            )
            for browser, row in zip(browsers, rows, strict=True)
        ]
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.run())
            await asyncio.gather(*(client.until_synced(60) for client in clients))
            print(f"seconds until {len(clients)} had their notebook: {time.monotonic() - began:.2f}")
            assert all(client.doc.get_state() for client in clients)
            await asyncio.gather(*(client.close() for client in clients))
    finally:
        for browser in browsers:
            browser.close()


def folder_of(row: dict[str, str]) -> str:
    """The folder of somebody's first group."""
    return row["group"].split(";")[0].replace(" ", "-")


# --- people in mid-work ---------------------------------------------------------------------------------


@dataclass
class AtWork:
    """Somebody with everything open that a page of JupyterLab opens."""

    browser: Browser
    sockets: dict[str, ClientConnection] = field(default_factory=dict)
    ended: dict[str, tuple[float, int | None, str]] = field(default_factory=dict)
    """Socket -> when it ended (seconds since 1970), its close code and reason."""
    _watches: list[asyncio.Task[None]] = field(default_factory=list)

    async def open(self, what: str, path: str) -> None:
        address = self.browser.socket_url(path, {})
        socket = await connect(address, additional_headers=self.browser.socket_headers(), max_size=None)
        self.sockets[what] = socket
        self._watches.append(asyncio.get_running_loop().create_task(self._watch(what, socket)))

    async def _watch(self, what: str, socket: ClientConnection) -> None:
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as error:
            got = error.rcvd
            self.ended[what] = (time.time(), got.code if got else None, got.reason if got else "")

    async def leave(self) -> None:
        for socket in self.sockets.values():
            await socket.close()
        await asyncio.gather(*self._watches)
        self.browser.close()


@asynccontextmanager
async def at_work(event: StartedEvent, name: str, folder: str) -> AsyncIterator[AtWork]:
    """A person with the document, the lobby, events and the kernel open."""
    person = AtWork(Browser(event.url))
    try:
        await person.browser.open_link(link(event, name))
        session = await request_session(person.browser, f"{folder}/work.ipynb")
        asked = {
            "path": f"{folder}/work.ipynb",
            "name": "work.ipynb",
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        kernel: Any = (await person.browser.request("POST", "api/sessions", body=asked)).json()
        await person.open("document", f"api/collaboration/room/{session.room}")
        await person.open("lobby", f"api/collaboration/room/{GLOBAL_AWARENESS}")
        await person.open("events", "api/events/subscribe")
        await person.open("kernel", f"api/kernels/{kernel['kernel']['id']}/channels")
        yield person
    finally:
        await person.leave()


ALL_SOCKETS = {"document", "lobby", "events", "kernel"}


async def all_end(event: StartedEvent, person: AtWork, *words: str) -> str:
    """Runs a command; all sockets of the person end within two seconds of what it changed."""
    before = time.time()
    said = await asyncio.to_thread(event.command, *words)
    changed = (event.state_dir / "people.json").stat().st_mtime
    assert changed >= before - 1
    await wait_until(lambda: set(person.ended) == ALL_SOCKETS, 5, "all sockets end")
    took = max(at for at, _, _ in person.ended.values()) - changed
    print(f"{words[0]}: {took * 1000:.0f} ms from the change to the last socket's end; {said.strip()[:120]}")
    assert took < CUT_WITHIN
    return said


async def test_revoke_cuts_everything_and_keeps_the_work(event: StartedEvent) -> None:
    name, folder = "Person 1 of Gruppe Übung 1", "Gruppe-Übung-1"
    async with (
        at_work(event, name, folder) as person,
        at_work(event, "Person 2 of Gruppe Übung 1", folder) as other,
    ):
        said = await all_end(event, person, "revoke", name)
        assert "4 connections closed." in said
        assert {code for _, code, _ in person.ended.values()} == {4403}
        assert {reason for _, _, reason in person.ended.values()} == {"your link was taken back"}
        assert other.ended == {}
        assert (await person.browser.request("GET", "api/contents")).status == 403
        with pytest.raises(InvalidStatus) as refused:
            await person.open("again", f"api/collaboration/room/{GLOBAL_AWARENESS}")
        assert refused.value.response.status_code == 403
        assert (await other.browser.request("GET", "api/contents")).status == 200
    assert name not in [row["name"] for row in event.rows()]


async def test_relink_ends_the_old_link_and_its_pages(event: StartedEvent) -> None:
    name, folder = "Person 1 of Gruppe Übung 2", "Gruppe-Übung-2"
    old = link(event, name)
    async with at_work(event, name, folder) as person:
        said = await all_end(event, person, "relink", name)
        assert "4 connections closed." in said
        assert "key=" not in said, "this is no terminal"
        assert {code for _, code, _ in person.ended.values()} == {4403}
        assert {reason for _, _, reason in person.ended.values()} == {"your link was replaced by a new one"}
    new = link(event, name)
    assert new != old
    browser = Browser(event.url)
    with pytest.raises(LoginFailed, match="403"):
        await browser.open_link(old)
    await browser.open_link(new)
    browser.close()


async def test_move_leads_to_another_group_by_the_same_link(event: StartedEvent) -> None:
    name, before, after = "Person 1 of Gruppe Übung 3", "Gruppe-Übung-3", "Gruppe-Übung-4"
    given = link(event, name)
    async with at_work(event, name, before) as person:
        said = await all_end(event, person, "move", name, "gruppe übung 4")
        assert "4 connections closed." in said
        assert {code for _, code, _ in person.ended.values()} == {4409}
        assert {reason for _, _, reason in person.ended.values()} == {"you were moved: open your link again"}
        # Still logged in: the same link, the same cookie, another folder.
        assert link(event, name) == given
        again = await person.browser.go(given)
        assert unquote(again.headers["Location"]).endswith(f"/lab/tree/{after}/work.ipynb")
        assert (await person.browser.request("GET", f"api/contents/{quote_path(after)}")).status == 200
        assert (await person.browser.request("GET", f"api/contents/{quote_path(before)}")).status == 404


async def test_who_is_added_comes_in_at_once(event: StartedEvent) -> None:
    said = await asyncio.to_thread(event.command, "add", "Zoë Neu", "--group", "Gruppe Übung 5")
    assert said.startswith("Zoë Neu is in Gruppe Übung 5")
    browser = Browser(event.url)
    await browser.open_link(link(event, "Zoë Neu"))
    me: Any = (await browser.request("GET", "api/me")).json()
    browser.close()
    assert (me["identity"]["name"], me["identity"]["role"]) == ("Zoë Neu", "participant")


async def test_each_browser_shows_ones_own_group_and_the_data(event: StartedEvent) -> None:
    tutors = next(row for row in event.rows() if row["name"] == "Tutor 1")["group"].split(";")
    for name, folders in (
        ("Person 3 of Gruppe Übung 7", ["Gruppe-Übung-7"]),
        ("Tutor 1", [group.replace(" ", "-") for group in tutors]),
    ):
        browser = Browser(event.url)
        await browser.open_link(link(event, name))
        top: Any = (await browser.request("GET", "api/contents")).json()
        assert sorted(entry["name"] for entry in top["content"]) == sorted([*folders, "data"])
        data: Any = (await browser.request("GET", "api/contents/data/table.csv")).json()
        assert data["content"] == "a,b\n1,2\n"
        spoilt = {"type": "file", "format": "text", "content": "x"}
        answer = await browser.request("PUT", "api/contents/data/table.csv", body=spoilt)
        assert answer.status >= 400
        browser.close()
    assert (event.home / "big" / "table.csv").read_text() == "a,b\n1,2\n"


async def test_two_groups_look_at_the_same_data_and_nobody_changes_it(event: StartedEvent) -> None:
    """A file of the data folder opens as any other, live, for people of all groups; edits are dropped."""
    browsers = [Browser(event.url) for _ in range(2)]
    names = ("Person 3 of Gruppe Übung 8", "Person 3 of Gruppe Übung 9")
    clients = [
        CollabClient(
            browser, "data/table.csv", user=plain_user(name, random.Random(2)), format="text", type="file"
        )
        for browser, name in zip(browsers, names, strict=True)
    ]
    async with asyncio.TaskGroup() as tasks:
        for browser, name, client in zip(browsers, names, clients, strict=True):
            await browser.open_link(link(event, name))
            tasks.create_task(client.run())
        await asyncio.gather(*(client.until_synced(60) for client in clients))
        texts: list[Text] = [cast(Any, client.doc).get("source", type=Text) for client in clients]
        assert [str(text) for text in texts] == ["a,b\n1,2\n"] * 2
        texts[0].insert(0, "mine ")
        assert await clients[1].save() in ("skipped", "failed", "success")
        assert str(texts[1]) == "a,b\n1,2\n"
        await asyncio.gather(*(client.close() for client in clients))
    for browser in browsers:
        browser.close()
    assert (event.home / "big" / "table.csv").read_text() == "a,b\n1,2\n"


# --- the second day -------------------------------------------------------------------------------------


def tree(root: Path) -> str:
    """A digest of the groups' folders, the people, the links and the originals, times included."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        ours = not name.startswith(".collab") or re.match(r"\.collab/(people\.json|links|originals)", name)
        if ours and path.is_symlink():
            digest.update(f"{name} {os.readlink(path)}\n".encode())
        elif ours and path.is_file() and "/.ipynb_checkpoints/" not in name:
            digest.update(f"{name} {path.lstat().st_mtime_ns}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def test_a_second_start_changes_nothing(event: StartedEvent) -> None:
    event.stop()
    before, rows = tree(event.root), event.rows()
    event.start()
    print(f"seconds from the second command to all links: {event.seconds_to_links:.1f}")
    assert event.rows() == rows
    assert set(LINK.findall(event.shown())) == {row["link"] for row in rows}
    assert "goes on" in event.shown()
    event.stop()
    assert tree(event.root) == before
