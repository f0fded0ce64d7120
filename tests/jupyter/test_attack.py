"""People who try to get in, or further than they should: each attempt must fail, and cost nobody else."""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.web import create_signed_value
from tornado.websocket import WebSocketClientConnection, websocket_connect

from jupyter_collab_ext.flow import Flow
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.simulated import Browser, frames
from notebook_sync.core.limits import Limits
from tests.support.access import ROWS
from tests.support.fake_kernels import Books, QuietConnection
from tests.support.jupyter_wait import closed, read, until
from tests.support.people_here import Event
from tests.support.two_groups import OTHER, OWN, change, logged_in, roster

pytestmark = [
    pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
EVIL = "https://evil.example"


@pytest_asyncio.fixture
async def browsers(two_groups: Event) -> AsyncIterator[dict[str, Browser]]:
    """A participant and an observer of group 1, a participant of group 2, and nobody."""
    async with AsyncExitStack() as stack:
        found = {}
        for who in ("participant-1", "observer-1", "participant-4", "nobody"):
            found[who] = await logged_in(two_groups, who)
            stack.callback(found[who].close)
        yield found


async def send(browser: Browser, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
    """A request with this browser's cookies and exactly these headers; the path goes out as it is."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        return await client.fetch(
            HTTPRequest(
                browser.base_url + path,
                method=method,
                headers={**browser.socket_headers(), **headers},
                body=None if body is None else json.dumps(body),
                follow_redirects=False,
                allow_nonstandard_methods=True,
            ),
            raise_error=False,
        )
    finally:
        client.close()


def xsrf(browser: Browser) -> dict[str, str]:
    return {"X-XSRFToken": browser._cookies["_xsrf"], "Referer": browser.base_url}


# --- invitations -------------------------------------------------------------------------------------


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_key_is_nobodys(tmp_path: Path, data: st.DataObject) -> None:
    people, links = roster(), Links(tmp_path)
    key = links.key(people.people["participant-1"], people)
    place = data.draw(st.integers(0, len(key)))
    letters = st.text(st.characters(codec="utf-8"), max_size=3)
    cut = data.draw(st.integers(0, 3))
    changed = key[:place] + data.draw(letters) + key[place + cut :]
    found = links.person(changed, people)
    assert (found is not None) == (changed == key)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(max_size=300))
def test_whatever_is_tried_as_a_key(tmp_path: Path, key: str) -> None:
    assert Links(tmp_path).person(key, roster()) is None


def test_keys_of_another_event_of_the_same_server(tmp_path: Path) -> None:
    links, one, other = Links(tmp_path), roster(), roster()
    assert one.event != other.event
    assert links.person(links.key(one.people["tutor-1"], one), other) is None


async def test_a_key_that_ended(two_groups: Event) -> None:
    for fields in ({"revoked": True}, {"issued": 1.0}, {"invitation": 2}):
        async with AsyncExitStack() as stack:
            stack.callback(change, two_groups, "participant-1", revoked=False, issued=0.0, invitation=1)
            change(two_groups, "participant-1", **fields)
            browser = Browser(two_groups.url)
            stack.callback(browser.close)
            answer = await browser.go(two_groups.link("participant-1"))
            assert answer.status == 403, fields
            assert not any("username" in name for name in browser._cookies)


# --- cookies -----------------------------------------------------------------------------------------


def login_cookie(browser: Browser) -> str:
    [name] = [name for name in browser._cookies if name.startswith("username")]
    return name


async def test_a_cookie_is_worth_what_the_server_signed(
    two_groups: Event, browsers: dict[str, Browser]
) -> None:
    observer = browsers["observer-1"]
    name = login_cookie(observer)
    honest = observer._cookies[name]
    fields = honest.strip('"').split("|")
    held = json.dumps({"event": two_groups.roster.event, "p": "organiser-1", "n": 1})
    value = base64.b64encode(held.encode()).decode()
    claims = [
        "|".join([*fields[:-2], f"{len(value)}:{value}", fields[-1]]),
        "|".join([*fields[:-1], "0" * len(fields[-1])]),
        create_signed_value("not the secret", name, held).decode(),
        create_signed_value(
            two_groups.provider.parent.web_app.settings["cookie_secret"], "other", held
        ).decode(),
        held,
        "",
    ]
    for claim in claims:
        observer._cookies[name] = claim
        assert (await observer.request("GET", "api/me")).status == 403, claim
    observer._cookies[name] = honest
    assert (await observer.request("GET", "api/me")).status == 200


async def test_a_login_is_made_by_the_server_and_kept_from_scripts_and_other_sites(
    two_groups: Event, browsers: dict[str, Browser]
) -> None:
    planted = Browser(two_groups.url)
    try:
        name = login_cookie(browsers["participant-1"])
        planted._cookies[name] = '"planted|by|somebody"'
        answer = await planted.go(two_groups.link("participant-1"))
        assert planted._cookies[name] != '"planted|by|somebody"', "session fixation"
        cookie = answer.headers["Set-Cookie"].lower().partition(name.lower() + "=")[2]
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
    finally:
        planted.close()


async def test_logging_out_and_in_as_another_leaves_nothing_of_the_first(
    two_groups: Event, browsers: dict[str, Browser]
) -> None:
    browser = browsers["participant-1"]
    await browser.request("GET", "logout")
    assert (await browser.request("GET", "api/me")).status == 403
    await browser.open_link(two_groups.link("observer-1"))
    me: Any = (await browser.request("GET", "api/me")).json()
    assert me["identity"]["username"] == "observer-1"
    assert (await browser.request("PUT", f"api/contents/{OWN}/x.txt", body={"type": "file"})).status == 403


# --- other sites -------------------------------------------------------------------------------------

HARMLESS_POSTS = ("CSPReportHandler", "JoinHandler", "LoginFormHandler")
CHANGES = [
    row
    for row in ROWS
    if row.method not in ("GET", "HEAD")
    and row.endpoint not in HARMLESS_POSTS
    and "{k}" not in row.path
    and "{s}" not in row.path
]


async def test_no_change_without_the_pages_own_token(browsers: dict[str, Browser]) -> None:
    browser = browsers["participant-1"]
    wrong = []
    for row in CHANGES:
        path = row.path.replace("{t}", OWN)
        body = row.body(OWN) if row.body else None
        for headers in ({}, {"X-XSRFToken": "guessed"}):
            answer = await send(browser, row.method, path, body, **headers)
            if answer.code not in (403, 404):  # 404: it would be out of reach as well
                wrong.append(f"{row} {headers}: {answer.code}")
    assert not wrong, "\n".join(wrong)


PAGES = (
    "lab",
    f"lab/tree/{OWN}/work.ipynb",
    "join",
    "login",
    "nowhere",
    f"view/{OWN}/notes.txt",
    "lab/api/plugins",
    f"files/{OWN}/notes.txt",
    f"nbconvert/html/{OWN}/work.ipynb",
    "api/me",
    "metrics",
)


async def test_no_page_can_be_framed_by_another_site(browsers: dict[str, Browser]) -> None:
    for who in ("participant-1", "nobody"):
        for path in PAGES:
            answer = await send(browsers[who], "GET", path, Referer=browsers[who].base_url)
            if answer.code in (301, 302):
                continue
            policy = answer.headers.get("Content-Security-Policy", "")
            assert "frame-ancestors 'self'" in policy or "frame-ancestors 'none'" in policy, (path, policy)
            assert answer.headers.get("X-Content-Type-Options") == "nosniff", path
            assert "Access-Control-Allow-Origin" not in answer.headers, path


async def test_what_people_upload_runs_no_script_as_them(
    browsers: dict[str, Browser], jp_root_dir: Path
) -> None:
    browser = browsers["participant-1"]
    for name in ("evil.html", "evil.svg", "evil.xml"):
        (jp_root_dir / OWN / name).write_text("<script>steal()</script>")
        answer = await send(browser, "GET", f"files/{OWN}/{name}", **xsrf(browser))
        assert answer.code == 200
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "allow-same-origin" not in answer.headers["Content-Security-Policy"]


async def test_pages_of_other_origins_get_nothing(browsers: dict[str, Browser]) -> None:
    browser = browsers["participant-1"]
    for path in ("api/contents", "api/me", "api/sessions", "lab/api/settings", "api/collaboration/status"):
        answer = await send(browser, "GET", path, Origin=EVIL)
        assert answer.code in (403, 404), path
        assert "Access-Control-Allow-Origin" not in answer.headers
    body = {"format": "json", "type": "notebook"}
    path = f"api/collaboration/session/{OWN}/work.ipynb"
    assert (await send(browser, "PUT", path, body, Origin=EVIL, **xsrf(browser))).code in (403, 404)


async def test_sockets_of_other_origins(browsers: dict[str, Browser], jp_serverapp: Any) -> None:
    browser = browsers["participant-1"]
    file_id = jp_serverapp.web_app.settings["file_id_manager"].index(f"{OWN}/work.ipynb")
    for path in (
        f"api/collaboration/room/json:notebook:{file_id}",
        "api/collaboration/room/JupyterLab:globalAwareness",
        "api/events/subscribe",
    ):
        for origin in (EVIL, "null", browser.origin.replace("127.0.0.1", "localhost"), browser.origin + "0"):
            headers = {**browser.socket_headers(), "Origin": origin}
            with pytest.raises(HTTPClientError) as refused:
                await websocket_connect(HTTPRequest(browser.socket_url(path, {}), headers=headers))
            assert refused.value.code == 403, (path, origin)


# --- paths -------------------------------------------------------------------------------------------

ROUTES = (
    "api/contents/{}",
    "files/{}",
    "view/{}",
    "nbconvert/script/{}",
    "api/contents/{}/checkpoints",
    "api/collaboration/versions/{}",
    "api/fileid/id?path={}",
)


async def test_tricks_with_paths(browsers: dict[str, Browser], jp_root_dir: Path) -> None:
    browser = browsers["participant-1"]
    (jp_root_dir / OWN / "link").symlink_to(jp_root_dir / OTHER)
    (jp_root_dir / OWN / "out").symlink_to("/etc")
    (jp_root_dir / OWN / "one.txt").symlink_to(jp_root_dir / OTHER / "notes.txt")
    (jp_root_dir / OTHER / "notes.txt").write_text("TOP SECRET\n")
    ends = ("notes.txt", "work.ipynb")
    starts = [
        f"{OWN}/../{OTHER}",
        f"{OWN}/%2e%2e/{OTHER}",
        f"{OWN}/%252e%252e/{OTHER}",
        f"{OWN}/..%2f{OTHER}",
        f"/{OTHER}",
        f"//{OTHER}",
        f"{OWN}/..%5c{OTHER}",
        f"{OWN}/link",
        f"{OWN}/./link",
        OTHER,
        OTHER.upper(),
        "Group-2",
        "group%2d2",
        f"{OWN}%2f..%2f{OTHER}",
        f"{OWN}/．．/{OTHER}",
        f"{OWN}/%c0%ae%c0%ae/{OTHER}",
        f"{OWN}%00/../{OTHER}",
        f"{OWN}/..;/{OTHER}",
        f"x/../{OTHER}",
        str(jp_root_dir / OTHER),
        f"{OWN}/..//../{OTHER}",
        f"{OWN}\\..\\{OTHER}",
    ]
    paths = [f"{start}/{end}" for start in starts for end in ends]
    paths += [
        f"{OWN}/one.txt",
        f"{OWN}/out/passwd",
        f"{OWN}/link",
        OTHER,
        f"{OWN}/../{OTHER}",
        "..",
        "../..",
        ".state",
    ]
    wrong = []
    for path in paths:
        for route in ROUTES:
            url = quote(route.format(path), safe="/%?=&:")
            answer = await send(browser, "GET", url, **xsrf(browser))
            body = answer.body.decode(errors="replace")
            told = "TOP SECRET" in body or "root:x:0" in body or f"'{OTHER}'" in body
            if told or answer.code == 500:
                wrong.append(f"{url}: {answer.code} {body[:100]!r}")
    assert not wrong, "\n".join(wrong)


async def test_no_way_to_write_outside(browsers: dict[str, Browser], jp_root_dir: Path) -> None:
    browser = browsers["participant-1"]
    (jp_root_dir / OWN / "link").symlink_to(jp_root_dir / OTHER)
    (jp_root_dir / OWN / "to-data").symlink_to(jp_root_dir / "data")
    before = {
        path: path.read_bytes() for path in jp_root_dir.rglob("*") if path.is_file() and OWN not in path.parts
    }
    text = {"type": "file", "format": "text", "content": "mine now"}
    for folder in (
        OTHER,
        f"{OWN}/../{OTHER}",
        f"{OWN}/link",
        f"{OWN}/to-data",
        "data",
        "",
        "elsewhere",
        ".collab",
    ):
        target = f"{folder}/notes.txt".lstrip("/")
        url = f"api/contents/{quote(target)}"
        for method, body in (("PUT", text), ("DELETE", None), ("PATCH", {"path": f"{OWN}/stolen.txt"})):
            answer = await send(browser, method, url, body, **xsrf(browser))
            assert answer.code in (400, 403, 404), (method, target, answer.code)
        answer = await send(
            browser, "PATCH", f"api/contents/{OWN}/notes.txt", {"path": target}, **xsrf(browser)
        )
        assert answer.code in (400, 403, 404), target
        answer = await send(
            browser,
            "POST",
            f"api/contents/{quote(folder)}",
            {"copy_from": f"{OWN}/notes.txt"},
            **xsrf(browser),
        )
        assert answer.code in (400, 403, 404), folder
    assert (await send(browser, "DELETE", f"api/contents/{OWN}", **xsrf(browser))).code == 403, (
        "the group's folder"
    )
    after = {
        path: path.read_bytes() for path in jp_root_dir.rglob("*") if path.is_file() and OWN not in path.parts
    }
    assert after == before


async def test_names_that_are_too_long_or_strange(browsers: dict[str, Browser]) -> None:
    browser = browsers["participant-1"]
    text = {"type": "file", "format": "text", "content": "x"}
    for name in ("a" * 300, "a" * 5000, "%00", "%0a", "%1b%5b31m", "%7f", "%c2%9b31m", "%ff%fe"):
        answer = await send(browser, "PUT", f"api/contents/{OWN}/{name}", text, **xsrf(browser))
        assert 400 <= answer.code < 500, (name[:20], answer.code)
    evil = "<img src=x onerror=alert(1)>.txt"
    answer = await send(browser, "PUT", f"api/contents/{OWN}/{quote(evil)}", text, **xsrf(browser))
    assert answer.code == 201
    page = await send(browser, "GET", f"view/{OWN}/{quote(evil)}", **xsrf(browser))
    assert "<img src=x" not in page.body.decode()
    page = await send(browser, "GET", f"nowhere/{quote(evil)}")
    assert "<img src=x" not in page.body.decode()


# --- floods ------------------------------------------------------------------------------------------


async def test_wrong_passwords_are_slowed_down(browsers: dict[str, Browser]) -> None:
    nobody, participant = browsers["nobody"], browsers["participant-1"]
    await nobody.request("GET", "login")
    codes = [
        (await send(nobody, "POST", "login?password=guess", **{"X-XSRFToken": nobody._cookies["_xsrf"]})).code
        for _ in range(int(Limits().join_failures_per_minute) + 5)
    ]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert (await participant.request("GET", "api/contents")).status == 200, "whoever is in stays in"


async def test_who_is_not_logged_in_is_told_what_to_do(
    browsers: dict[str, Browser], two_groups: Event
) -> None:
    nobody = browsers["nobody"]
    page = await nobody.go(f"{two_groups.url}login?next=%22%3E%3Cscript%3E")
    text = page.body.decode()
    assert "Open your personal link again" in text
    assert "<script>" not in text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    wrong = await nobody.post_form(f"{two_groups.url}login", {"password": "guess"})
    assert (wrong.status, b"neither this server" in wrong.body) == (401, True)
    right = await nobody.post_form(f"{two_groups.url}login", {"password": two_groups.token})
    assert right.status == 302
    assert (await nobody.request("GET", "api/collaboration/status")).status == 200
    away = await nobody.go(f"{two_groups.url}login?next=https%3A%2F%2Fevil.example%2F")
    assert "evil.example" not in away.headers["Location"]


async def lobby(browser: Browser, **query: str) -> WebSocketClientConnection:
    url = browser.socket_url("api/collaboration/room/JupyterLab:globalAwareness", query)
    return await websocket_connect(HTTPRequest(url, headers=browser.socket_headers()))


async def test_sockets_of_one_person_are_bounded(
    browsers: dict[str, Browser], two_groups: Event, caplog: pytest.LogCaptureFixture
) -> None:
    greedy, other, most = browsers["participant-1"], browsers["participant-4"], 10
    two_groups.provider.sockets._most = most
    opened = [await lobby(greedy) for _ in range(most)]
    with pytest.raises(HTTPClientError) as refused:
        await lobby(greedy)
    assert refused.value.code == 429
    assert "participant-1 has 10 sockets open and gets no more" in caplog.text
    opened.append(await lobby(other))
    first = opened.pop(0)
    first.close()
    await closed(first)
    opened.append(await lobby(greedy))
    for socket in opened:
        socket.close()
        await closed(socket)
    await until(lambda: two_groups.provider.sockets.count("participant-1") == 0, "all are gone")


async def test_a_flood_of_frames_slows_its_sender_only_and_loses_nothing(
    browsers: dict[str, Browser], collab: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(Limits(), frames_per_second=100.0, frames_at_once=50)
    collab.service.flow = Flow(limits)
    flooder = await lobby(browsers["participant-1"], collab="status")
    other = await lobby(browsers["participant-4"])
    step1 = frames.sync_step1(b"\x00")
    began = time.monotonic()
    for _ in range(300):
        await flooder.write_message(step1, binary=True)
    await other.write_message(step1, binary=True)
    await read(other, lambda frame: frame[:2] == b"\x00\x01")
    others_wait = time.monotonic() - began
    told: list[bytes] = []
    for _ in range(300):
        await read(flooder, lambda frame: told.append(frame) or frame[:2] == b"\x00\x01")  # type: ignore[func-returns-value]  # noted in passing
    flooders_wait = time.monotonic() - began
    assert sum(b'"slowed"' in frame for frame in told) == 1, "its sender is told, once"
    assert caplog.text.count("participant-1 sends faster than one person works") == 1
    assert "participant-4 sends" not in caplog.text
    assert flooders_wait > 2.0, "250 frames beyond the 50 at once, at 100 a second"
    assert others_wait < flooders_wait / 2
    for socket in (flooder, other):
        socket.close()
        await closed(socket)


async def test_a_flood_of_messages_to_a_kernel_is_read_later(
    browsers: dict[str, Browser], collab: Any, jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, passed = Books(jp_serverapp, monkeypatch), []
    monkeypatch.setattr(
        QuietConnection, "handle_incoming_message", lambda self, message: passed.append(message)
    )
    await books.reset()
    collab.service.flow = Flow(replace(Limits(), frames_per_second=100.0, frames_at_once=50))
    browser = browsers["participant-1"]
    url = browser.socket_url(f"api/kernels/{books.kernel(OWN)}/channels", {})
    socket = await websocket_connect(HTTPRequest(url, headers=browser.socket_headers()))
    began = time.monotonic()
    for number in range(150):
        await socket.write_message(f"{number}")
    await until(lambda: len(passed) == 150, "all were passed on")
    assert time.monotonic() - began > 0.8, "100 messages beyond the 50 at once, at 100 a second"
    assert passed == [f"{number}" for number in range(150)]
    socket.close()
    await closed(socket)
    books.forget()


async def test_kernels_of_a_group_are_bounded(
    browsers: dict[str, Browser], jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(jp_serverapp, monkeypatch)
    mine, theirs = browsers["participant-1"], browsers["participant-4"]
    notebook = {"path": f"{OWN}/work.ipynb", "type": "notebook", "name": "work.ipynb"}
    assert (await mine.request("POST", "api/sessions", body=notebook)).status == 201
    for _ in range(Limits().kernels_per_group - 1):
        assert (await mine.request("POST", "api/kernels", body={})).status == 201
    answer = await mine.request("POST", "api/kernels", body={})
    assert (answer.status, b"shut some down" in answer.body) == (429, True)
    other = {"path": f"{OWN}/other.ipynb", "type": "notebook", "name": "other.ipynb"}
    assert (await mine.request("POST", "api/sessions", body=other)).status == 429
    assert (await mine.request("POST", "api/sessions", body=notebook)).status == 201, "it runs already"
    assert (await theirs.request("POST", "api/kernels", body={})).status == 201, "nobody else's"
    books.forget()


# --- secrets -----------------------------------------------------------------------------------------


async def test_no_secret_in_logs_answers_or_errors(
    browsers: dict[str, Browser], two_groups: Event, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = browsers["participant-1"]
    key = two_groups.link("participant-1").rpartition("=")[2]
    await browser.go(two_groups.link("participant-1"))
    secrets = {
        "token": two_groups.token,
        "key": key,
        "cookie": browser._cookies[login_cookie(browser)].strip('"'),
    }
    told = []
    for path in (
        *PAGES,
        f"join?key={key}x",
        f"api/contents?token={two_groups.token}x",
        "api/contents/nowhere",
    ):
        answer = await send(browser, "GET", path, **xsrf(browser))
        told.append(answer.body.decode(errors="replace") + str(answer.headers))
    answered = "".join(told)
    for name, secret in secrets.items():
        assert secret not in caplog.text, f"the {name} is in the log"
        if name != "cookie":
            assert secret not in answered, f"the {name} is in an answer"


def test_the_state_folder_is_the_servers_alone(two_groups: Event) -> None:
    for path in [two_groups.state_dir, *two_groups.state_dir.iterdir()]:
        assert os.stat(path).st_mode & 0o077 == 0, path
