"""The page behind a personal link, and the way from it into JupyterLab."""

from __future__ import annotations

import asyncio
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
from jupyter_collab_ext.people import GROUP, Person
from jupyter_collab_ext.people_file import ROSTER, load, save
from jupyter_collab_ext.simulated import Browser
from jupyter_collab_ext.simulated.browser import NAVIGATION, Answer
from tests.support.people_here import Event, prepared
from tests.support.waiting import wait_until

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}"


async def get(browser: Browser, link: str) -> Answer:
    """What somebody who clicks on a link comes to, where the server asks something."""
    answer = await browser.go(link)
    if answer.headers.get("Location", "").endswith("/join"):
        return await browser.go(f"{browser.base_url}join")
    return answer


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
        assert sorted(fields) == ["_xsrf"]
        assert event.link("participant-2").rpartition("=")[2] not in text, "no key is in the page"
        # A browser sends this with the form; with another origin Jupyter would refuse it.
        done = await post_form(browser, fields, {"Origin": event.url[: event.url.index("/", 8)]})
        assert done.code == 302
        browser._keep_cookies(done.headers.get_list("Set-Cookie"))
        assert await who(browser) == "participant-2"


async def test_a_form_of_another_page_does_nothing(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        text = (await get(browser, event.link("participant-2"))).body.decode()
        fields = fields_of(text)
        for wrong in ({}, {**fields, "_xsrf": "x"}, {**fields, "_xsrf": ""}):
            answer = await post_form(browser, wrong)
            assert answer.code == 403
            assert not any("username" in line for line in answer.headers.get_list("Set-Cookie"))
        key = event.link("participant-2").rpartition("=")[2]
        bad = await post_form(browser, {**fields, "key": key[:-1]})
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
        with_key = [
            await browser.go(f"{event.url}join?key=wrong"),
            await stranger.go(event.link("tutor-1")),
            await browser.go(event.link("participant-1")),
            await browser.go(event.link("participant-2")),
            await stranger.request("GET", event.link("participant-2").removeprefix(event.url)),
        ]
        without = [await browser.go(f"{event.url}join")]
    assert [answer.status for answer in with_key] == [403, 302, 302, 302, 200]
    for answer in with_key + without:
        assert answer.headers["Cache-Control"] == "no-store"
        assert event.token not in answer.body.decode()
    assert {answer.headers["Referrer-Policy"] for answer in with_key} == {"no-referrer"}
    assert {answer.headers["Referrer-Policy"] for answer in without} == {"same-origin"}


async def test_the_key_leaves_the_address_bar_at_once(event: Event) -> None:
    """Whatever is asked, it is asked at an address that says nothing."""
    async with event.browser("participant-1") as browser:
        for person in ("participant-1", "participant-2"):
            answer = await browser.go(event.link(person))
            assert answer.status == 302
            assert "key" not in answer.headers["Location"]
        assert await who(browser) == "participant-1"


async def test_an_invitation_that_waits_is_forgotten_when_decided(event: Event) -> None:
    async with event.browser("participant-1") as browser:
        await browser.go(event.link("participant-2"))
        assert any(name == "collab-invitation" for name in browser._cookies)
        assert (await browser.post_form(f"{event.url}join", {})).status == 302
        assert await who(browser) == "participant-2"
        assert not any(name == "collab-invitation" for name in browser._cookies)
        again = await browser.go(f"{event.url}join")
        assert "/lab/tree/" in again.headers["Location"]


# --- who only looks at a link --------------------------------------------------------------------------

PREVIEWS: dict[str, dict[str, str]] = {
    "a chat's preview": {"User-Agent": "Slackbot-LinkExpanding 1.0"},
    "a mail filter": {"Accept": "*/*"},
    "a page's fetch": {**NAVIGATION, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "a frame": {**NAVIGATION, "Sec-Fetch-Dest": "iframe"},
    "looking ahead": {**NAVIGATION, "Sec-Purpose": "prefetch;prerender"},
    "looking ahead, older": {"Upgrade-Insecure-Requests": "1", "Purpose": "prefetch"},
    "a picture": {**NAVIGATION, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
}


@pytest.mark.parametrize("case", PREVIEWS)
async def test_who_only_looks_at_a_link_changes_nothing(event: Event, case: str) -> None:
    before = (event.state_dir / ROSTER).read_bytes()
    async with event.browser("nobody") as browser:
        for _ in range(2):
            answer = await browser._send("GET", event.link("participant-3"), None, dict(PREVIEWS[case]))
        text = answer.body.decode()
        assert answer.status == 200
        assert not any(name.startswith("username") for name in browser._cookies)
        assert "Participant 3" not in text, "a preview shows nobody's name"
        assert await who(browser) is None
        # Somebody whose browser says nothing of itself gets in all the same, by a button.
        done = await post_form(browser, fields_of(text), {"Origin": event.url[: event.url.index("/", 8)]})
        assert done.code == 302
        browser._keep_cookies(done.headers.get_list("Set-Cookie"))
        assert await who(browser) == "participant-3"
    assert (event.state_dir / ROSTER).read_bytes() == before


@pytest.mark.parametrize(
    "headers", [NAVIGATION, {"Upgrade-Insecure-Requests": "1"}], ids=["new", "plain http"]
)
async def test_a_browser_that_goes_there_is_in(event: Event, headers: dict[str, str]) -> None:
    async with event.browser("nobody") as browser:
        answer = await browser._send("GET", event.link("participant-3"), None, dict(headers))
        assert answer.status == 302
        assert await who(browser) == "participant-3"


# --- a name ------------------------------------------------------------------------------------------


@pytest.fixture
def unnamed(event: Event) -> Event:
    """The event, with people who have no names yet."""
    people = {p.id: replace(p, unnamed=True) for p in event.roster.people.values()}
    save(replace(event.roster, people=people), event.state_dir)
    return event


def kept(event: Event, person: str) -> Person:
    roster = load(event.state_dir)
    assert roster is not None
    return roster.people[person]


async def asked_for_a_name(event: Event, browser: Browser, person: str = "participant-1") -> str:
    """Opens the link and returns the page that asks."""
    await wait_until(lambda: event.seen().people[person].unnamed, 5, "the server knows")
    first = await browser.go(event.link(person))
    assert urlsplit(first.headers["Location"]).path.endswith("/join")
    page = await browser.go(f"{event.url}join")
    assert page.status == 200
    return page.body.decode()


async def test_a_link_asks_once_for_a_name(unnamed: Event) -> None:
    async with unnamed.browser("nobody") as browser:
        text = await asked_for_a_name(unnamed, browser)
        assert sorted(fields_of(text)) == ["_xsrf", "name"]
        assert "autofocus" in text
        done = await browser.post_form(f"{unnamed.url}join", {"name": "  Zoë   Müller "})
        assert done.status == 302
        assert done.headers["Location"].endswith(f"/lab/tree/{GROUP}/work.ipynb")
        me: Any = (await browser.request("GET", "api/me")).json()
        assert (me["identity"]["name"], me["identity"]["initials"]) == ("Zoë Müller", "ZM")
        again = await browser.go(unnamed.link("participant-1"))
        assert "/lab/tree/" in again.headers["Location"], "once"
        # The form is not a way to another name.
        await browser.post_form(f"{unnamed.url}join", {"name": "Somebody else"})
    person = kept(unnamed, "participant-1")
    assert (person.name, person.unnamed) == ("Zoë Müller", False)
    assert kept(unnamed, "participant-2").unnamed


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("", "has no letter"),
        (" \t ", "has no letter"),
        ("...", "has no letter"),
        ("a\x7fb", "can&#39;t be shown (U+007F)"),
        ("evil\u202etxt", "can&#39;t be shown (U+202E)"),
        ("x" * 61, "too long"),
        ("x" * 100_000, "too long"),
        ("PARTICIPANT  2", "somebody else"),
        ("Ｐarticipant 2", "somebody else"),
    ],
)
async def test_a_name_that_is_refused_can_be_corrected(unnamed: Event, said: str, problem: str) -> None:
    async with unnamed.browser("nobody") as browser:
        await asked_for_a_name(unnamed, browser)
        answer = await browser.post_form(f"{unnamed.url}join", {"name": said})
        text = answer.body.decode()
        assert answer.status == 400
        assert problem in text
        assert len(text) < 10_000
        assert kept(unnamed, "participant-1").unnamed
        assert (await browser.post_form(f"{unnamed.url}join", {"name": "Ann"})).status == 302
    assert kept(unnamed, "participant-1").name == "Ann"


async def test_a_name_in_html_is_text(unnamed: Event) -> None:
    name = "<b onmouseover=alert(1)>\"'{{7*7}}"
    async with unnamed.browser("nobody") as browser:
        await asked_for_a_name(unnamed, browser)
        refused = await browser.post_form(f"{unnamed.url}join", {"name": name + "\x01"})
        assert "<b " not in refused.body.decode()
        assert (await browser.post_form(f"{unnamed.url}join", {"name": name})).status == 302
        page = (await browser.go(unnamed.link("tutor-1"))).headers["Location"]
        choice = (await browser.go(f"{unnamed.url}join")).body.decode()
    assert page.endswith("/join")
    assert "<b " not in choice
    assert html.escape(name)[:10] in choice


async def test_two_who_take_one_name_at_the_same_moment(unnamed: Event) -> None:
    async with unnamed.browser("nobody") as one, unnamed.browser("nobody") as two:
        await asked_for_a_name(unnamed, one, "participant-1")
        await asked_for_a_name(unnamed, two, "participant-2")
        answers = await asyncio.gather(
            *(browser.post_form(f"{unnamed.url}join", {"name": "Ann"}) for browser in (one, two))
        )
    assert sorted(answer.status for answer in answers) == [302, 400]


async def test_a_name_needs_a_login_and_the_pages_token(unnamed: Event) -> None:
    async with unnamed.browser("nobody") as browser:
        await browser.go(f"{unnamed.url}join")
        assert (await browser.post_form(f"{unnamed.url}join", {"name": "Ann"})).status == 403
        await asked_for_a_name(unnamed, browser)
        browser._cookies.pop("_xsrf")
        assert (await browser.post_form(f"{unnamed.url}join", {"name": "Ann"})).status == 403
    assert kept(unnamed, "participant-1").unnamed


# --- links that hold no more ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"revoked": True}, {"issued": 1.0}], ids=["taken back", "expired"])
async def test_a_link_that_holds_no_more(event: Event, how: dict[str, Any]) -> None:
    person = event.roster.people["participant-1"]
    async with event.browser("participant-1") as browser:
        save(event.roster.with_person(replace(person, **how)), event.state_dir)
        await wait_until(lambda: event.seen().people["participant-1"] != person, 2, "the server knows")
        assert await who(browser) is None
        answer = await browser.go(event.link("participant-1"))
        assert answer.status == 403
        assert "not valid any more" in answer.body.decode()
        posted = await post_form(browser, {"key": event.link("participant-1").rpartition("=")[2]})
        assert posted.code == 403


async def test_wrong_links_are_slowed_down_and_right_ones_never(event: Event) -> None:
    async with event.browser("nobody") as browser:
        found = {(await browser.go(f"{event.url}join?key={number:026}")).status for number in range(100)}
        assert found == {403, 429}
        assert (await browser.go(event.link("participant-1"))).status == 302


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
    key = Links(tmp_path / "one").key(one.people["tutor-1"], one)
    assert Links(tmp_path / "other").person(key, other) is None
