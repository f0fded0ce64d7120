"""Real people's pages: JupyterLab in Chromium, one browser context for each person.

Everything waits on what a person could see, with a deadline, because a page on a busy machine may take a
minute to show its first cell.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeout

T = TypeVar("T")

FIRST_CELL_TIMEOUT = 90.0
"""Seconds until a page must show a notebook, with six others loading on the same two cores."""
SEEN_TIMEOUT = 45.0
"""Seconds until a change must be seen on a page."""
LOOK_AGAIN_MS = 100

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # A page nobody looks at must go on working: seven people have seven windows, the machine shows none.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]

# Dialogs can come and go between two looks, so the page itself keeps what it showed.
RECORD_DIALOGS = """
window.shownDialogs = [];
new MutationObserver(changes => {
  for (const change of changes) for (const node of change.addedNodes) {
    if (node.nodeType !== 1) continue;
    const dialog = node.matches('.jp-Dialog') ? node : node.querySelector('.jp-Dialog');
    if (dialog) requestAnimationFrame(() => window.shownDialogs.push(dialog.innerText.trim()));
  }
}).observe(document, { childList: true, subtree: true });
"""

PEOPLE_IN_PANEL = """() => [...document.querySelectorAll('.jp-Collaborator')].map(row => [
  row.querySelector('.jp-CollaboratorHeader > span').textContent,
  row.querySelector('.jp-CollaboratorIcon').style.backgroundColor,
])"""

CARET_COLOURS = """() => [...document.querySelectorAll('.jp-remote-cursor')].map(
  caret => caret.style.borderLeftColor)"""


def chromium() -> str | None:
    """The system's Chromium or Chrome, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def must_have_chromium() -> bool:
    """Whether a missing browser is a failure (CI) and not a reason to skip."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A running Chromium without a window; closed at the end. Raises RuntimeError when none is found."""
    program = chromium()
    if program is None:
        raise RuntimeError(f"no browser on PATH: install Chromium (looked for {', '.join(PROGRAMS)})")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield running
        finally:
            await running.close()


async def until(probe: Callable[[], Awaitable[T]], page: Page, what: str) -> T:
    """Ask ``probe`` until it answers something true, and return that.

    Raises AssertionError, naming ``what`` and the last answer, after SEEN_TIMEOUT.
    """
    deadline = time.monotonic() + SEEN_TIMEOUT
    while not (answer := await probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {SEEN_TIMEOUT:.0f} s; last answer: {answer!r}")
        await page.wait_for_timeout(LOOK_AGAIN_MS)
    return answer


class Person:
    """One person's browser: own cookies, own window, one page."""

    def __init__(self, name: str, context: BrowserContext, page: Page) -> None:
        self.name = name
        self.context = context
        self.page = page

    @classmethod
    async def arrive(cls, browser: Browser, name: str, width: int = 1280, height: int = 800) -> Person:
        """A fresh private window; nothing is opened yet. ``width`` and ``height`` are CSS pixels."""
        context = await browser.new_context(viewport={"width": width, "height": height})
        await context.add_init_script(RECORD_DIALOGS)
        return cls(name, context, await context.new_page())

    async def leave(self) -> None:
        await self.context.close()

    async def open(self, url: str) -> None:
        """Go to an address and wait until it answered, not until a notebook is there."""
        await self.page.goto(url, wait_until="domcontentloaded", timeout=FIRST_CELL_TIMEOUT * 1000)

    async def open_notebook(self, url: str) -> None:
        """Go to an address that leads to a notebook; wait until it can be typed in and its kernel is idle.

        Raises AssertionError that says what the page shows instead.
        """
        await self.open(url)
        try:
            await self.page.wait_for_selector(
                ".jp-Notebook .jp-CodeCell .cm-content", timeout=FIRST_CELL_TIMEOUT * 1000
            )
            idle = self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
            await idle.first.wait_for(timeout=FIRST_CELL_TIMEOUT * 1000)
        except PlaywrightTimeout as late:
            shown = (await self.page.inner_text("body"))[:1000]
            raise AssertionError(
                f"no notebook for {self.name} at {self.page.url}; shown: {shown!r}"
            ) from late

    def cell(self, index: int) -> Locator:
        """The cell at a place, counted from 0 and from the notebook's start."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    async def go_to_end(self, index: int) -> None:
        """Click into a cell and go to the end of its text."""
        await self.cell(index).locator(".cm-content").click()
        await self.page.keyboard.press("Control+End")

    async def type_at_end(self, index: int, text: str) -> None:
        """Go to the end of a cell and type, key by key."""
        await self.go_to_end(index)
        await self.page.keyboard.type(text)

    async def type_slowly(self, index: int, text: str) -> None:
        """Go to the end of a cell and type as somebody who thinks: a key each tenth of a second."""
        await self.go_to_end(index)
        await self.page.keyboard.type(text, delay=100)

    async def run(self, index: int) -> None:
        """Run a cell and stay on it, by the keyboard."""
        await self.cell(index).locator(".cm-content").click()
        await self.page.keyboard.press("Control+Enter")

    async def sees_source(self, index: int, text: str) -> None:
        """Wait until a cell's source contains ``text``. Raises AssertionError after SEEN_TIMEOUT."""
        editor = self.cell(index).locator(".cm-content")
        await expect(editor, f"cell {index} on {self.name}'s page").to_contain_text(
            text, timeout=SEEN_TIMEOUT * 1000
        )

    async def source(self, index: int) -> str:
        """A cell's text as it stands on the page now."""
        lines = await self.cell(index).locator(".cm-line").all_inner_texts()
        return "\n".join(line.rstrip("\n") for line in lines)

    async def sees_output(self, index: int, text: str) -> None:
        """Wait until a cell's outputs contain ``text``. Raises AssertionError after SEEN_TIMEOUT."""
        area = self.cell(index).locator(".jp-OutputArea-output").filter(has_text=text)
        await expect(area.first, f"output of cell {index} on {self.name}'s page").to_be_visible(
            timeout=SEEN_TIMEOUT * 1000
        )

    async def sees_figure(self, index: int) -> None:
        """Wait until a cell's outputs contain an image."""
        picture = self.cell(index).locator(".jp-OutputArea-output img")
        await expect(picture.first, f"figure on {self.name}'s page").to_be_visible(
            timeout=SEEN_TIMEOUT * 1000
        )

    async def show_people(self) -> None:
        """Open the panel that lists who is there."""
        panel = self.page.locator("#jp-collaboration-panel")
        if not await panel.is_visible():
            await self.page.locator("[data-id='jp-collaboration-panel']").click()
        await panel.wait_for(timeout=SEEN_TIMEOUT * 1000)

    async def people(self) -> list[tuple[str, str]]:
        """The others as the panel lists them: display name and CSS colour."""
        rows: list[list[str]] = await self.page.evaluate(PEOPLE_IN_PANEL)
        return [(name, colour) for name, colour in rows]

    async def own_name(self) -> str:
        """The name that the panel shows as this person's own."""
        name = await self.page.locator(".jp-UserInfo-Icon").get_attribute("title")
        return name or ""

    async def own_colour(self) -> str:
        """The CSS colour that the panel shows as this person's own."""
        icon = self.page.locator(".jp-UserInfo-Icon")
        return str(await icon.evaluate("icon => icon.style.backgroundColor"))

    async def caret_colours(self) -> list[str]:
        """The CSS colours of the others' carets on this page."""
        colours: list[str] = await self.page.evaluate(CARET_COLOURS)
        return colours

    async def sees_caret(self, index: int, colour: str) -> None:
        """Wait until a cell shows another person's caret of this CSS colour. Raises AssertionError."""
        carets = self.cell(index).locator(".jp-remote-cursor")

        async def there() -> bool:
            return colour in await carets.evaluate_all("all => all.map(one => one.style.borderLeftColor)")

        await until(there, self.page, f"a caret of {colour} in cell {index} on {self.name}'s page")

    async def dialogs(self) -> list[str]:
        """What every dialog said that this page ever showed, but the stock front end's "Loading"."""
        shown: list[str] = await self.page.evaluate("window.shownDialogs")
        return [text for text in shown if not text.startswith("Loading")]

    async def picture(self, path: Path) -> None:
        """Write what the page shows as a PNG, without the mouse's and notifications' traces."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path, animations="disabled", caret="initial")
