"""Every way a file changes under an open document while people type: the real engine on memory twins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pycrdt import Array, Map, Text

from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from notebook_sync.core.lifecycle import DocumentState
from tests.support.memory_site import QUICK, Node, Site, named_in
from tests.support.notebooks import TEXT, code, file_of, markdown, notebook, stream
from tests.support.tabs import WORK, Tab
from tests.support.waiting import each, wait_until

PATH = WORK.path
NOTES = DocumentKey(TEXT, "notes.txt")
CELLS = notebook(code("one", "x = 1"), markdown("two", "# Two"), code("three", "z = 3"))


@pytest.fixture
def site() -> Site:
    made = Site()
    made.files.external_write(PATH, file_of(CELLS))
    made.files.external_write(NOTES.path, b"first line\nsecond line\n")
    return made


async def opened(node: Node, key: DocumentKey = WORK) -> Tab:
    """Somebody has the document open, and the file was looked at."""
    tab = Tab().join(node, key)
    await wait_until(lambda: tab.synced, what="the document")
    await at_rest(node, key)
    return tab


async def at_rest(node: Node, key: DocumentKey = WORK) -> None:
    """Stored, saved, and said so."""
    runner = node.registry.find(key)
    assert runner is not None
    await wait_until(
        lambda: runner.room.saved and runner.room.stored and runner.checkpointer.stamp is not None,
        what="rest",
    )


def file_cells(site: Site, path: str = PATH) -> list[tuple[str, str]]:
    try:
        content = json.loads(site.files.content(path))
    except (ValueError, KeyError):  # broken, or not there
        return [("", "")]
    return [(c["id"], "".join(c["source"])) for c in content["cells"]]


def y_cells(tab: Tab) -> Array[Any]:
    cells: Array[Any] = tab.doc.get("cells", type=Array)
    return cells


def tab_cells(tab: Tab) -> list[tuple[str, str]]:
    return [(c["id"], "".join(c["source"])) for c in json.loads(str(y_cells(tab)))]


def changed(site: Site, change: Callable[[dict[str, str]], None], path: str = PATH) -> bytes:
    """The file with other sources: ``change`` edits a dict of them by id; a new id is a new cell."""
    content = json.loads(site.files.content(path))
    sources = {c["id"]: "".join(c["source"]) for c in content["cells"]}
    known = {c["id"]: c for c in content["cells"]}
    change(sources)
    content["cells"] = [{**known.get(i, code(i, "")), "source": text} for i, text in sources.items()]
    return file_of(content)


async def same_everywhere(site: Site, *tabs: Tab) -> list[tuple[str, str]]:
    """What all tabs and the file say once they agree."""
    await wait_until(
        lambda: all(tab_cells(tab) == file_cells(site) for tab in tabs), what="agreement of tabs and file"
    )
    return file_cells(site)


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
        assert node.notices[1:] == [f"{PATH} is saved again"]


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
        (status,) = node.rooms()
        assert status.file_trouble == ""


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


# --- edits by other programs --------------------------------------------------------------------------


async def test_what_loses_a_conflict_is_a_version_that_a_notice_names(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        site.files.read_only.add(PATH)
        tab.cell("one").insert(0, "<people> ")
        await wait_until(lambda: node.notices)
        site.files.external_write(PATH, changed(site, lambda cells: cells.update(one="<program> x = 1")))
        site.files.read_only.discard(PATH)
        cells = await same_everywhere(site, tab)
        assert ("one", "<people> x = 1") in cells
        assert b"<program> x = 1" in named_in(node.notices, await site.kept())


async def test_a_loser_that_can_not_be_kept_is_not_written_over(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        site.versions.failing = "the disk of the versions is full"
        site.files.read_only.add(PATH)
        tab.cell("one").insert(0, "<people> ")
        await wait_until(lambda: node.notices)
        site.files.external_write(PATH, changed(site, lambda cells: cells.update(one="<program> x = 1")))
        site.files.read_only.discard(PATH)
        await wait_until(lambda: any("disk of the versions" in told.message for told in node.told))
        assert ("one", "<program> x = 1") in file_cells(site)
        site.versions.failing = None
        assert ("one", "<people> x = 1") in await same_everywhere(site, tab)
        assert b"<program> x = 1" in named_in(node.notices, await site.kept())


async def test_an_edit_that_makes_the_notebook_much_smaller_keeps_what_it_was(site: Site) -> None:
    many = notebook(*[code(f"c{number}", f"x = {number}") for number in range(8)])
    site.files.external_write(PATH, file_of(many))
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("c7").insert(0, "<typed> ")
        await at_rest(node)

        def most(cells: dict[str, str]) -> None:
            for number in range(2, 8):
                del cells[f"c{number}"]

        site.files.external_write(PATH, changed(site, most))
        await wait_until(lambda: len(tab.cells()) == 2)
        kept = await site.kept()
        assert "shrink" in [version.reason for version, _ in kept.values()]
        assert b"<typed> x = 7" in named_in(node.notices, kept)


async def test_outputs_that_another_program_strips_are_kept(site: Site) -> None:
    big = notebook(code("one", "print()", stream("a line\n" * 2000)))
    site.files.external_write(PATH, file_of(big))
    async with site.server() as node:
        tab = await opened(node)
        site.files.external_write(PATH, file_of(notebook(code("one", "print()"))))
        await wait_until(lambda: not y_cells(tab)[0]["outputs"])
        assert b"a line" in named_in(node.notices, await site.kept())


async def test_people_who_delete_everything_are_not_stopped(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        del y_cells(tab)[0:3]
        await wait_until(lambda: file_cells(site) == [])
        notes = await opened(node, NOTES)
        notes.text.clear()
        await wait_until(lambda: site.files.content(NOTES.path) == b"")


async def test_a_document_that_never_had_anything_is_not_written_over_a_file_with_content(
    site: Site,
) -> None:
    """What a store that lost half of a document might hold: a history without its seed."""
    async with site.server() as node:
        await opened(node)
    before = site.files.content(PATH)
    document = await site.store.find_document(WORK)
    assert document is not None
    site.hollow_out(document)
    async with site.server() as node:
        tab = Tab().join(node)
        await wait_until(lambda: any("never had any" in told.message for told in node.told))
        tab.leave()
        assert site.files.content(PATH) == before


async def test_cells_that_people_deleted_do_not_come_back_from_a_file_without_a_base(site: Site) -> None:
    """The record of the last common content is lost or damaged; of the cells ever seen it is not."""
    async with site.server() as node:
        tab = await opened(node)
        old = site.files.content(PATH)
        del y_cells(tab)[1]
        await wait_until(lambda: [i for i, _ in file_cells(site)] == ["one", "three"])
        await at_rest(node)
        site.ledger.lose_bases()
        content = json.loads(old)
        content["cells"].append(code("brand-new", "n = 1"))
        site.files.external_write(PATH, file_of(content))
        await wait_until(lambda: len(tab.cells()) == 3)
        cells = await same_everywhere(site, tab)
        assert [i for i, _ in cells] == ["one", "three", "brand-new"]
        assert b"# Two" in named_in(node.notices, await site.kept())


async def test_a_cell_brought_back_by_undo_stays(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        cell = json.loads(str(y_cells(tab)))[1]
        del y_cells(tab)[1]
        await wait_until(lambda: len(file_cells(site)) == 2)
        again = Map({**cell, "source": Text(cell["source"]), "metadata": Map({})})
        y_cells(tab).insert(1, again)
        await wait_until(lambda: len(file_cells(site)) == 3)
        site.files.external_write(PATH, changed(site, lambda cells: cells.update(one="x = 2")))
        await wait_until(lambda: tab.cells()[0] == "x = 2")
        assert [i for i, _ in await same_everywhere(site, tab)] == ["one", "two", "three"]


# --- late writers --------------------------------------------------------------------------------------


async def test_what_is_written_into_the_replaced_file_is_merged_from_where_its_writer_began(
    site: Site,
) -> None:
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<a> ")
        await at_rest(node)
        replaced = site.files.content(PATH)
        late = changed(site, lambda cells: cells.update(two="# Two, late"))
        tab.cell("one").insert(0, "<b> ")
        await wait_until(lambda: "<b>" in str(file_cells(site)))
        site.files.external_late_write(PATH, late, replaced)
        await wait_until(lambda: tab.cells()[1] == "# Two, late")
        cells = await same_everywhere(site, tab)
        assert cells == [("one", "<b> <a> x = 1"), ("two", "# Two, late"), ("three", "z = 3")]
        assert site.files.paths() == [NOTES.path, PATH]


@pytest.mark.parametrize("known", [True, False])
async def test_a_late_write_that_can_not_be_merged_is_a_version(site: Site, known: bool) -> None:
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<a> ")
        await at_rest(node)
        late = b"{ half of a notebook" if known else file_of(CELLS)
        replaced = site.files.content(PATH) if known else b"nobody knows this"
        site.files.external_late_write(PATH, late, replaced)
        await wait_until(lambda: node.notices)
        await at_rest(node)
        assert named_in(node.notices, await site.kept()) == late
        assert tab.cells()[0] == "<a> x = 1"


async def test_a_late_write_when_nobody_is_there_any_more_is_kept_beside(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        tab.leave()
        await wait_until(lambda: node.registry.find(WORK) is None)
        site.files.external_late_write(PATH, b"late", site.files.content(PATH))
        assert site.files.content(f"{PATH}.late") == b"late"


# --- who may write, and when -----------------------------------------------------------------------------


async def test_saving_comes_to_rest(site: Site) -> None:
    """Save, hash in the state, update, dirty, save: it must not go round (rule 30)."""
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<typed> ")
        await at_rest(node)
        await wait_until(lambda: tab.doc.get("state", type=Map)["dirty"] is False)
        updates: list[object] = []
        subscription = tab.doc.observe(updates.append)
        runner = node.registry.find(WORK)
        assert runner is not None
        writes, seq = site.files.writes, runner.room.seq

        async def nothing() -> None:
            assert updates == []
            assert (site.files.writes, runner.room.seq) == (writes, seq)

        await each(0.05, 1.0, nothing)
        for _ in range(3):
            assert await node.save(WORK)
        assert updates == []
        tab.doc.unobserve(subscription)


async def test_one_of_two_servers_writes_and_both_confirm(site: Site) -> None:
    async with site.server() as one, site.server() as two:
        here, there = await opened(one), await opened(two)
        here.cell("one").insert(0, "<here> ")
        there.cell("three").insert(0, "<there> ")
        assert await one.save(WORK)
        assert await two.save(WORK)
        cells = await same_everywhere(site, here, there)
        assert [text for _, text in cells] == ["<here> x = 1", "# Two", "<there> z = 3"]
        assert not [told for node in (one, two) for told in node.told if told.level == "ERROR"]


async def test_a_server_that_goes_leaves_the_right_to_write_to_the_other(site: Site) -> None:
    site.limits = replace(QUICK, lease_ttl=3600.0)
    async with site.server() as two:
        async with site.server() as one:
            await opened(one)
            tab = Tab().join(two)
            await wait_until(lambda: tab.synced)
        tab.cell("one").insert(0, "<after> ")
        assert ("one", "<after> x = 1") in await same_everywhere(site, tab)


async def test_nothing_is_written_under_a_lease_that_may_have_ended(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        hanging = site.files.hang(PATH)
        tab.cell("one").insert(0, "<typed> ")
        await wait_until(lambda: hanging.waiting, what="a read that hangs")
        fence = hanging.calls
        await wait_until(lambda: hanging.longest() > site.limits.lease_ttl, what="the lease's end")
        written = site.files.writes
        hanging.go_on(once=True)
        await wait_until(lambda: hanging.calls > fence, what="another try, under a lease of its own")
        assert site.files.writes == written
        hanging.go_on()
        assert ("one", "<typed> x = 1") in await same_everywhere(site, tab)


async def test_an_outside_edit_waits_until_the_log_was_read_to_its_end(site: Site) -> None:
    """Another server stored and wrote something of which this one has not heard yet: did it merge the
    file now, the same words would be in the document twice (rule 4)."""
    site.limits = replace(QUICK, sweep_interval=3600.0, lease_ttl=3600.0)
    async with site.server() as deaf, site.server() as other:
        here, there = await opened(deaf), await opened(other)
        deaf.channel.deaf = True
        there.cell("two").insert(0, "<unheard> ")
        await at_rest_elsewhere(site, other)
        assert "<unheard>" not in here.cells()[1]
        assert "<unheard>" not in str(file_cells(site))  # only the deaf one may write
        content = changed(site, lambda cells: cells.update(two="<unheard> # Two", one="x = 2"))
        site.ledger.lose_intents()
        site.files.external_write(PATH, content)
        await wait_until(lambda: here.cells()[0] == "x = 2" and there.cells()[0] == "x = 2")
        deaf.channel.deaf = False
        cells = await same_everywhere(site, there)
        assert cells == [("one", "x = 2"), ("two", "<unheard> # Two"), ("three", "z = 3")]
        await wait_until(lambda: tab_cells(here) == cells)


async def at_rest_elsewhere(site: Site, node: Node) -> None:
    runner = node.registry.find(WORK)
    assert runner is not None
    await wait_until(lambda: runner.room.stored and runner.room.state is DocumentState.LIVE)


async def test_a_server_that_lacks_a_part_of_the_log_does_not_write_an_older_file(site: Site) -> None:
    site.limits = replace(QUICK, sweep_interval=3600.0)
    async with site.server() as deaf, site.server() as other:
        here, there = await opened(deaf), await opened(other)
        deaf.channel.deaf = True
        there.cell("two").insert(0, "<unheard> ")
        await wait_until(lambda: "<unheard>" in str(file_cells(site)))
        before = len(site.files.history())
        there.leave()
        await wait_until(lambda: other.registry.find(WORK) is None)
        here.cell("one").insert(0, "<typed> ")
        await wait_until(lambda: "<typed>" in str(file_cells(site)))
        assert site.files.history()[before:]
        assert all(b"<unheard>" in data for data in site.files.history()[before:])


# --- while no server ran ------------------------------------------------------------------------------------


async def test_an_edit_while_the_server_was_down_and_what_was_stored_are_both_kept(site: Site) -> None:
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<saved> ")
        await at_rest(node)
        site.files.fail_writes = "is not reachable"
        tab.cell("three").insert(0, "<only stored> ")
        await wait_until(lambda: node.notices)
        await wait_until(lambda: tab.raw[-1]["n"] == 3)
    site.files.fail_writes = None
    assert "<only stored>" not in str(file_cells(site))
    site.files.external_write(PATH, changed(site, lambda cells: cells.update(two="# <offline>", new="n")))
    async with site.server() as node:
        tab = await opened(node)
        cells = await same_everywhere(site, tab)
        assert cells == [
            ("one", "<saved> x = 1"),
            ("two", "# <offline>"),
            ("three", "<only stored> z = 3"),
            ("new", "n"),
        ]


async def test_a_file_from_before_never_takes_back_what_was_stored(site: Site) -> None:
    """The server died before it wrote; the file is older than the log."""
    async with site.server() as node:
        tab = await opened(node)
        tab.cell("one").insert(0, "<saved> ")
        await at_rest(node)
        site.files.fail_writes = "is not reachable"
        tab.cell("one").insert(0, "<only stored> ")
        del y_cells(tab)[1]
        await wait_until(lambda: tab.raw[-1]["n"] == 4)
        await node.kill()
    site.files.fail_writes = None
    async with site.server() as node:
        tab = await opened(node)
        assert tab.cells() == ["<only stored> <saved> x = 1", "z = 3"]
        assert await same_everywhere(site, tab) == [
            ("one", "<only stored> <saved> x = 1"),
            ("three", "z = 3"),
        ]
        assert not named_in(node.notices, await site.kept())
