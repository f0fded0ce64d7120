"""The stock front end's *Revert Notebook to Checkpoint* and *Reload from Disk*, while somebody else types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Request

from tests.browser.conftest import NOTEBOOK, OWN_CELLS, exercise
from tests.support.browser import SEEN_TIMEOUT, Person, until
from tests.support.servers import RealServer, real_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANNAS, BENS, EVERYBODYS = OWN_CELLS, OWN_CELLS + 1, OWN_CELLS + 2
WORDS = 80


@dataclass(frozen=True, slots=True)
class Two:
    """Anna goes back; Ben types."""

    server: RealServer
    anna: Person
    ben: Person
    asked: list[str]
    """What Anna's page asked the contents API for: method and address below ``api/contents``."""


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """A plain JupyterLab with our extension: no links, Jupyter's own token."""
    with real_server() as running:
        (running.root / NOTEBOOK).write_text(json.dumps(exercise()))
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(server: RealServer, browser: Browser) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        people = [await Person.arrive(browser, name) for name in ("Anna", "Ben")]
        for person in people:
            stack.push_async_callback(person.leave)
        address = f"{server.url}/lab/tree/{NOTEBOOK}?token={server.token}"
        await asyncio.gather(*(person.open_notebook(address) for person in people))
        asked: list[str] = []

        def note(request: Request) -> None:
            _, found, address = request.url.partition("/api/contents/")
            if found:
                asked.append(f"{request.method} {address}")

        people[0].page.on("request", note)
        yield Two(server, people[0], people[1], asked)


async def choose(person: Person, command: str) -> None:
    """A command of the File menu."""
    await person.page.locator(".lm-MenuBar-item", has_text="File").first.click()
    await person.page.locator(f".lm-Menu-item[data-command='{command}']").click(timeout=SEEN_TIMEOUT * 1000)


async def typed_words(person: Person, cell: int) -> str:
    """Types many words at the end of a cell, key by key; all of what was typed is returned."""
    words = "".join(f"w{number}," for number in range(WORDS))
    await person.go_to_end(cell)
    await person.page.keyboard.type(words, delay=30)
    return words


async def button(person: Person, label: str) -> None:
    """Press a button of the dialog that is open, or opens soon."""
    found = person.page.locator(".jp-Dialog button", has_text=label)
    await found.last.click(timeout=SEEN_TIMEOUT * 1000)


async def shows(person: Person, cell: int, text: str) -> None:
    """Wait until a cell holds exactly this."""

    async def there() -> bool:
        return await person.source(cell) == text

    await until(there, person.page, f"{text!r} in cell {cell} on {person.name}'s page")


def versions(two: Two) -> list[dict[str, str]]:
    """Newest first."""
    answer = two.server.request("GET", f"api/collaboration/versions/{NOTEBOOK}")
    assert answer.status_code == 200, answer.text
    listed: list[dict[str, str]] = answer.json()["versions"]
    return listed


def sources(two: Two, version: dict[str, str]) -> list[str]:
    """The cells of a version."""
    address = f"api/collaboration/versions/{NOTEBOOK}?version={version['id']}"
    return [cell["source"] for cell in two.server.request("GET", address).json()["content"]["cells"]]


async def test_reverting_to_a_checkpoint_loses_nothing_of_what_somebody_else_types(two: Two) -> None:
    await two.anna.type_at_end(ANNAS, "my idea")
    await two.ben.sees_source(ANNAS, "my idea")
    await choose(two.anna, "docmanager:save")

    def checkpointed() -> bool:
        return "my idea" in "".join(sources(two, versions(two)[0]))

    await asyncio.to_thread(eventually, checkpointed, what="the save's checkpoint to be a version")
    before = await two.ben.source(BENS)
    await two.anna.type_at_end(ANNAS, " and nonsense")
    await two.ben.sees_source(ANNAS, "nonsense")
    two.asked.clear()

    async def revert() -> None:
        await choose(two.anna, "docmanager:restore-checkpoint")
        await button(two.anna, "Ok")  # the newest is chosen
        await button(two.anna, "Revert")

    words, _ = await asyncio.gather(typed_words(two.ben, BENS), revert())

    for person in (two.anna, two.ben):
        await shows(person, ANNAS, "# Idea 1\nmy idea")
    kept = next(version for version in versions(two) if version["reason"] == "restore")
    cells = sources(two, kept)
    assert cells[ANNAS] == "# Idea 1\nmy idea and nonsense"
    # What Ben typed before the revert's moment is in the version, what he typed after it in the notebook.
    assert cells[BENS].startswith(before)
    stays = words.removeprefix(cells[BENS].removeprefix(before))
    assert 0 < len(stays) < len(words), "the revert was while Ben typed"
    for person in (two.anna, two.ben):
        await shows(person, BENS, before + stays)
    assert [asked for asked in two.asked if asked.startswith("POST")] == [
        asked for asked in two.asked if "/checkpoints/" in asked
    ]
    assert not [asked for asked in two.asked if asked.startswith("PUT") or "content=1" in asked]
    await nobody_was_bothered(two)


async def test_reloading_from_disk_takes_nothing_away(two: Two) -> None:
    await two.anna.type_at_end(ANNAS, " and more")
    before, known = await two.ben.source(BENS), versions(two)
    two.asked.clear()

    async def asked() -> bool:
        if await two.anna.page.locator(".jp-Dialog button", has_text="Reload").count():
            await button(two.anna, "Reload")
        return bool(two.asked)

    async def reload() -> None:
        await choose(two.anna, "docmanager:reload")
        await until(asked, two.anna.page, "the page asked for the file")

    words, _ = await asyncio.gather(typed_words(two.ben, BENS), reload())

    for person in (two.anna, two.ben):
        await shows(person, ANNAS, "# Idea 1\nmy idea and more")
        await shows(person, BENS, before + words)
    assert not [asked for asked in two.asked if not asked.startswith("GET") or "content=1" in asked]
    assert versions(two) == known, "nothing was restored"
    await nobody_was_bothered(two)


async def nobody_was_bothered(two: Two) -> None:
    """Ben saw no dialog, and Anna no error."""
    assert await two.ben.dialogs() == []
    assert not [text for text in await two.anna.dialogs() if "error" in text.lower()]
