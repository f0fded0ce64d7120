"""Every way a file changes under an open document while people type: the real engine on memory twins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from pycrdt import Map

from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from tests.support.file_story import (
    NOTES,
    PATH,
    at_rest,
    changed,
    file_cells,
    opened,
    same_everywhere,
    site_with_files,
    tab_cells,
)
from tests.support.memory_site import QUICK, Site, named_in
from tests.support.notebooks import code, file_of, notebook
from tests.support.tabs import WORK, Tab
from tests.support.waiting import each, wait_until


@pytest.fixture
def site() -> Site:
    return site_with_files()


# --- touched, moved, deleted -----------------------------------------------------------------------


async def test_touching_the_file_changes_nothing(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        updates: list[object] = []
        subscription = tab.doc.observe(updates.append)
        writes = site.files.writes

        async def touch() -> None:
            site.files.external_touch(PATH)

        await each(0.03, 0.6, touch)
        await at_rest(node)
        assert updates == []
        assert site.files.writes == writes
        tab.doc.unobserve(subscription)


async def test_the_same_content_in_another_form_is_not_an_edit_and_not_written_over(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        other = json.dumps(json.loads(site.files.content(PATH)), indent=4).encode()
        site.files.external_write(PATH, other)
        runner = node.registry.find(WORK)
        assert runner is not None
        stamp = await site.files.stamp(PATH)
        await wait_until(lambda: runner.checkpointer.stamp == stamp, what="a look at it")
        await at_rest(node)
        assert site.files.content(PATH) == other
        tab.cell("one").insert(0, "typed ")
        await wait_until(lambda: "typed x = 1" in dict(file_cells(site)).values())


@pytest.mark.parametrize("new", ["renamed.ipynb", "week/deep/work.ipynb"])
async def test_a_file_that_a_shell_moves_takes_its_people_along(site: Site, new: str) -> None:
    site.files.external_write("week/deep/other.ipynb", file_of(notebook(code("other", "y"))))
    async with site.server() as node:
        tabs = [await opened(node) for _ in range(3)]
        for number, tab in enumerate(tabs):
            tab.cell("one").insert(0, f"<a{number}> ")
        await at_rest(node)
        site.files.external_rename(PATH, new)
        for number, tab in enumerate(tabs):
            tab.cell("three").insert(0, f"<b{number}> ")
        moved = DocumentKey(NOTEBOOK, new)
        await wait_until(lambda: node.registry.find(moved), what="the move")
        tabs[0].cell("two").insert(0, "<c> ")
        await wait_until(lambda: file_cells(site, new) == tab_cells(tabs[1]), what="the file")
        text = str(file_cells(site, new))
        assert all(text.count(f"<{token}>") == 1 for token in ("a0", "a1", "a2", "b0", "b1", "b2", "c"))
        assert PATH not in site.files.paths()
        assert all(tab.closed is None for tab in tabs)
        assert [told.message for told in node.told if told.kind == "moved"] == [PATH]
        again = await node.session_id(moved)
        assert again[1] is False
        assert tabs[0].doc.get("state", type=Map)["path"] == new


async def test_a_deleted_file_ends_its_document_and_what_it_said_is_kept(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        site.files.fail_writes = "is not reachable"
        tab.cell("one").insert(0, "<never in the file> ")
        await wait_until(lambda: node.notices, what="a word about it")
        document = await site.store.find_document(WORK)
        site.files.external_delete(PATH)
        await wait_until(lambda: tab.closed is not None, what="the end")
        assert tab.closed is not None
        assert tab.closed[0] == 4404
        assert PATH not in site.files.paths()
        assert document is not None
        version = (await site.versions.list(document))[0]
        assert version.id in node.notices[-1]
        kept = await site.versions.read(document, version.id)
        assert kept is not None
        assert b"<never in the file>" in kept
        assert version.reason == "lineage"
        tab.join(node)
        await wait_until(lambda: tab.closed is not None, what="no file to open")
        assert tab.closed[0] == 4404


async def test_a_file_made_again_after_its_end_is_another_document(site: Site) -> None:
    async with site.server() as node:
        session, _ = await node.session_id(WORK)
        tab = await opened(node)
        site.files.external_delete(PATH)
        await wait_until(lambda: tab.closed is not None, what="the end")
        site.files.external_write(PATH, file_of(notebook(code("new", "n = 1"))))
        old = Tab(tab.doc).join(node, session_id=session)
        await wait_until(lambda: old.closed is not None, what="the refusal")
        assert old.closed is not None
        assert old.closed[0] == 1003
        fresh = await opened(node)
        assert await same_everywhere(site, fresh) == [("new", "n = 1")]
        assert (await node.session_id(WORK))[0] != session


async def test_a_program_that_saves_by_deleting_first_is_an_edit(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        data = changed(site, lambda cells: cells.update(two="# Two, by a program"))
        tab.cell("one").insert(0, "<typed> ")
        site.files.external_delete(PATH)
        runner = node.registry.find(WORK)
        assert runner is not None
        await wait_until(lambda: runner.checkpointer.trouble, what="a look at the missing file")
        site.files.external_write(PATH, data)
        await wait_until(lambda: "by a program" in tab.cells()[1])
        cells = await same_everywhere(site, tab)
        assert cells == [("one", "<typed> x = 1"), ("two", "# Two, by a program"), ("three", "z = 3")]
        assert tab.closed is None


async def test_a_folder_in_the_files_place_is_told_once_and_healed(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        data = site.files.content(PATH)
        site.files.external_delete(PATH)
        site.files.folders.add(PATH)
        tab.cell("one").insert(0, "<typed> ")
        await wait_until(lambda: node.notices, what="a word about it")
        assert "is a folder" in node.notices[0]
        tab.cell("one").insert(0, "<more> ")
        runner = node.registry.find(WORK)
        assert runner is not None
        await wait_until(lambda: runner.room.stored, what="storing")
        site.files.folders.remove(PATH)
        site.files.external_write(PATH, data)
        assert ("one", "<more> <typed> x = 1") in await same_everywhere(site, tab)
        assert node.notices[1:] == [f"{PATH} can be saved again"]


# --- what the file system refuses --------------------------------------------------------------------


def read_only(site: Site) -> Callable[[], None]:
    site.files.read_only.add(PATH)
    return lambda: site.files.read_only.discard(PATH)


def disk_full(site: Site) -> Callable[[], None]:
    site.files.disk_full = True

    def mend() -> None:
        site.files.disk_full = False

    return mend


@pytest.mark.parametrize(("break_it", "why"), [(read_only, "read-only"), (disk_full, "disk is full")])
async def test_people_go_on_while_the_file_can_not_be_written_and_are_told_once(
    site: Site, break_it: Callable[[Site], Callable[[], None]], why: str
) -> None:
    async with site.server() as node:
        tab, other = await opened(node), await opened(node)
        before = site.files.content(PATH)
        mend = break_it(site)
        for number in range(3):
            tab.cell("one").insert(0, f"<{number}> ")
            await wait_until(lambda n=number: f"<{n}>" in other.cells()[0])
            await wait_until(lambda n=number: tab.raw[-1]["n"] == n + 2)
        await wait_until(lambda: node.notices, what="a word about it")
        (status,) = node.rooms()
        assert why in status.file_trouble
        assert not await node.save(WORK)
        assert site.files.content(PATH) == before
        mend()
        assert ("one", "<2> <1> <0> x = 1") in await same_everywhere(site, tab, other)
        assert [why in notice for notice in node.notices] == [True, False]
        assert len([told for told in node.told if told.level == "ERROR"]) == 1
        (status,) = node.rooms()
        assert status.file_trouble == ""


async def test_whoever_opens_a_read_only_file_is_told_before_typing(site: Site) -> None:
    site.files.read_only.add(PATH)
    async with site.server() as node:
        tab = await opened(node)
        assert "read-only" in node.notices[0]
        assert "read-only" in node.rooms()[0].file_trouble
        site.files.read_only.discard(PATH)
        await wait_until(lambda: node.rooms()[0].file_trouble == "", what="the look at it")
        site.files.read_only.add(PATH)
        await wait_until(lambda: "read-only" in node.rooms()[0].file_trouble)
        tab.cell("one").insert(0, "<typed> ")
        site.files.read_only.discard(PATH)
        assert ("one", "<typed> x = 1") in await same_everywhere(site, tab)


async def test_a_slow_file_system_holds_up_nobody_and_no_other_file(site: Site) -> None:
    async with site.server() as node:
        notebook_tab, peer, notes = await opened(node), await opened(node), await opened(node, NOTES)
        hanging = site.files.hang(PATH)
        notebook_tab.cell("one").insert(0, "<typed> ")
        assert "<typed>" in peer.cells()[0]  # in the same call: nothing waits in between
        await wait_until(lambda: notebook_tab.raw[-1]["n"] == 2, what="storing")
        await wait_until(lambda: hanging.waiting, what="a call that hangs")
        site.files.external_write(NOTES.path, b"first line\nchanged outside\n")
        await wait_until(lambda: "changed outside" in str(notes.text), what="the other file")
        assert "<typed>" not in str(file_cells(site))
        hanging.go_on()
        assert ("one", "<typed> x = 1") in await same_everywhere(site, notebook_tab, peer)


# --- files that can't be read ------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b"", b"cut"])
async def test_a_file_that_is_being_written_is_waited_for(site: Site, torn: bytes) -> None:
    async with site.server() as node:
        tab = await opened(node)
        whole = changed(site, lambda cells: cells.update(two="# By a slow program"))
        site.files.external_write(PATH, whole[: len(whole) // 2] if torn else b"")
        runner = node.registry.find(WORK)
        assert runner is not None
        await wait_until(lambda: not runner.room.saved, what="a look at the torn file")
        tab.cell("one").insert(0, "<typed> ")
        site.files.external_write(PATH, whole)
        await wait_until(lambda: tab.cells()[1] == "# By a slow program")
        cells = await same_everywhere(site, tab)
        assert cells == [("one", "<typed> x = 1"), ("two", "# By a slow program"), ("three", "z = 3")]
        assert not named_in(node.notices, await site.kept())
        assert not [notice for notice in node.notices if "unreadable" in notice]


@pytest.mark.parametrize("broken", [b'{"cells": [<<<<<<< HEAD\n', b"", b"\xff\xfe\x00", b"[]"])
async def test_a_broken_file_is_kept_and_written_anew_from_the_document(site: Site, broken: bytes) -> None:
    async with site.server() as node:
        tab = await opened(node)
        site.files.external_write(PATH, broken)
        tab.cell("one").insert(0, "<typed> ")
        await wait_until(lambda: node.notices, what="a word about it")
        assert "unreadable" in node.notices[0]
        cells = await same_everywhere(site, tab)
        assert cells == [("one", "<typed> x = 1"), ("two", "# Two"), ("three", "z = 3")]
        assert named_in(node.notices, await site.kept()) == broken


async def test_a_file_that_changes_for_ever_without_being_readable_is_healed_too(site: Site) -> None:
    site.limits = replace(QUICK, torn_patience=0.5, torn_most=0.8)
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<typed> ")
        numbers = iter(range(1000))

        async def scribble() -> None:
            if not node.notices:
                site.files.external_write(PATH, b"{%d" % next(numbers))

        await each(0.1, 1.5, scribble)
        assert node.notices
        assert ("one", "<typed> x = 1") in await same_everywhere(site, tab)


async def test_a_text_file_that_was_emptied_on_purpose_is_taken_so_after_a_while(site: Site) -> None:
    site.files.external_write(NOTES.path, b"a long text\n" * 1000)
    async with site.server() as node:
        tab = await opened(node, NOTES)
        site.files.external_write(NOTES.path, b"")
        await wait_until(lambda: str(tab.text) == "")
        assert named_in(node.notices, await site.kept(NOTES)) == b"a long text\n" * 1000
        await at_rest(node, NOTES)
        assert site.files.content(NOTES.path) == b""


async def test_a_broken_file_stays_while_it_can_not_be_kept(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        site.versions.failing = "the disk of the versions is full"
        site.files.external_write(PATH, b"{ broken")
        await wait_until(lambda: any("disk of the versions" in told.message for told in node.told))
        assert site.files.content(PATH) == b"{ broken"
        site.versions.failing = None
        assert ("one", "x = 1") in await same_everywhere(site, tab)
        assert named_in(node.notices, await site.kept()) == b"{ broken"
