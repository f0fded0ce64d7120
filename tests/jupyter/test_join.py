"""The page behind a personal link, and the way from it into JupyterLab."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import pytest
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.web import create_signed_value

from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import GROUP
from jupyter_collab_ext.people_file import save
from jupyter_collab_ext.simulated import Browser
from tests.support.people_here import Event, prepared

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}"


async def get(browser: Browser, link: str) -> Any:
    return await browser.request("GET", link.removeprefix(browser.base_url))


async def who(browser: Browser) -> object:
    answer = await browser.request("GET", "api/me")
    me: Any = answer.json()
    return me["identity"]["username"] if answer.status == 200 else None


async def post_form(
    browser: Browser, fields: dict[str, str], headers: dict[str, str] | None = None
) -> HTTPResponse:
    """Send the page's form as a browser does: cookies, no header of JupyterLab's."""
    client = SimpleAsyncHTTPClient(force_instance=True)
    try:
        return await client.fetch(
            HTTPRequest(
                f"{browser.base_url}join",
                method="POST",
                body=urlencode(fields),
                headers={**browser.socket_headers(), **(headers or {})},
                follow_redirects=False,
            ),
            raise_error=False,
        )
    finally:
        client.close()


def fields_of(page: str) -> dict[str, str]:
    return {
        html.unescape(re.findall(r'name="([^"]*)"', field)[0]): html.unescape(
            re.findall(r'value="([^"]*)"', field)[0]
        )
        for field in re.findall(r"<input[^>]*>", page)
    }


# --- where a link leads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["b.ipynb", "a b#c?é%.ipynb", ".~a.ipynb", "notes.md"], f"{GROUP}/a b#c?é%.ipynb"),
        (["notes.md"], GROUP),
        (None, GROUP),
    ],
)
async def test_it_leads_to_the_groups_first_notebook(
    event: Event, jp_root_dir: Path, names: list[str] | None, first: str
) -> None:
    folder = jp_root_dir / GROUP
    text = (folder / "work.ipynb").read_text()
    (folder / "work.ipynb").unlink()
    for name in names or []:
        (folder / name).write_text(text)
    if names is None:
        folder.rmdir()
    async with event.browser("nobody") as browser:
        answer = await get(browser, event.link("participant-4"))
        location = answer.headers["Location"]
        assert answer.status == 302
        assert urlsplit(location)[:2] == ("", ""), "on this server"
        assert urlsplit(location)[3:] == ("", ""), "nothing after the path"
        assert unquote(location) == f"{unquote(urlsplit(event.url).path)}lab/tree/{first}"
        page = await browser.request("GET", location.removeprefix(urlsplit(event.url).path))
        assert page.status == 200
        assert await who(browser) == "participant-4"


# --- the page ----------------------------------------------------------------------------------------


@asynccontextmanager
async def two_with(event: Event, jp_serverapp: Any, name: str) -> AsyncIterator[Browser]:
    """Two people with this name, and the first one's browser."""
    roster = jp_serverapp.identity_provider.roster
    before = dict(roster.people)
    people: Any = roster.people
    for number in (1, 2):
        people[f"participant-{number}"] = replace(before[f"participant-{number}"], name=name, initials="<>")
    try:
        async with event.browser("participant-1") as browser:
            yield browser
    finally:
        people.update(before)


async def test_names_are_text_and_nothing_else(event: Event, jp_serverapp: Any) -> None:
    async with two_with(event, jp_serverapp, EVIL) as browser:
        text = (await get(browser, event.link("participant-2"))).body.decode()
    assert text.count(html.escape(EVIL, quote=False)[:8]) >= 3
    assert "<script" not in text
    assert "<img" not in text
    assert "{{ 7 * 7 }}" in text, "no name is a template"
    assert re.findall(r"<([a-z]+)", text).count("form") == 1


async def test_the_pages_form_makes_another_person(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        text = (await get(browser, event.link("participant-2"))).body.decode()
        action = re.findall(r'<form method="post" action="([^"]*)"', text)
        assert action == [f"{urlsplit(event.url).path}join"]
        fields = fields_of(text)
        assert sorted(fields) == ["_xsrf", "key"]
        # A browser sends this with the form; with another origin Jupyter would refuse it.
        done = await post_form(browser, fields, {"Origin": event.url[: event.url.index("/", 8)]})
        assert done.code == 302
        browser._keep_cookies(done.headers.get_list("Set-Cookie"))
        assert await who(browser) == "participant-2"


async def test_a_form_of_another_page_does_nothing(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        text = (await get(browser, event.link("participant-2"))).body.decode()
        fields = fields_of(text)
        for wrong in ({"key": fields["key"]}, {**fields, "_xsrf": "x"}, {**fields, "_xsrf": ""}):
            answer = await post_form(browser, wrong)
            assert answer.code == 403
            assert not any("username" in line for line in answer.headers.get_list("Set-Cookie"))
        bad = await post_form(browser, {**fields, "key": fields["key"][:-1]})
        assert bad.code == 403
        assert b"not valid any more" in bad.body
        assert await who(browser) == "participant-1"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_nothing_else_is_done_with_a_link(event: Event, method: str) -> None:
    async with event.browser("participant-1") as browser:
        link = event.link("participant-2").removeprefix(event.url)
        assert (await browser.request(method, link)).status in (403, 405)
        assert await who(browser) == "participant-1"


async def test_no_answer_is_kept_or_sent_on(event: Event) -> None:
    async with event.browser("participant-1") as browser, event.browser("nobody") as stranger:
        answers = [
            await get(stranger, f"{event.url}join"),
            await get(stranger, f"{event.url}join?key=wrong"),
            await get(stranger, event.link("tutor-1")),
            await get(browser, event.link("participant-1")),
            await get(browser, event.link("participant-2")),
        ]
    assert [answer.status for answer in answers] == [403, 403, 302, 302, 200]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert event.token not in answer.body.decode()


# --- cookies of elsewhere ------------------------------------------------------------------------------


async def test_a_cookie_of_another_event_is_worth_nothing(
    event: Event, tmp_path: Path, jp_serverapp: Any
) -> None:
    async with event.browser("tutor-1") as browser:
        [name] = [name for name in browser._cookies if name.startswith("username")]
        secret = jp_serverapp.web_app.settings["cookie_secret"]

        async def logged_in_with(value: str) -> int:
            browser._cookies = {name: create_signed_value(secret, name, value).decode()}
            return (await browser.request("GET", "api/contents")).status

        ours = event.roster.event
        # Signed by this very server: the same machine, port and secret, as after another --root.
        assert await logged_in_with(f'{{"event": "{ours}", "p": "tutor-1", "n": 1}}') == 200
        for value in (
            '{"event": "another", "p": "tutor-1", "n": 1}',
            '{"event": "another", "organiser": "x"}',
            f'{{"event": "{ours}", "p": "tutor-1", "n": 2}}',
            f'{{"event": "{ours}", "p": "tutor-9", "n": 1}}',
            f'{{"event": "{ours}", "p": ["tutor-1"], "n": 1}}',
            f'{{"event": "{ours}"}}',
            '{"p": "tutor-1", "n": 1}',
            '{"username": "a", "name": "a", "display_name": "a", "initials": "a", "color": null}',
            "[]",
            "1",
            "",
            "tutor-1",
            "[" * 3000,
        ):
            assert await logged_in_with(value) == 403, value[:80]


def test_links_of_two_roots_differ(tmp_path: Path) -> None:
    one, other = prepared(tmp_path / "one"), prepared(tmp_path / "other")
    save(one, tmp_path / "one")
    assert one.event != other.event
    key = Links(tmp_path / "one").key(one.people["tutor-1"])
    assert Links(tmp_path / "other").person(key, other) is None
