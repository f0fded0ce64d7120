"""What other programs write into a file, and who may take it in: the real engine on memory twins."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pycrdt import Map, Text

from notebook_sync.adapters.minimal_edits import edit_text
from notebook_sync.core.lifecycle import DocumentState
from tests.support.file_story import (
    CELLS,
    NOTES,
    PATH,
    at_rest,
    changed,
    file_cells,
    opened,
    same_everywhere,
    site_with_files,
    tab_cells,
    y_cells,
)
from tests.support.memory_site import QUICK, Gate, Node, Site, named_in
from tests.support.notebooks import code, file_of, notebook, stream
from tests.support.tabs import WORK, Tab
from tests.support.waiting import each, wait_until


@pytest.fixture
def site() -> Site:
    return site_with_files()


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


@pytest.mark.parametrize("moves", [False, True])
async def test_typing_into_a_cell_that_is_taken_away_at_that_moment_is_not_lost(
    site: Site, moves: bool
) -> None:
    """The merge has begun with what was there before; a cell that is moved is made anew elsewhere."""
    gate = Gate()
    async with site.server(gate) as node:
        tab = await opened(node)
        gate.only_at = "after merge"
        content = json.loads(site.files.content(PATH))
        two = content["cells"].pop(1)
        if moves:
            content["cells"].append(two)
        site.files.external_write(PATH, file_of(content))
        await wait_until(gate.stopped.is_set, what="the merge")
        tab.cell("one").insert(0, "<elsewhere> ")
        tab.cell("two").insert(0, "<typed> ")
        gate.go_on()
        cells = dict(await same_everywhere(site, tab))
        await at_rest(node)
        kept = named_in(node.notices, await site.kept())
        assert cells["one"] == "<elsewhere> x = 1"
        assert cells["two"] == "<typed> # Two"
        assert ([i for i, _ in file_cells(site)][-1] == "two") == moves
        assert bool(kept) != moves  # the file wanted it gone


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


async def test_what_was_written_when_the_store_went_away_is_what_another_program_went_on_from(
    site: Site,
) -> None:
    """The file was written, and that it is common now could not be recorded. Then another program edits what
    was written. Merged from the content before, what people had typed would be an edit of both sides."""
    async with site.server() as node:
        tab = await opened(node)
        site.ledger.refuses_common = True
        edit_text(tab.cell("one"), "<0>\nx\n<1> =\n<2> <3>\n<4> 1\n")
        await wait_until(lambda: "<4>" in str(file_cells(site)))
        edited = changed(site, lambda cells: cells.update(one=f"{cells['one']}<program>\n"))
        edit_text(tab.cell("one"), "<0>\nx\n<1>\n<5> = <6>\n<2> <3>\n<7>\n<4> 1\n<8>\n")
        site.files.external_write(PATH, edited)
        await wait_until(lambda: any("just now" in told.message for told in node.told))
        site.ledger.refuses_common = False
        one = dict(await same_everywhere(site, tab))["one"]
        await at_rest(node)
        assert [one.count(f"<{number}>") for number in range(9)] == [1] * 9
        kept = named_in(node.notices, await site.kept()).decode()
        assert one.count("<program>") == 1 or "<program>" in kept


async def test_an_edit_that_a_dead_server_took_in_is_not_taken_in_again_with_the_next(site: Site) -> None:
    """It was stored and could not be recorded as common, and the file was edited once more. Merged from the
    content before, the first edit would be one of both sides, in text where people went on: there twice."""
    site.files.external_write(PATH, file_of(notebook(code("one", "x = 0\n"), code("two", "y"))))
    async with site.server() as node:
        tab = await opened(node)
        site.ledger.refuses_common = True
        site.files.external_write(PATH, changed(site, lambda cells: cells.update(one="x = 0\n<program>\n")))
        await wait_until(lambda: "<program>" in str(tab.cell("one")))
        typed = "<0>\n<1>\n<2> x = <3>\n<4> <5>\n<6> <7> 0\n<8>\n<program>\n"
        edit_text(tab.cell("one"), typed)
        await wait_until(lambda: node.rooms()[0].stored)
        await node.kill()
    site.ledger.refuses_common = False
    site.files.external_write(PATH, changed(site, lambda cells: cells.update(two="y = 1")))
    async with site.server() as node:
        tab = await opened(node)
        await wait_until(lambda: str(tab.cell("two")) == "y = 1")
        assert await same_everywhere(site, tab) == [("one", typed), ("two", "y = 1")]


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
