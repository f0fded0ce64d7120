"""Who is behind a request: personal links, cookies, the server's token, or nobody."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jupyter_server.auth.authorizer import AllowAllAuthorizer, Authorizer
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from jupyter_collab_ext.identity import PeopleIdentityProvider, install, member_of
from jupyter_collab_ext.people import GROUP
from jupyter_collab_ext.people_file import ROSTER
from jupyter_collab_ext.simulated import Browser
from jupyter_collab_ext.simulated.browser import LoginFailed
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role
from tests.support.jupyter_wait import closed, refused
from tests.support.people_here import ROLES, Event

# --- a link ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
async def test_a_link_says_who_somebody_is(event: Event, role: str) -> None:
    person = event.roster.people[ROLES[role]]
    async with event.browser(person.id) as browser:
        me = (await browser.request("GET", "api/me")).json()
    assert me == {
        "identity": {
            "username": person.id,
            "name": person.name,
            "display_name": person.name,
            "initials": person.initials,
            "avatar_url": None,
            "color": person.color,
            "role": role,
            "group": GROUP,
        },
        "permissions": {"updatable_fields": []},
    }


async def test_a_link_leads_to_the_notebook_and_leaves_no_trace(event: Event) -> None:
    async with event.browser("nobody") as browser:
        link = event.link("participant-1")
        first = await browser.go(link)
        page = await browser.open_link(link)
    assert first.status == 302
    assert first.headers["Location"] == f"/{event.url.split('/', 3)[3]}lab/tree/{GROUP}/work.ipynb"
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert first.headers["Cache-Control"] == "no-store"
    cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert re.search(r"Path=/a%40b/", cookie, re.IGNORECASE)
    key = link.rpartition("=")[2]
    assert key not in page.body.decode()
    assert page.headers.get("Location") is None


async def test_a_link_works_many_times(event: Event) -> None:
    for _ in range(3):
        async with event.browser("tutor-1") as browser:
            assert (await browser.request("GET", "api/contents")).status == 200


@pytest.mark.parametrize("spoiled", ["", "x", "{key}x", "{cut}", "{other}", "A" * 5000])
async def test_what_is_no_link(event: Event, spoiled: str, tmp_path: Path) -> None:
    link = event.link("participant-1")
    key = link.rpartition("=")[2]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Event(event.url, "", elsewhere, event.roster).link("participant-1").rpartition("=")[2]
    tried = spoiled.format(key=key, cut=key[:-1], other=other)
    async with event.browser("nobody") as browser:
        answer = await browser.request("GET", f"join?key={tried}")
        with pytest.raises(LoginFailed):
            await browser.open_link(f"{event.url}join?key={tried}")
        assert (await browser.request("GET", "api/contents")).status == 403
    assert answer.status == 403
    assert "not valid any more" in answer.body.decode()
    assert "Set-Cookie" not in answer.headers or "username" not in answer.headers["Set-Cookie"]


async def test_a_replaced_invitation_ends_link_and_cookie(event: Event, jp_serverapp: Any) -> None:
    async with event.browser("participant-1") as browser:
        provider = jp_serverapp.identity_provider
        person = provider.roster.people["participant-1"]
        object.__setattr__(person, "invitation", 2)
        try:
            assert (await browser.request("GET", "api/contents")).status == 403
            answer = await browser.go(event.link("participant-1"))
            assert answer.status == 403
        finally:
            object.__setattr__(person, "invitation", 1)


async def test_the_key_is_not_logged(event: Event, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    link = event.link("participant-2")
    async with event.browser("participant-2") as browser, event.browser("nobody") as stranger:
        await browser.request("GET", "api/contents")
        await stranger.go(f"{link}x")
    assert link.rpartition("=")[2] not in caplog.text
    assert event.token not in caplog.text


# --- one browser is one person -------------------------------------------------------------------------


async def test_another_persons_link_asks_who_to_be(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        other = event.link("participant-2")
        page = await browser.go(f"{event.url}join" if (await browser.go(other)).status == 302 else other)
        text = page.body.decode()
        assert page.status == 200
        assert "Go on as Participant 1" in text
        assert "Become Participant 2" in text
        assert not re.search(r'(src|href)="https?:', text), "nothing is loaded from elsewhere"
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert await username(browser) == "participant-1", "looking changes nothing"
        answer = await browser.post_form(f"{event.url}join", {})
        assert answer.status == 302
        assert await username(browser) == "participant-2"


async def test_becoming_another_needs_the_pages_own_form(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        await browser.go(event.link("participant-2"))
        browser._cookies.pop("_xsrf")
        assert (await browser.post_form(f"{event.url}join", {})).status == 403
        assert await username(browser) == "participant-1"


async def test_ones_own_link_asks_nothing(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        answer = await browser.go(event.link("participant-1"))
        assert answer.status == 302


async def username(browser: Browser) -> object:
    me = cast(dict[str, Any], (await browser.request("GET", "api/me")).json())
    return me["identity"]["username"]


# --- sockets, the token, nobody ------------------------------------------------------------------------


async def test_sockets_know_the_cookie(event: Event) -> None:
    address = event.url.replace("http", "ws", 1) + "api/collaboration/room/JupyterLab:globalAwareness"
    async with event.browser("observer-1") as browser:
        socket = await websocket_connect(HTTPRequest(address, headers=browser.socket_headers()))
        socket.close()
        await closed(socket)
    assert await refused(websocket_connect(address)) == 403


async def test_the_token_makes_an_organiser(event: Event) -> None:
    async with event.browser("organiser") as browser:
        assert (await browser.request("GET", "api/collaboration/status")).status == 200
        assert (await browser.request("GET", "metrics")).status == 200


@pytest.mark.parametrize(
    "path", ["lab", "lab/tree/group-1/work.ipynb", "nowhere/at/all", "lab/nowhere", "tree"]
)
@pytest.mark.parametrize("role", ROLES)
async def test_no_page_holds_the_servers_token(event: Event, role: str, path: str) -> None:
    async with event.browser(ROLES[role]) as browser:
        answer = await browser.request("GET", path)
    assert event.token not in answer.body.decode()
    assert event.token not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    ["api/contents", "api/me", "api/kernels", "api/sessions", "files/group-1/work.ipynb", "metrics", "lab"],
)
async def test_nobody_gets_nowhere(event: Event, path: str) -> None:
    async with event.browser("nobody") as browser:
        answer = await browser.request("GET", path)
    assert answer.status == 403 or (answer.status == 302 and "/login" in answer.headers["Location"])


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_renames_themselves(event: Event, role: str) -> None:
    async with event.browser(ROLES[role]) as browser:
        answer = await browser.request("PATCH", "api/me", body={"name": "Tutor", "color": "#000000"})
        assert answer.status == 400
        assert await username(browser) == ROLES[role]


async def test_changes_need_the_pages_own_token(event: Event) -> None:
    async with event.browser("tutor-1") as browser:
        browser._cookies.pop("_xsrf")
        body = {"type": "directory"}
        assert (await browser.request("PUT", "api/contents/group-1/new", body=body)).status == 403


# --- installing ------------------------------------------------------------------------------------------


def serverapp(**chosen: Any) -> ServerApp:
    classes = {"identity_provider_class": PasswordIdentityProvider, "authorizer_class": AllowAllAuthorizer}
    return cast(ServerApp, SimpleNamespace(**{**classes, **chosen}))


def app(state_dir: Path) -> Any:
    return SimpleNamespace(state_dir=str(state_dir))


def test_an_identity_provider_of_the_users_own_is_refused(tmp_path: Path) -> None:
    class Own(IdentityProvider):
        pass

    with pytest.raises(ConfigError, match=r"remove ServerApp\.identity_provider_class"):
        install(serverapp(identity_provider_class=Own), app(tmp_path))


def test_an_authorizer_of_the_users_own_is_refused(tmp_path: Path) -> None:
    class Own(Authorizer):
        pass

    with pytest.raises(ConfigError, match=r"remove ServerApp\.authorizer_class"):
        install(serverapp(authorizer_class=Own), app(tmp_path))


def test_a_damaged_roster_is_refused(tmp_path: Path) -> None:
    (tmp_path / ROSTER).write_text("[]")
    with pytest.raises(ConfigError, match="damaged"):
        install(serverapp(), app(tmp_path))


def test_a_server_without_any_token_is_refused(tmp_path: Path) -> None:
    server = serverapp()
    install(server, app(tmp_path))
    chosen: Any = server.identity_provider_class
    assert issubclass(chosen, PeopleIdentityProvider)
    said: list[str] = []

    def leave(code: int) -> None:
        raise SystemExit(code)

    jupyter = SimpleNamespace(log=SimpleNamespace(critical=said.append), exit=leave, ip="127.0.0.1")
    with pytest.raises(SystemExit, match="1"):
        chosen(token="").validate_security(jupyter)
    assert "personal links need a server with a token" in said[0]


# --- without links ---------------------------------------------------------------------------------------


def handler(settings: dict[str, Any], name: str, color: str | None = None) -> Any:
    return SimpleNamespace(current_user=User(name, color=color), settings=settings)


def test_without_links_everybody_is_an_organiser_with_a_colour_of_their_own() -> None:
    settings: dict[str, Any] = {}
    members = [member_of(handler(settings, f"user-{number}")) for number in range(12)]
    assert {member.role for member in members} == {Role.ORGANISER}
    assert len({member.identity["color"] for member in members}) == 12
    assert member_of(handler(settings, "user-3")) == members[3], "a user keeps the colour"
    assert member_of(handler(settings, "user-3", "#123456")).identity["color"] == "#123456"
