"""What every disk of local copies must do; in memory and on files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import NOTEBOOK, DocumentId, DocumentKey, DocumentKind
from notebook_sync.ports import LocalCopy
from tests.support.local_disks import D, E, InMemory, L, M, OnFiles, cursor, head, new_node

Disk = InMemory | OnFiles


@pytest.fixture(params=["memory", "files"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return InMemory() if request.param == "memory" else OnFiles(tmp_path / "state" / "copies")


# --- one server ------------------------------------------------------------------------------------


async def test_nothing_is_kept_at_first(disk: Disk) -> None:
    async with disk.server() as copies:
        assert await copies.find(D) is None
        assert await copies.find_path(head().key) is None
        assert await copies.heads() == ()
        assert await copies.journal_size(D, L) == 0


async def test_a_snapshot_is_found_with_its_head(disk: Disk) -> None:
    kept = head(path="Übung/ä 1.ipynb", cursor=cursor(300), provisional=True)
    async with disk.server() as copies:
        await copies.keep(kept, b"state", 0)
        assert await copies.find(D) == LocalCopy(kept, (b"state",))
        assert await copies.find_path(kept.key) == kept
        assert await copies.heads() == (kept,)


async def test_records_come_after_the_snapshot_in_order(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"state", 0)
        await copies.record(D, L, [(1, b"one"), (2, b"two")])
        await copies.record(D, L, [(3, b"")])
        await copies.record(D, L, [])
        await copies.record(D, L, [(4, b"four" * 1000)])
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"state", b"one", b"two", b"", b"four" * 1000)
        assert found.damaged == ()


async def test_a_new_snapshot_replaces_the_old_one_and_the_records_in_it(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(cursor=cursor(1)), b"old", 0)
        await copies.record(D, L, [(1, b"one")])
        await copies.record(D, L, [(2, b"two")])
        await copies.keep(head(cursor=cursor(2)), b"new", 2)
        assert await copies.find(D) == LocalCopy(head(cursor=cursor(2)), (b"new",))
        assert await copies.journal_size(D, L) == 0
        await copies.record(D, L, [(3, b"three")])
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"new", b"three")


async def test_records_after_the_snapshot_s_position_stay(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s0", 0)
        await copies.record(D, L, [(1, b"one"), (2, b"two"), (3, b"three")])
        await copies.keep(head(), b"s2", 2)
        found = await copies.find(D)
        assert found is not None
        assert found.updates[0] == b"s2"
        assert found.updates[-1] == b"three"
        await copies.record(D, L, [(4, b"four")])
        await copies.keep(head(), b"s4", 4)
        assert await copies.journal_size(D, L) == 0


async def test_the_journal_s_size_is_known(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, bytes(10_000))])
        once = await copies.journal_size(D, L)
        assert 10_000 <= once <= 10_100
        await copies.record(D, L, [(2, bytes(10_000))])
        assert 20_000 <= await copies.journal_size(D, L) <= 20_200
        assert await copies.journal_size(D, M) == 0


async def test_what_ended_servers_leave_is_told_until_a_snapshot_has_it(disk: Disk) -> None:
    placed = head(cursor=cursor(1))
    async with disk.server() as first:
        await first.keep(placed, b"s", 0)
        await first.record(D, L, [(1, b"one")])
        async with disk.server() as other:
            assert not await other.left_over(D)  # the first lives, and looks after it
    async with disk.server() as next_one:
        assert await next_one.left_over(D)
        assert await next_one.find(D) is not None
        await next_one.keep(placed, b"s and one", 0)
        assert not await next_one.left_over(D)
    async with disk.server() as last:
        assert not await last.left_over(D)
        assert not await last.left_over(E)


async def test_a_snapshot_without_a_place_in_the_log_is_left_over_too(disk: Disk) -> None:
    async with disk.server() as first:
        await first.keep(head(cursor=None), b"s", 0)
    async with disk.server() as second:
        assert await second.left_over(D)


async def test_a_record_without_a_snapshot_is_refused(disk: Disk) -> None:
    async with disk.server() as copies:
        with pytest.raises(LocalDiskFailed, match="nothing is kept of this document yet"):
            await copies.record(D, L, [(1, b"one")])
        await copies.keep(head(lineage=M), b"s", 0)
        with pytest.raises(LocalDiskFailed, match="nothing is kept"):
            await copies.record(D, L, [(1, b"one")])
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])


async def test_documents_are_apart(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(D), b"d", 0)
        await copies.keep(head(E, path="b.ipynb"), b"e", 0)
        await asyncio.gather(*(copies.record(d, L, [(1, d.encode())]) for d in (D, E)))
        for document, state in ((D, b"d"), (E, b"e")):
            found = await copies.find(document)
            assert found is not None
            assert found.updates == (state, document.encode())
        assert {kept.document for kept in await copies.heads()} == {D, E}


async def test_many_records_at_once_all_arrive(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await asyncio.gather(*(copies.record(D, L, [(n, b"%d" % n)]) for n in range(1, 301)))
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s", *(b"%d" % n for n in range(1, 301)))


# --- lineages --------------------------------------------------------------------------------------


async def test_the_lineage_that_was_kept_last_is_found(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(lineage=M), b"m", 0)
        await copies.keep(head(lineage=L), b"l", 0)
        await copies.record(D, M, [(1, b"late")])
        found = await copies.find(D)
        assert found == LocalCopy(head(lineage=L), (b"l",))
        await copies.keep(head(lineage=M), b"m2", 0)
        found = await copies.find(D)
        assert found is not None
        assert found.head.lineage == M
        assert found.updates == (b"m2", b"late")
        assert await copies.heads() == (head(lineage=M),)


# --- restarts and several servers ------------------------------------------------------------------


async def test_another_run_of_the_server_finds_everything(disk: Disk) -> None:
    async with disk.server() as first:
        await first.keep(head(cursor=cursor(7)), b"s", 0)
        await first.record(D, L, [(1, b"one")])
    async with disk.server() as second:
        assert await second.find(D) == LocalCopy(head(cursor=cursor(7)), (b"s", b"one"))
        assert await second.journal_size(D, L) == 0


async def test_two_servers_write_their_own_and_read_both(disk: Disk) -> None:
    async with disk.server(new_node()) as one, disk.server(new_node()) as two:
        await one.keep(head(cursor=cursor(4)), b"s1", 0)
        await two.keep(head(), b"s2", 0)
        await one.record(D, L, [(1, b"from one")])
        await two.record(D, L, [(1, b"from two")])
        for server in (one, two):
            found = await server.find(D)
            assert found is not None
            assert found.updates == (b"s1", b"s2", b"from one", b"from two")
            assert found.head == head(cursor=cursor(4)), "the snapshot of the other one has been in the log"


async def test_files_of_a_living_server_are_never_removed(disk: Disk) -> None:
    async with disk.server() as one, disk.server() as two:
        await one.keep(head(), b"s1", 0)
        await one.record(D, L, [(1, b"r1")])
        await two.find(D)
        for _ in range(3):
            await two.keep(head(), b"s1+r1", 0)
        await one.record(D, L, [(2, b"r2")])
        found = await two.find(D)
        assert found is not None
        assert set(found.updates) == {b"s1", b"r1", b"r2", b"s1+r1"}


async def test_files_of_an_ended_server_go_when_a_document_is_opened_and_kept(disk: Disk) -> None:
    async with disk.server() as one:
        await one.keep(head(), b"s1", 0)
        await one.record(D, L, [(1, b"r1")])
    async with disk.server() as two:
        await two.find(D)
        await two.keep(head(), b"s1+r1", 0)
        found = await two.find(D)
        assert found is not None
        assert found.updates == (b"s1+r1",)


async def test_files_that_are_read_of_an_open_document_stay_until_a_state_surely_has_them(
    disk: Disk,
) -> None:
    async with disk.server() as two:
        await two.keep(head(), b"s2", 0)
        async with disk.server() as one:
            await one.keep(head(), b"s1", 0)
            await one.record(D, L, [(1, b"r1")])
        await two.find(D)
        await two.keep(head(), b"s2", 0)  # a state that was made while the files were read
        found = await two.find(D)
        assert found is not None
        assert set(found.updates) == {b"s1", b"r1", b"s2"}
        await two.keep(head(), b"s1+r1+s2", 0)
        found = await two.find(D)
        assert found is not None
        assert found.updates == (b"s1+r1+s2",)


async def test_files_of_an_ended_server_stay_when_they_were_not_read(disk: Disk) -> None:
    async with disk.server() as one:
        await one.keep(head(), b"s1", 0)
        await one.record(D, L, [(1, b"r1")])
    async with disk.server() as two:
        for _ in range(3):
            await two.keep(head(), b"s2", 5)
        found = await two.find(D)
        assert found is not None
        assert set(found.updates) == {b"s1", b"r1", b"s2"}


async def test_what_was_written_after_it_was_read_stays(disk: Disk) -> None:
    async with disk.server() as two:
        async with disk.server() as one:
            await one.keep(head(), b"s1", 0)
            await one.record(D, L, [(1, b"r1")])
            await two.find(D)
            await one.record(D, L, [(2, b"r2")])
        for _ in range(3):
            await two.keep(head(), b"s1+r1", 0)
        found = await two.find(D)
        assert found is not None
        assert b"r2" in found.updates


async def test_a_document_that_is_opened_anew_begins_its_positions_again(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(n, b"old%d" % n) for n in range(1, 6)])
        await copies.find(D)
        await copies.keep(head(), b"s", 0)  # opened anew; not closed properly, so its records are there
        await copies.record(D, L, [(1, b"new1"), (2, b"new2")])
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s", *(b"old%d" % n for n in range(1, 6)), b"new1", b"new2")
        await copies.keep(head(), b"s+old+new1", 1)
        found = await copies.find(D)
        assert found is not None
        assert b"old5" not in found.updates, "it was read when the document was opened anew"
        assert b"new2" in found.updates


async def test_records_of_an_earlier_opening_stay_when_they_were_not_read(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(8, b"old8"), (9, b"old9")])
        await copies.record(D, L, [(1, b"new1")])
        for _ in range(3):
            await copies.keep(head(), b"s+new1", 1)
        found = await copies.find(D)
        assert found is not None
        assert {b"old8", b"old9"} <= set(found.updates)


# --- paths -----------------------------------------------------------------------------------------


async def test_a_path_s_document_is_found_by_kind_too(disk: Disk) -> None:
    text = DocumentKey(DocumentKind("text", "file"), "a.ipynb")
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        assert await copies.find_path(text) is None
        assert await copies.find_path(DocumentKey(NOTEBOOK, "a.ipynb")) == head()


async def test_of_two_documents_at_a_path_the_last_one_is_found(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(D), b"s", 0)
        await copies.keep(head(E), b"s", 0)
        assert await copies.find_path(head().key) == head(E)
        await copies.keep(head(D), b"s", 0)
        assert await copies.find_path(head().key) == head(D)


async def test_a_rename_moves_a_document(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(cursor=cursor(3)), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        await copies.renamed("a.ipynb", "dir/b.ipynb")
        moved = head(path="dir/b.ipynb", cursor=cursor(3))
        assert await copies.find_path(head().key) is None
        assert await copies.find_path(moved.key) == moved
        assert await copies.find(D) == LocalCopy(moved, (b"s", b"one"))
        await copies.record(D, L, [(2, b"two")])
    async with disk.server() as later:
        assert await later.find(D) == LocalCopy(moved, (b"s", b"one", b"two"))


async def test_a_folder_s_rename_moves_what_is_below_it_and_nothing_else(disk: Disk) -> None:
    ids = [DocumentId(f"{n:032x}") for n in range(4)]
    paths = ["x/a.ipynb", "x/y/b.ipynb", "xy/c.ipynb", "x.ipynb"]
    async with disk.server() as copies:
        for document, path in zip(ids, paths, strict=True):
            await copies.keep(head(document, path=path), b"s", 0)
        await copies.renamed("x", "z")
        heads = {kept.document: kept.key.path for kept in await copies.heads()}
        assert [heads[document] for document in ids] == ["z/a.ipynb", "z/y/b.ipynb", "xy/c.ipynb", "x.ipynb"]


async def test_a_rename_over_a_document_ends_it(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(D, path="a.ipynb"), b"d", 0)
        await copies.keep(head(E, path="b.ipynb"), b"e", 0)
        await copies.renamed("a.ipynb", "b.ipynb")
        assert await copies.find(E) is None
        assert await copies.find_path(head(path="b.ipynb").key) == head(D, path="b.ipynb")


async def test_a_rename_that_both_servers_tell_of_happens_once(disk: Disk) -> None:
    async with disk.server() as one, disk.server() as two:
        await one.keep(head(), b"s", 0)
        await one.renamed("a.ipynb", "b.ipynb")
        await two.renamed("a.ipynb", "b.ipynb")
        found = await two.find(D)
        assert found is not None
        assert found.head.key.path == "b.ipynb"


async def test_a_path_kept_later_wins_over_a_rename_before(disk: Disk) -> None:
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await copies.renamed("a.ipynb", "b.ipynb")
        await copies.keep(head(path="c.ipynb"), b"s", 0)
        assert [kept.key.path for kept in await copies.heads()] == ["c.ipynb"]


async def test_a_path_kept_later_by_another_server_wins_too(disk: Disk) -> None:
    async with disk.server() as one, disk.server() as two:
        await one.keep(head(), b"s", 0)
        await one.renamed("a.ipynb", "b.ipynb")
        await two.keep(head(path="c.ipynb"), b"s", 0)
        assert [kept.key.path for kept in await one.heads()] == ["c.ipynb"]


async def test_a_forgotten_document_is_gone_with_all_its_lineages(disk: Disk) -> None:
    async with disk.server() as one:
        await one.keep(head(lineage=M), b"m", 0)
    async with disk.server() as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        await copies.keep(head(E, path="b.ipynb"), b"e", 0)
        await copies.forget(D)
        await copies.forget(D)
        assert await copies.find(D) is None
        assert await copies.find_path(head().key) is None
        assert [kept.document for kept in await copies.heads()] == [E]
        with pytest.raises(LocalDiskFailed):
            await copies.record(D, L, [(2, b"two")])
        await copies.keep(head(), b"again", 0)
        await copies.record(D, L, [(1, b"new")])
        assert await copies.find(D) == LocalCopy(head(), (b"again", b"new"))
