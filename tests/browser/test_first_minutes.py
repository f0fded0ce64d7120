"""The first five minutes of somebody with a spare seat, on a network without TLS, in a real browser."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Request, async_playwright, expect

from tests.browser.conftest import NOTEBOOK, StartGroup
from tests.support import browser as browsers
from tests.support.browser import FLAGS, Person
from tests.support.started_group import StartedGroup

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "hackathon.test"
"""No address that browsers trust by itself, as an address in somebody's own network is none: to those they
send no Fetch Metadata."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = browsers.chromium()
    if program is None and not browsers.must_have_chromium():
        pytest.skip("SKIPPED BROWSER TESTS: no Chromium on PATH; 'apt install chromium' or Google Chrome")
    async with async_playwright() as playwright:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        running = await playwright.chromium.launch(executable_path=program, args=flags)
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(start_group: StartGroup) -> StartedGroup:
    return await asyncio.to_thread(
        start_group, "--ask-names", "--people", "2", "--public-url", f"http://{NAME}/"
    )


def address(group: StartedGroup, link: str) -> str:
    """The link as it would be with the server's port."""
    return link.replace(f"http://{NAME}/", f"http://{NAME}:{group.url.rpartition(':')[2]}/")


@pytest_asyncio.fixture(loop_scope="module")
async def newcomer(browser: Browser) -> AsyncIterator[Person]:
    person = await Person.arrive(browser, "Zoë Müller")
    yield person
    await person.leave()


async def test_a_link_asks_for_a_name_and_leads_to_a_running_notebook(
    group: StartedGroup, newcomer: Person, pictures: Path | None
) -> None:
    page, sent = newcomer.page, list[Request]()
    page.on("request", lambda request: sent.append(request))
    link = next(link for link in group.links if link.role == "participant")
    key = link.url.rpartition("=")[2]

    await newcomer.open(address(group, link.url))
    field = page.get_by_label("The others see it beside what you write.")
    await expect(field).to_be_focused()
    assert key not in page.url
    if pictures or os.environ.get("COLLAB_LOOK"):
        await page.set_viewport_size({"width": 720, "height": 420})
        await page.screenshot(path=(pictures or Path(os.environ["COLLAB_LOOK"])) / "name.png")
        await page.set_viewport_size({"width": 1280, "height": 800})
    await page.keyboard.type("Participant 2")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("This name is somebody else's here: add a letter")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("Zoë Müller")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/lab/**", wait_until="commit")
    await newcomer.open_notebook(page.url)

    assert page.url.endswith(f"/lab/tree/group-1/{NOTEBOOK}")
    assert await newcomer.dialogs() == []
    with_key = [request for request in sent if key in request.url]
    assert len(with_key) == 1, "the link itself, and nothing else"
    for request in sent:
        assert key not in (await request.all_headers()).get("referer", "")
    name = await page.evaluate("fetch('/api/me').then(answer => answer.json()).then(me => me.identity.name)")
    assert name == "Zoë Müller"


async def test_the_second_time_nothing_is_asked(group: StartedGroup, browser: Browser) -> None:
    link = next(link for link in group.links if link.name == "Zoë Müller")
    again = await Person.arrive(browser, link.name)
    await again.open(address(group, link.url))
    await again.page.wait_for_url("**/lab/**", wait_until="commit")
    await again.leave()


async def test_a_page_that_only_fetches_a_link_is_nobody(group: StartedGroup, browser: Browser) -> None:
    """As a preview does. A real browser's navigation is told apart on a network without TLS too."""
    link = next(link for link in group.links if link.name == "Participant 2")
    # The login page stands for any page of the origin; by its own policy it may fetch nothing.
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.goto(address(group, f"http://{NAME}/login"))
    fetched = "link => fetch(link).then(answer => answer.text())"
    text = await page.evaluate(fetched, address(group, link.url))
    assert "This link is for one person." in text
    assert await page.evaluate("fetch('/api/me').then(answer => answer.status)") == 403
    await context.close()
