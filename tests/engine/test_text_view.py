"""A notebook and its text view open at once, people typing in both (F26)."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import nbformat
import pytest
from pycrdt import Array

from notebook_sync.core.ids import DocumentKey
from tests.support.memory_site import QUICK, Node, Site, named_in
from tests.support.notebooks import TEXT, code, file_of, notebook
from tests.support.tabs import WORK, Tab
from tests.support.waiting import each, wait_until

PATH = WORK.path
VIEW = DocumentKey(TEXT, PATH)


@pytest.fixture
def site() -> Site:
    made = Site(replace(QUICK, text_view_idle=0.15))
    cells = [code(name, f"{name} = 1") for name in ("one", "two", "three", "four")]
    made.files.external_write(PATH, file_of(notebook(*cells)))
    return made


async def opened(node: Node, key: DocumentKey) -> Tab:
    tab = Tab().join(node, key)
    await wait_until(lambda: tab.synced)
    await at_rest(node, key)
    return tab


async def at_rest(node: Node, key: DocumentKey) -> None:
    runner = node.registry.find(key)
    assert runner is not None
    room, checkpointer = runner.room, runner.checkpointer
    await wait_until(lambda: room.saved and room.stored and checkpointer.stamp is not None)


def file_text(site: Site) -> str:
    return site.files.content(PATH).decode()


def type_into(view: Tab, after: str, words: str) -> None:
    """Somebody puts the caret behind ``after`` in the JSON text and types."""
    text = str(view.text)
    view.text.insert(len(text[: text.index(after) + len(after)].encode()), words)


def in_file(site: Site) -> dict[str, str]:
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(file_text(site))["cells"]}


def in_notebook(tab: Tab) -> dict[str, str]:
    cells = json.loads(str(tab.doc.get("cells", type=Array)))
    return {cell["id"]: "".join(cell["source"]) for cell in cells}


async def all_agree(site: Site, notebook_tab: Tab, view: Tab) -> dict[str, str]:
    await wait_until(
        lambda: in_notebook(notebook_tab) == in_file(site) and str(view.text) == file_text(site),
        what="agreement of notebook, text and file",
    )
    return in_file(site)


async def test_what_people_type_in_the_notebook_appears_in_the_text(site: Site) -> None:
    async with site.server() as node:
        tab, view = await opened(node, WORK), await opened(node, VIEW)
        before = str(view.text)
        tab.cell("two").insert(0, "<typed> ")
        await wait_until(lambda: "<typed> two = 1" in str(view.text))
        cells = await all_agree(site, tab, view)
        assert cells["two"] == "<typed> two = 1"
        assert before != str(view.text)


async def test_what_people_type_in_the_text_appears_in_the_notebook(site: Site) -> None:
    async with site.server() as node:
        tab, view = await opened(node, WORK), await opened(node, VIEW)
        type_into(view, "two = ", "<typed> ")
        await wait_until(lambda: in_notebook(tab)["two"] == "two = <typed> 1")
        assert (await all_agree(site, tab, view))["two"] == "two = <typed> 1"
        assert not [told for told in node.told if told.level in ("WARNING", "ERROR")]


async def test_text_that_is_no_notebook_is_not_written_and_that_is_no_error(site: Site) -> None:
    async with site.server() as node:
        tab, view = await opened(node, WORK), await opened(node, VIEW)
        before = site.files.content(PATH)
        type_into(view, '"cells": [', "{ half of a cell")
        assert not await node.save(VIEW)
        tab.cell("one").insert(0, "<notebook> ")
        await wait_until(lambda: in_file(site)["one"] == "<notebook> one = 1")
        assert before != site.files.content(PATH)
        await at_rest(node, VIEW)
        assert "{ half of a cell" in str(view.text)
        assert "half of" not in file_text(site)
        assert not [told for told in node.told if told.level in ("WARNING", "ERROR")]
        # It gets whole again: then both sides' edits are there.
        text = str(view.text)
        start = len(text[: text.index("{ half of a cell")].encode())
        del view.text[start : start + len("{ half of a cell")]
        type_into(view, "two = ", "<text> ")
        cells = await all_agree(site, tab, view)
        assert (cells["one"], cells["two"]) == ("<notebook> one = 1", "two = <text> 1")


async def test_nothing_is_taken_from_somebody_who_is_still_typing(site: Site) -> None:
    async with site.server() as node:
        tab, view = await opened(node, WORK), await opened(node, VIEW)
        letters = iter("abcdefghijklmnopqrst")

        async def key() -> None:
            type_into(view, "two = ", next(letters, "."))
            assert in_file(site)["two"] == "two = 1"

        await each(0.05, 0.8, key)
        await wait_until(lambda: "ba1" in in_notebook(tab)["two"])
        await all_agree(site, tab, view)


async def test_only_the_text_view_is_open(site: Site) -> None:
    async with site.server() as node:
        view = await opened(node, VIEW)
        type_into(view, "two = ", "<typed> ")
        await wait_until(lambda: in_file(site)["two"] == "two = <typed> 1")
        assert file_text(site) == str(view.text)
        tab = await opened(node, WORK)
        assert (await all_agree(site, tab, view))["two"] == "two = <typed> 1"


async def test_the_same_line_changed_in_both_stays_as_in_the_notebook_and_the_text_is_kept(
    site: Site,
) -> None:
    async with site.server() as node:
        tab, view = await opened(node, WORK), await opened(node, VIEW)
        site.files.read_only.add(PATH)
        type_into(view, "two = 1", "<text>")
        tab.cell("two").insert(len("two = 1"), "<notebook>")
        await wait_until(lambda: any("read-only" in notice for notice in node.notices))
        site.files.read_only.discard(PATH)
        cells = await all_agree(site, tab, view)
        kept = named_in(node.notices, await site.kept(VIEW)) + named_in(node.notices, await site.kept())
        for token in ("<text>", "<notebook>"):
            assert token in cells["two"] or token.encode() in kept
        assert cells["two"].startswith("two = 1<")


class Typist:
    """Types unique words, with pauses; a whole word is one edit."""

    def __init__(self, name: str, rng: random.Random, type_word: Callable[[str], None]) -> None:
        self.words: list[str] = []
        self._name = name
        self._rng = rng
        self._type = type_word
        self._rests = 0

    def act(self) -> None:
        """A word, or a rest of a while."""
        if self._rests:
            self._rests -= 1
            return
        word = f"<{self._name}.{len(self.words)}>"
        self._type(word)
        self.words.append(word)
        if self._rng.random() < 0.15:
            self._rests = 12


@pytest.mark.parametrize("seed", range(3))
async def test_two_people_type_in_each_and_nothing_fights_doubles_or_is_lost(site: Site, seed: int) -> None:
    """The bursts and pauses of half a minute, ten times as fast."""
    rng = random.Random(seed)
    cells = ("one", "two", "three", "four")
    async with site.server() as node, site.server() as other:
        notebooks = [await opened(node, WORK), await opened(other, WORK)]
        views = [await opened(node, VIEW), await opened(other, VIEW)]

        def into_notebook(tab: Tab) -> Callable[[str], None]:
            return lambda word: tab.cell(rng.choice(cells)).insert(0, f"# {word}\n")

        def into_text(view: Tab) -> Callable[[str], None]:
            # At the end of a cell's last line: another line than the notebook's people type in.
            return lambda word: type_into(view, f"{rng.choice(cells)} = 1", f" {word}")

        typists = [Typist(f"n{i}", rng, into_notebook(tab)) for i, tab in enumerate(notebooks)]
        typists += [Typist(f"t{i}", rng, into_text(view)) for i, view in enumerate(views)]

        async def all_type() -> None:
            for typist in typists:
                typist.act()

        await each(0.03, 3.0, all_type)
        await wait_until(
            lambda: (
                str(views[0].text) == str(views[1].text) == file_text(site)
                and in_notebook(notebooks[0]) == in_notebook(notebooks[1]) == in_file(site)
            ),
            what="agreement of all",
        )
        for data in site.files.history():
            nbformat.validate(nbformat.reads(data.decode(), as_version=4))
        text = str(in_file(site))
        kept = b"".join(
            [
                named_in(server.notices, await site.kept(key))
                for server in (node, other)
                for key in (WORK, VIEW)
            ]
        )
        words = [word for typist in typists for word in typist.words]
        assert len(words) > 60
        counts = Counter({word: text.count(word) for word in words})
        assert [word for word in words if counts[word] > 1] == []
        lost = [word for word in words if not counts[word]]
        assert [word for word in lost if word.encode() not in kept] == []
        # Nobody was in another's line, so nothing had to be kept aside.
        assert lost == []
        # It comes to rest: neither goes on to answer the other.
        rooms = [runner.room for server in (node, other) for runner in server.registry]
        await wait_until(lambda: all(room.saved and room.stored for room in rooms), what="rest")
        written = len(site.files.history())
        seqs = {runner.key: runner.room.seq for runner in node.registry}

        async def still() -> None:
            assert len(site.files.history()) == written
            assert {runner.key: runner.room.seq for runner in node.registry} == seqs

        await each(0.05, 0.6, still)
