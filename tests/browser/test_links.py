"""What a personal link lets its person do in a real browser, and what not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.conftest import NOTEBOOK, OWN_CELLS, RUN_CELL, Arrive, StartGroup
from tests.support.browser import Person
from tests.support.started_group import Link, StartedGroup

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(start_group: StartGroup) -> StartedGroup:
    return await asyncio.to_thread(start_group, "--people", "2", "--tutors", "1", "--observers", "1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def participant(group: StartedGroup, arrive: Arrive) -> Person:
    return await arrive(link_of(group, "participant"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observer(group: StartedGroup, participant: Person, arrive: Arrive) -> Person:
    # Once somebody else is there, as it is when people look over a group's shoulder.
    return await arrive(link_of(group, "observer"))


async def test_an_observer_sees_everything_and_changes_nothing(
    group: StartedGroup, participant: Person, observer: Person
) -> None:
    await asyncio.gather(participant.show_people(), observer.show_people())
    await participant.type_at_end(OWN_CELLS, "x = 6 * 7")
    await observer.sees_source(OWN_CELLS, "x = 6 * 7")

    await observer.type_at_end(OWN_CELLS, "  # not mine to say")
    await observer.run(RUN_CELL)
    # A socket's frames arrive in order: when the later caret is there, the typing has been dealt with.
    await observer.cell(OWN_CELLS + 1).locator(".cm-content").click()
    await participant.sees_caret(OWN_CELLS + 1, await observer.own_colour())

    assert "not mine to say" not in await participant.source(OWN_CELLS)
    assert "not mine to say" not in (group.folder / NOTEBOOK).read_text(encoding="utf-8")
    assert await participant.cell(RUN_CELL).locator(".jp-OutputArea-output").count() == 0

    await participant.run(RUN_CELL)
    await participant.sees_output(RUN_CELL, "three kinds, 120 flowers")
    await observer.sees_output(RUN_CELL, "three kinds, 120 flowers")
    assert await participant.dialogs() == []
    assert await observer.dialogs() == []


async def test_the_servers_token_is_on_no_page_of_theirs(group: StartedGroup, participant: Person) -> None:
    token = await asyncio.to_thread(lambda: group.token)
    for page in ("lab", f"lab/tree/group-1/{NOTEBOOK}", "no/such/page", "api/me", "api/kernels", "login"):
        answer = await participant.context.request.get(f"{group.url}/{page}")
        assert token not in await answer.text(), page
    assert token not in await participant.page.content()


async def test_another_persons_link_in_the_same_browser_asks_who_to_be(
    group: StartedGroup, participant: Person, pictures: Path | None
) -> None:
    me, other = (link for link in group.links if link.role == "participant")
    page = await participant.context.new_page()
    assert await who(participant, group) == me.name

    await page.goto(other.url)
    assert await who(participant, group) == me.name
    if pictures:
        await page.set_viewport_size({"width": 720, "height": 420})
        await page.screenshot(path=pictures / "who-to-be.png")
    await page.get_by_text(f"Go on as {me.name}").click()
    await page.wait_for_url("**/lab/**", wait_until="commit")
    assert await who(participant, group) == me.name

    await page.goto(other.url)
    await page.get_by_text(f"Become {other.name}").click()
    await page.wait_for_url("**/lab/**", wait_until="commit")
    assert await who(participant, group) == other.name
    await page.close()


async def test_a_link_that_lost_a_letter_is_refused_in_words(
    group: StartedGroup, participant: Person
) -> None:
    page = await participant.context.new_page()

    answer = await page.goto(group.links[0].url[:-1])

    assert answer is not None
    assert answer.status == 403
    assert "Copy the whole link again" in await page.inner_text("body")
    await page.close()


def link_of(group: StartedGroup, role: str) -> Link:
    return next(link for link in group.links if link.role == role)


async def who(person: Person, group: StartedGroup) -> str:
    """The display name of whoever the browser is logged in as."""
    answer = await person.context.request.get(f"{group.url}/api/me")
    return str((await answer.json())["identity"]["display_name"])
