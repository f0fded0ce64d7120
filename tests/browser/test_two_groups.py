"""Two groups and a tutor of both on one server: the first minutes of each, and one who is sent away."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Response, expect

from tests.browser.conftest import NOTEBOOK, OWN_CELLS, RUN_CELL, StartGroup, exercise
from tests.support.browser import SEEN_TIMEOUT, Person, until
from tests.support.started_group import Link, StartedGroup

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = """\
name,email,role,group,topic,level
Ann,,participant,Red,,
Bob,,participant,Blue,,
Cem,,participant,Red,,
Tess,,tutor,Red;Blue,,
"""
CUT_WITHIN = 2.0
"""Seconds from the command's answer until the sockets are closed."""


@dataclass
class Arrived:
    """Somebody who opened their link, and what went wrong on their page meanwhile."""

    person: Person
    failed: list[str] = field(default_factory=list)

    async def listed(self) -> list[str]:
        """The names in the file browser."""
        return await self.person.page.locator("#filebrowser .jp-DirListing-itemName").all_inner_texts()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(start_group: StartGroup, tmp_path_factory: pytest.TempPathFactory) -> StartedGroup:
    home = tmp_path_factory.mktemp("event")
    (home / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (home / "data").mkdir()
    (home / "data" / "measures.csv").write_text("length,width\n1,2\n", encoding="utf-8")
    (home / "data" / "intro.ipynb").write_text(json.dumps(exercise()), encoding="utf-8")
    options = ("--roster", str(home / "people.csv"), "--data", str(home / "data"))
    return await asyncio.to_thread(start_group, *options)


Enter = Callable[[str], Awaitable[Arrived]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def enter(group: StartedGroup, browser: Browser) -> AsyncIterator[Enter]:
    """Opens somebody's link in a private window, once."""
    here: dict[str, Arrived] = {}
    async with AsyncExitStack() as stack:

        async def once(name: str) -> Arrived:
            if name not in here:
                person = await Person.arrive(browser, name)
                stack.push_async_callback(person.leave)
                arrived = Arrived(person)

                def note(answer: Response) -> None:
                    if answer.status >= 400:
                        arrived.failed.append(f"{answer.status} {answer.request.method} {answer.url}")

                person.page.on("response", note)
                await person.open_notebook(link_of(group, name).url)
                here[name] = arrived
            return here[name]

        yield once


def link_of(group: StartedGroup, name: str) -> Link:
    return next(link for link in group.links if link.name == name)


async def go_to_files(person: Person) -> None:
    if not await person.page.locator("#filebrowser .jp-DirListing-content").is_visible():
        await person.page.locator("[data-id='filebrowser']").click()
    await person.page.locator("#filebrowser .jp-DirListing-content").wait_for()


async def theme(person: Person, name: str) -> None:
    """Choose a theme by the menu, as people do."""
    await person.page.get_by_role("menuitem", name="Settings").click()
    await person.page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    await person.page.locator(".lm-Menu-itemLabel", has_text=name).last.click()


async def is_dark(person: Person) -> bool:
    return bool(await person.page.evaluate("document.body.dataset.jpThemeLight === 'false'"))


async def test_each_lands_in_their_groups_notebook_and_is_asked_nothing(
    group: StartedGroup, enter: Enter, pictures: Path | None
) -> None:
    for name, folder in (("Ann", "Red"), ("Bob", "Blue"), ("Tess", "Red")):
        arrived = await enter(name)
        page = arrived.person.page
        assert f"/lab/tree/{folder}/{NOTEBOOK}" in page.url
        assert "key=" not in page.url
        await go_to_files(arrived.person)
        await until(lambda a=arrived: has(a, NOTEBOOK), page, "the group's files")  # type: ignore[misc]  # bound at once
        assert await arrived.person.dialogs() == [], name
        assert await page.locator(".Toastify__toast").count() == 0, "nobody is told news"
        assert arrived.failed == [], name
        await page.locator(".jp-RenderedMarkdown h1").first.wait_for()
        if pictures:
            await arrived.person.picture(pictures / f"first-minutes-{name.lower()}.png")


async def has(arrived: Arrived, name: str) -> bool:
    return name in await arrived.listed()


async def test_the_file_browser_shows_what_somebody_may_open(enter: Enter) -> None:
    expected = {"Ann": {"Red", "data"}, "Bob": {"Blue", "data"}, "Tess": {"Red", "Blue", "data"}}
    for name, folders in expected.items():
        arrived = await enter(name)
        await go_to_files(arrived.person)
        await arrived.person.page.locator("#filebrowser .jp-BreadCrumbs-home").click()

        async def shown(arrived: Arrived = arrived, folders: set[str] = folders) -> bool:
            return set(await arrived.listed()) == folders

        await until(shown, arrived.person.page, f"exactly {folders} for {name}")


async def test_one_group_works_and_the_other_sees_nothing_of_it(enter: Enter) -> None:
    ann, bob, tess = [(await enter(name)).person for name in ("Ann", "Bob", "Tess")]
    await asyncio.gather(ann.show_people(), bob.show_people())
    await ann.type_at_end(OWN_CELLS, "red = 1")
    await bob.type_at_end(OWN_CELLS, "blue = 2")
    await tess.sees_source(OWN_CELLS, "red = 1")
    assert "blue" not in await tess.source(OWN_CELLS)
    assert "red" not in await bob.source(OWN_CELLS)

    async def sees(person: Person, *names: str) -> bool:
        return {name for name, _ in await person.people()} == set(names)

    await until(lambda: sees(ann, "Tess"), ann.page, "Tess and nobody else in Ann's list")
    await until(lambda: sees(bob, "Tess"), bob.page, "Tess and nobody else in Bob's list")


async def test_dark_for_one_is_light_for_the_other(
    enter: Enter, browser: Browser, group: StartedGroup, pictures: Path | None
) -> None:
    ann, bob = [(await enter(name)).person for name in ("Ann", "Bob")]
    await theme(ann, "JupyterLab Dark")
    await until(lambda: is_dark(ann), ann.page, "Ann's page is dark")
    await bob.page.reload()
    await bob.cell(OWN_CELLS).wait_for(timeout=SEEN_TIMEOUT * 1000)
    assert not await is_dark(bob)
    if pictures:
        await ann.picture(pictures / "dark-for-one.png")
    again = await Person.arrive(browser, "Ann")
    try:
        await again.open_notebook(link_of(group, "Ann").url)
        assert await is_dark(again), "the theme is Ann's, also in another browser"
    finally:
        await again.leave()


async def test_another_groups_link_in_the_same_browser(
    enter: Enter, group: StartedGroup, pictures: Path | None
) -> None:
    bob = (await enter("Bob")).person
    page = await bob.context.new_page()
    await page.goto(link_of(group, "Ann").url)
    await expect(page.get_by_text("You are Bob in this browser")).to_be_visible()
    await page.get_by_text("Go on as Bob").click()
    await page.wait_for_url("**/lab/tree/Blue/**", wait_until="commit")
    answer = await page.goto(f"{group.url}/api/contents/Red/{NOTEBOOK}")
    assert answer is not None
    assert answer.status == 404
    await page.close()


async def test_a_notebook_for_all_is_read_and_run_by_each_and_changed_by_none(
    browser: Browser, group: StartedGroup, pictures: Path | None
) -> None:
    async with AsyncExitStack() as stack:
        readers = []
        for name in ("Ann", "Bob"):
            person = await Person.arrive(browser, name)
            stack.push_async_callback(person.leave)
            await person.open(link_of(group, name).url)
            await person.open_notebook(f"{group.url}/doc/tree/data/intro.ipynb")
            readers.append(person)
        ann, bob = readers
        await ann.type_at_end(OWN_CELLS, "not for all")
        await ann.run(RUN_CELL)
        await ann.cell(OWN_CELLS + 1).locator(".cm-content").click()
        if pictures:
            await ann.picture(pictures / "for-all.png")
        assert "not for all" not in await bob.source(OWN_CELLS)
        assert await bob.cell(RUN_CELL).locator(".jp-OutputArea-output").count() == 0
        assert [await person.dialogs() for person in readers] == [[], []]
    assert "not for all" not in (group.root / "data" / "intro.ipynb").read_text(encoding="utf-8")


async def test_somebody_who_is_sent_away_in_mid_typing(
    enter: Enter, group: StartedGroup, pictures: Path | None
) -> None:
    ann, cem = (await enter("Ann")).person, await enter("Cem")
    typing = asyncio.create_task(cem.person.type_slowly(OWN_CELLS + 1, "these are my last words"))
    await ann.sees_source(OWN_CELLS + 1, "these")
    command = [
        str(Path(sys.executable).with_name("jupyter-collab")),
        "revoke",
        "Cem",
        "--root",
        str(group.root),
    ]
    began = time.monotonic()
    answered = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    await typing
    print(f"revoked in {took:.2f} s: {answered.stdout}")

    async def shut() -> bool:
        answer = await cem.person.context.request.get(f"{group.url}/api/me")
        return answer.status == 403

    await until(shut, cem.person.page, "Cem's login ends")
    kept = await ann.source(OWN_CELLS + 1)
    assert "these" in kept, "what was stored before stays"
    await ann.type_at_end(OWN_CELLS, "\nstill = 'here'")
    await (await enter("Tess")).person.sees_source(OWN_CELLS, "still = 'here'")
    assert "still" not in await cem.person.source(OWN_CELLS)
    if pictures:
        await cem.person.picture(pictures / "sent-away.png")
    await cem.person.page.reload()
    said = cem.person.page.get_by_text("Open your personal link again")
    await said.wait_for(timeout=SEEN_TIMEOUT * 1000)
    assert await cem.person.page.locator(".jp-Notebook").count() == 0
    if pictures:
        await cem.person.picture(pictures / "not-logged-in.png")


async def test_outputs_of_a_run_stay_in_the_group(enter: Enter) -> None:
    ann, bob, tess = [(await enter(name)).person for name in ("Ann", "Bob", "Tess")]
    await ann.run(RUN_CELL)
    await tess.sees_output(RUN_CELL, "three kinds, 120 flowers")
    assert await bob.cell(RUN_CELL).locator(".jp-OutputArea-output").count() == 0
