"""What one group does stays in it: events, who is here, kernels of files for all, settings and layouts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_collab_ext import events
from jupyter_collab_ext.audience import Audience
from jupyter_collab_ext.reach import EVERYTHING, Reach
from jupyter_collab_ext.simulated import Browser, frames
from notebook_sync.core import wire
from notebook_sync.core.ids import ClientId
from notebook_sync.core.limits import Limits
from tests.support.fake_kernels import Books
from tests.support.jupyter_wait import closed, read
from tests.support.people_here import Event
from tests.support.two_groups import DATA, OTHER, OWN, change, logged_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

WHO = ("participant-1", "tutor-1", "participant-4", "organiser-1")


@pytest_asyncio.fixture
async def browsers(two_groups: Event) -> AsyncIterator[dict[str, Browser]]:
    """A participant and the tutor of group 1, a participant of group 2, an organiser."""
    async with AsyncExitStack() as stack:
        found = {}
        for who in WHO:
            found[who] = await logged_in(two_groups, who)
            stack.callback(found[who].close)
        yield found


async def connect(browser: Browser, path: str) -> WebSocketClientConnection:
    return await websocket_connect(
        HTTPRequest(browser.socket_url(path, {}), headers=browser.socket_headers())
    )


async def hang_up(*sockets: WebSocketClientConnection) -> None:
    for socket in sockets:
        socket.close()
        await closed(socket)


# --- events ------------------------------------------------------------------------------------------


async def heard_until(socket: WebSocketClientConnection, last: str) -> list[dict[str, Any]]:
    """All events up to the one about the path ``last``."""
    heard: list[dict[str, Any]] = []
    while not heard or heard[-1].get("path") != last:
        message = await socket.read_message()
        assert isinstance(message, str), "closed"
        heard.append(json.loads(message))
    return heard


async def test_events_of_ones_own_group_only(browsers: dict[str, Browser], jp_serverapp: Any) -> None:
    one, other = browsers["participant-1"], browsers["participant-4"]
    ears = [await connect(browser, "api/events/subscribe") for browser in (one, other)]
    for browser, folder in ((one, OWN), (other, OTHER)):
        answer = await browser.request("GET", f"api/contents/{folder}/notes.txt")
        assert answer.status == 200
    emit = jp_serverapp.event_logger.emit
    emit(schema_id=events.SESSION, data={"level": "INFO", "room": "r", "path": f"{OTHER}/work.ipynb"})
    emit(
        schema_id=events.AWARENESS,
        data={"roomid": events.LOBBY, "username": "participant-4", "action": "join"},
    )
    for folder in (OWN, OTHER, DATA):
        emit(schema_id=events.SESSION, data={"level": "INFO", "room": "r", "path": f"{folder}/work.ipynb"})
    first, second = [await heard_until(ear, f"{DATA}/work.ipynb") for ear in ears]
    assert OTHER not in json.dumps(first)
    assert "participant-4" not in json.dumps(first)
    assert OWN not in json.dumps(second)
    assert "participant-4" in json.dumps(second)
    assert any(event.get("path") == f"{OWN}/notes.txt" for event in first)
    await hang_up(*ears)


# --- who is here -------------------------------------------------------------------------------------

LOBBY = "api/collaboration/room/JupyterLab:globalAwareness"


async def names_heard(socket: WebSocketClientConnection, until: str) -> dict[str, dict[str, Any]]:
    """Everybody in awareness frames, by user name, up to and with ``until``."""
    heard: dict[str, dict[str, Any]] = {}
    while until not in heard:
        frame = await socket.read_message()
        assert isinstance(frame, bytes)
        if frame[:1] != b"\x01":
            continue
        message = wire.parse(frame, Limits())
        assert isinstance(message, wire.AwarenessUpdate)
        for entry in message.entries:
            if entry.state is not None:
                state = json.loads(entry.state)
                heard[state["user"]["username"]] = state
    return heard


async def test_people_see_those_of_their_groups(two_groups: Event, browsers: dict[str, Browser]) -> None:
    change(two_groups, "tutor-1", groups=(OWN, OTHER))
    sockets = {who: await connect(browser, LOBBY) for who, browser in browsers.items()}
    places = {
        "participant-4": f"notebook:RTC:{OTHER}/work.ipynb",
        "tutor-1": f"notebook:RTC:{OTHER}/work.ipynb",
        "organiser-1": f"notebook:{OWN}/work.ipynb",
        "participant-1": f"notebook:RTC:{OWN}/work.ipynb",
    }
    for number, (who, place) in enumerate(places.items(), 1):
        state: dict[str, object] = {
            "user": {"username": "made-up"},
            "current": place,
            "documents": [place, f"{DATA}/x.csv"],
        }
        await sockets[who].write_message(
            frames.awareness_update([frames.PeerState(number, 1, state)]), binary=True
        )
        await names_heard(sockets[who], who)  # so that all said it in this order
    late = {who: await connect(browser, LOBBY) for who, browser in browsers.items()}
    seen = await names_heard(late["participant-1"], "participant-1")
    assert set(seen) == {"participant-1", "tutor-1"}
    assert seen["tutor-1"]["current"] is None, "where a tutor is in another group is not theirs to know"
    assert seen["tutor-1"]["documents"] == [f"{DATA}/x.csv"]
    assert seen["participant-1"]["current"] == places["participant-1"]
    seen = await names_heard(late["organiser-1"], "participant-1")
    assert set(seen) == set(places)
    await hang_up(*sockets.values(), *late.values())


class Noted:
    """A socket that keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.backlog = 7

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)

    def when_drained(self, callback: Any) -> None:
        callback()

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason


def audience(reach: Reach, *names: str) -> tuple[Audience, Noted]:
    socket = Noted()
    return Audience(socket, lambda name: name in names, lambda: reach, Limits()), socket


STATES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.integers(-5, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**31),
            st.none() | st.sampled_from(["mine", "theirs"]),
            st.dictionaries(st.sampled_from(["current", "documents", "x", "user"]), STATES, max_size=3),
        ),
        max_size=5,
    )
)
def test_nobody_elses_state_gets_through(said: list[tuple[int, str | None, dict[str, Any]]]) -> None:
    entries = []
    for client, user, more in said:
        state = None if user is None else json.dumps({**more, "user": {"username": user}, "who": user})
        entries.append(wire.AwarenessEntry(ClientId(client), 1, state))
    listener, socket = audience(Reach((OWN,)), "mine")
    listener.write(wire.encode_awareness(entries))
    heard: list[wire.AwarenessEntry] = []
    for frame in socket.frames:
        message = wire.parse(frame, Limits())
        assert isinstance(message, wire.AwarenessUpdate)
        heard += message.entries
    assert len(heard) == sum(user != "theirs" for _, user, _ in said)
    assert all(entry.state is None or json.loads(entry.state)["who"] == "mine" for entry in heard)


def test_all_other_frames_pass_and_rubbish_does_not() -> None:
    listener, socket = audience(EVERYTHING)
    for frame in (b"\x00\x00\x01\x00", b"\x02\x01x", b"\x01", b"\x01\xff\xff", b"\x01\x02\x01\x05"):
        listener.write(frame)
    assert socket.frames == [b"\x00\x00\x01\x00", b"\x02\x01x"]
    assert listener.backlog == 7
    listener.close(4403, "gone")
    assert socket.closed == (4403, "gone")


# --- files that move ---------------------------------------------------------------------------------


async def test_a_file_that_moves_to_another_group_takes_its_readers_along(
    browsers: dict[str, Browser], jp_serverapp: Any
) -> None:
    ids = jp_serverapp.web_app.settings["file_id_manager"]
    room = f"api/collaboration/room/json:notebook:{ids.index(f'{OWN}/work.ipynb')}"
    host = browsers["organiser-1"]
    mine, hosts = await connect(browsers["participant-1"], room), await connect(host, room)

    async def rename(old: str, new: str) -> None:
        assert (await host.request("PATCH", f"api/contents/{old}", body={"path": new})).status == 200

    await rename(f"{OWN}/work.ipynb", f"{OWN}/renamed.ipynb")
    await mine.write_message(frames.sync_step1(b"\x00"), binary=True)
    await read(mine, lambda frame: frame[:2] == b"\x00\x01")  # within reach it goes on
    await rename(f"{OWN}/renamed.ipynb", f"{OTHER}/taken.ipynb")
    assert await closed(mine) == (4404, "this file was moved to where you can't open it")
    await hosts.write_message(frames.sync_step1(b"\x00"), binary=True)
    await read(hosts, lambda frame: frame[:2] == b"\x00\x01")
    await hang_up(mine, hosts)


# --- kernels -----------------------------------------------------------------------------------------


async def test_a_file_for_all_has_a_kernel_for_each_group(
    browsers: dict[str, Browser], jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(jp_serverapp, monkeypatch)
    body = {"path": f"{DATA}/work.ipynb", "type": "notebook", "name": "work.ipynb"}

    async def opened(who: str) -> str:
        answer = await browsers[who].request("POST", "api/sessions", body=body)
        assert answer.status == 201
        model: Any = answer.json()
        return str(model["kernel"]["id"])

    async def kernels(who: str) -> set[str]:
        listed: Any = (await browsers[who].request("GET", "api/kernels")).json()
        return {kernel["id"] for kernel in listed}

    try:
        mine, tutors, theirs = [await opened(who) for who in ("participant-1", "tutor-1", "participant-4")]
        assert mine == tutors != theirs
        assert await kernels("participant-1") == {mine}, "Shut Down All ends what is listed"
        assert await kernels("participant-4") == {theirs}
        assert await kernels("organiser-1") == {mine, theirs}
        started: Any = (
            await browsers["participant-4"].request("POST", "api/kernels", body={"path": OWN})
        ).json()
        assert jp_serverapp.kernel_manager.homes[started["id"]] == OTHER, "a path of others is not taken"
    finally:
        books.forget()


# --- one's own page ----------------------------------------------------------------------------------

THEMES = "lab/api/settings/@jupyterlab/apputils-extension:themes"


async def test_settings_and_layouts_are_each_persons_own(
    browsers: dict[str, Browser], two_groups: Event, jp_root_dir: Path
) -> None:
    one, other = browsers["participant-1"], browsers["tutor-1"]
    raw = '{"theme": "JupyterLab Dark"}'
    assert (await one.request("PUT", THEMES, body={"raw": raw})).status == 204
    mine: Any = (await one.request("GET", THEMES)).json()
    theirs: Any = (await other.request("GET", THEMES)).json()
    assert mine["settings"] == {"theme": "JupyterLab Dark"}
    assert theirs["settings"] == {}
    layout = {"data": {"layout": {"mine": 1}}, "metadata": {"id": "default"}}
    assert (await one.request("PUT", "lab/api/workspaces/default", body=layout)).status == 204
    found: Any = (await other.request("GET", "lab/api/workspaces/default")).json()
    assert found["data"] == {}
    listed: Any = (await other.request("GET", "lab/api/workspaces")).json()
    assert listed["workspaces"]["ids"] == []
    kept = sorted(path.parent.parent.name for path in two_groups.state_dir.glob("people/*/settings/*"))
    assert kept == ["participant-1"]


async def test_language_servers_are_none_and_nothing_is_refused(browsers: dict[str, Browser]) -> None:
    for who in ("participant-1", "tutor-1"):
        answer = await browsers[who].request("GET", "lsp/status")
        assert (answer.status, answer.json()) == (200, {"version": 2, "sessions": {}, "specs": {}})
        assert (await browsers[who].request("GET", "api/nbconvert")).status == 200
    servers: Any = (await browsers["organiser-1"].request("GET", "lsp/status")).json()
    assert set(servers) == {"version", "sessions", "specs"}


async def test_what_all_read_is_shown_as_read_only(browsers: dict[str, Browser]) -> None:
    listed: Any = (await browsers["participant-1"].request("GET", "api/contents")).json()
    assert {entry["path"]: entry["writable"] for entry in listed["content"]} == {OWN: True, DATA: False}
    model: Any = (await browsers["participant-1"].request("GET", f"api/contents/{DATA}/notes.txt")).json()
    assert model["writable"] is False
    answer = await browsers["participant-1"].request(
        "PUT", f"api/contents/{DATA}/notes.txt", body={"type": "file", "format": "text", "content": "x"}
    )
    assert answer.status == 403
    assert b"copy the file into your group" in answer.body
