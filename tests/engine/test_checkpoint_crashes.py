"""A server that ends in the middle of a checkpoint, at each boundary of each of its calls, or is frozen
there and goes on when another has taken its place: nothing is lost, nothing doubled (rules 4, 5, 17)."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import nbformat
import pytest

from tests.support.memory_site import QUICK, Gate, Node, Site, named_in
from tests.support.notebooks import code, file_of, notebook
from tests.support.tabs import WORK, Tab
from tests.support.waiting import wait_until

PATH = WORK.path
LIMITS = replace(QUICK, lease_ttl=0.2, lease_margin=0.05)


def sources(data: bytes) -> dict[str, str]:
    return {cell["id"]: "".join(cell["source"]) for cell in json.loads(data)["cells"]}


async def opened(node: Node) -> Tab:
    tab = Tab().join(node)
    await wait_until(lambda: tab.synced)
    return tab


async def at_rest(node: Node) -> None:
    runner = node.registry.find(WORK)
    assert runner is not None
    await wait_until(
        lambda: runner.room.saved and runner.room.stored and runner.checkpointer.stamp is not None
    )


def outside_edit(site: Site) -> None:
    """Another program edits the file: a word in a cell, and a cell of its own."""
    content = json.loads(site.files.content(PATH))
    for cell in content["cells"]:
        if cell["id"] == "two":
            cell["source"] = "<outside> y = 2"
    content["cells"].append(code("theirs", "<outside cell>"))
    site.files.external_write(PATH, file_of(content))


def nothing_outside(site: Site) -> None:
    """Nobody else edits the file."""


@dataclass(frozen=True)
class Story:
    """What happens to the file while the first server is at its checkpoint."""

    outside: Callable[[Site], None]
    tokens: tuple[str, ...]


TYPING = Story(nothing_outside, ())
EDITED = Story(outside_edit, ("<outside>", "<outside cell>"))


async def crash_at(number: int, story: Story) -> bool:
    """The first server dies at boundary ``number`` after somebody typed; the second takes over. False if
    its checkpoint was over before."""
    site = Site(LIMITS)
    cells = [code("one", "x = 1"), code("two", "y = 2"), code("gone", "deleted by people")]
    site.files.external_write(PATH, file_of(notebook(*cells)))
    gate = Gate()
    async with site.server(gate) as first, site.server() as second:
        here, there = await opened(first), await opened(second)
        await at_rest(first)
        # Only what follows is counted. The second server stands by and types nothing yet.
        gate.passed, gate.stop_at = 0, number
        story.outside(site)
        here.cell("one").insert(0, "<first> ")
        del here.doc["cells"][2]
        await wait_until(lambda: "<first>" in there.cells()[0] and len(there.cells()) >= 2)
        reached = await stopped_or_at_rest(gate, first)
        await first.kill()
        here.leave()
        there.cell("one").insert(0, "<second> ")
        tokens = ("<first>", "<second>", *story.tokens)

        def converged() -> bool:
            file = sources(site.files.content(PATH))
            shown = {str(cell["id"]): str(cell["source"]) for cell in there.doc["cells"]}
            return file == shown and all(token in str(file) for token in tokens)

        await wait_until(converged, within=20.0, what=f"agreement after a crash {gate.where} ({number})")
        await at_rest(second)
        data = site.files.content(PATH)
        nbformat.validate(nbformat.reads(data.decode(), as_version=4))
        everything = str(there.cells())
        for token in tokens:
            assert everything.count(token) == 1, (
                f"{token} after a crash {gate.where} ({number}): {everything}"
            )
        assert "gone" not in sources(data), f"a deleted cell is back after a crash {gate.where} ({number})"
        # Somebody who was on the first server comes to the second, with what they saw there.
        back = Tab(here.doc).join(second)
        await wait_until(lambda: back.cells() == there.cells())
        assert all(str(there.cells()).count(token) == 1 for token in tokens)
        assert converged()
    return reached


async def stopped_or_at_rest(gate: Gate, node: Node) -> bool:
    rest = asyncio.ensure_future(at_rest(node))
    stop = asyncio.ensure_future(gate.stopped.wait())
    done, pending = await asyncio.wait({rest, stop}, return_when=asyncio.FIRST_COMPLETED, timeout=30.0)
    for task in pending:
        task.cancel()
    await asyncio.wait({rest, stop})
    assert done
    return stop in done


@pytest.mark.parametrize("story", [TYPING, EDITED], ids=["typing", "outside edit"])
async def test_a_crash_between_any_two_steps_of_a_checkpoint(story: Story) -> None:
    for number in itertools.count(1):
        if not await crash_at(number, story):
            break
    assert number > 12


# --- frozen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saves", [1, 40])
async def test_a_late_write_of_a_frozen_server_is_recognised_and_replaced(saves: int) -> None:
    """It had announced its content, was stopped for long, and renames its file over a newer one: that is
    ours and stale, never somebody's edit (rule 5). However often the other saved meanwhile."""
    site = Site(LIMITS)
    site.files.external_write(PATH, file_of(notebook(code("one", "x = 1"), code("two", "y = 2"))))
    gate = Gate()
    async with site.server(gate) as frozen, site.server() as other:
        here, there = await opened(frozen), await opened(other)
        await at_rest(frozen)
        gate.only_at = "before write"
        here.cell("one").insert(0, "<frozen> ")
        await wait_until(gate.stopped.is_set, what="the freeze before the write")
        stale = (await frozen.rendered(WORK)).data
        assert b"<frozen>" in stale
        for number in range(saves):
            there.cell("two").insert(0, f"<{number}> ")
            await wait_until(lambda n=number: f"<{n}>" in str(sources(site.files.content(PATH))))
        newest = site.files.content(PATH)
        site.files.external_write(PATH, stale)
        await wait_until(lambda: site.files.content(PATH) == newest, what="the newest content again")
        assert str(there.cells()).count("<0>") == 1
        assert there.cells()[1].count("<") == saves
        assert not named_in(other.notices, await site.kept())
        assert not [notice for notice in other.notices if "another program" in notice]
        await frozen.kill()


async def test_a_frozen_server_that_goes_on_writes_nothing_over_a_newer_file() -> None:
    site = Site(LIMITS)
    site.files.external_write(PATH, file_of(notebook(code("one", "x = 1"), code("two", "y = 2"))))
    gate = Gate()
    async with site.server(gate) as frozen, site.server() as other:
        here, there = await opened(frozen), await opened(other)
        await at_rest(frozen)
        gate.only_at = "before write"
        here.cell("one").insert(0, "<frozen> ")
        await wait_until(gate.stopped.is_set, what="the freeze before the write")
        there.cell("two").insert(0, "<other> ")
        await wait_until(lambda: "<other>" in str(sources(site.files.content(PATH))))
        gate.go_on()
        await at_rest(frozen)
        await at_rest(other)
        assert sources(site.files.content(PATH)) == {"one": "<frozen> x = 1", "two": "<other> y = 2"}
        assert all(b"<other>" in data for data in site.files.history()[-1:])
        assert here.cells() == there.cells() == ["<frozen> x = 1", "<other> y = 2"]
