"""A group of seven at work: a server started by one command, and a page for each personal link."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support import browser as browsers
from tests.support.browser import Person
from tests.support.started_group import Link, StartedGroup

NOTEBOOK = "iris.ipynb"
RUN_CELL = 1
OWN_CELLS = 2
"""The first of the cells that belong to one person each."""

PICTURES = Path(__file__).parents[2] / "docs" / "images"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(360))
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))  # seven pages are load enough at a time


@dataclass(frozen=True, slots=True)
class SevenPages:
    """The group's server and its people, the tutor last, each with the notebook open."""

    group: StartedGroup
    links: list[Link]
    people: list[Person]

    @property
    def tutor(self) -> Person:
        return self.people[-1]

    def own_cell(self, person: Person) -> int:
        """The index of the cell that this person types in."""
        return OWN_CELLS + self.people.index(person)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    if browsers.chromium() is None and not browsers.must_have_chromium():
        pytest.skip("SKIPPED BROWSER TESTS: no Chromium on PATH; 'apt install chromium' or Google Chrome")
    async with browsers.browser() as running:
        yield running


StartGroup = Callable[..., StartedGroup]
Arrive = Callable[[Link], Awaitable[Person]]


@pytest.fixture(scope="module")
def start_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGroup]:
    """Runs ``jupyter collab start`` with the given options, on a notebook of our own."""
    with ExitStack() as running:

        def start(*options: str) -> StartedGroup:
            home = tmp_path_factory.mktemp("g")
            notebooks = home / "notebooks"
            notebooks.mkdir()
            (notebooks / NOTEBOOK).write_text(json.dumps(exercise()), encoding="utf-8")
            return running.enter_context(StartedGroup(home, "--notebooks", str(notebooks), *options))

        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arrive(browser: Browser) -> AsyncIterator[Arrive]:
    """Opens a personal link in a private window of its own and waits for the notebook."""
    async with AsyncExitStack() as stack:

        async def open_link(link: Link) -> Person:
            person = await Person.arrive(browser, link.name)
            stack.push_async_callback(person.leave)
            await person.open_notebook(link.url)
            return person

        yield open_link


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seven(start_group: StartGroup, arrive: Arrive) -> SevenPages:
    """Six and a tutor; everybody opens the notebook at the same moment, as at the start of a class."""
    group = await asyncio.to_thread(start_group, "--people", "6", "--tutors", "1")
    links = sorted(group.links, key=lambda link: link.role == "tutor")
    return SevenPages(group, links, list(await asyncio.gather(*map(arrive, links))))


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Where to write screenshots, or None: they change with every run, so they are made when asked for."""
    return PICTURES if os.environ.get("COLLAB_SCREENSHOTS") == "1" else None


def exercise() -> dict[str, object]:
    """A short notebook: text, a cell that prints and draws, and one cell for each of the seven."""
    draw = """\
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(7)
for name, centre in {"setosa": (1.5, 0.25), "versicolor": (4.3, 1.3), "virginica": (5.5, 2.0)}.items():
    length, width = rng.normal(centre, (0.3, 0.15), (40, 2)).T
    plt.scatter(length, width, label=name)
plt.gcf().set_size_inches(5, 2.2)
plt.legend()
print("three kinds,", 3 * 40, "flowers")"""
    text = "# Which iris is it?\n\nThree kinds, two measures. Everyone notes an idea, then we try them."
    cells = [cell(0, text, "markdown"), cell(RUN_CELL, draw)]
    cells += [cell(OWN_CELLS + n, f"# Idea {n + 1}\n") for n in range(7)]
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def cell(number: int, source: str, kind: str = "code") -> dict[str, object]:
    common: dict[str, object] = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": source}
    return common | ({"outputs": [], "execution_count": None} if kind == "code" else {})
