"""What every version store must do, and what only the one on disk can get wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_sync.adapters.file_versions import FileVersionStore, versions_folder
from notebook_sync.adapters.memory_versions import MemoryVersionStore
from notebook_sync.core.errors import CorruptRecord, LocalDiskFailed
from notebook_sync.core.ids import DocumentId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import VersionStore

D, E = DocumentId("a" * 32), DocumentId("b" * 32)
PATH = "group-1/ferry.ipynb"
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[[Limits], VersionStore]


@pytest.fixture(params=["memory", "files"])
def make(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Make:
    if request.param == "memory":
        return lambda limits: MemoryVersionStore(limits, clock)
    return lambda limits: FileVersionStore(tmp_path / "versions", limits, clock)


@pytest.fixture
def versions(make: Make) -> VersionStore:
    return make(Limits())


async def test_of_a_document_that_nobody_kept_there_is_nothing(versions: VersionStore) -> None:
    assert await versions.list(D) == ()
    assert await versions.read(D, "1800000000000-00000000") is None


async def test_what_was_kept_is_read_again_and_listed_newest_first(
    versions: VersionStore, clock: Clock
) -> None:
    first = await versions.add(D, PATH, b"one", reason="schedule")
    clock.now += 60
    second = await versions.add(D, PATH, b"two", reason="restore", by="Änne", note="before a restore")
    assert await versions.list(D) == (second, first)
    assert first.id < second.id
    assert (first.at, second.at) == (START, START + 60)
    assert (second.reason, second.by, second.note, second.size) == (
        "restore",
        "Änne",
        "before a restore",
        3,
    )
    assert await versions.read(D, first.id) == b"one"
    assert await versions.read(D, second.id) == b"two"


async def test_documents_are_apart(versions: VersionStore) -> None:
    version = await versions.add(D, PATH, b"one", reason="schedule")
    assert await versions.list(E) == ()
    assert await versions.read(E, version.id) is None


async def test_the_content_of_the_newest_is_not_kept_twice(versions: VersionStore, clock: Clock) -> None:
    first = await versions.add(D, PATH, b"one", reason="schedule")
    clock.now += 60
    assert await versions.add(D, PATH, b"one", reason="restore", by="Anna") == first
    clock.now += 60
    second = await versions.add(D, PATH, b"two", reason="schedule")
    clock.now += 60
    third = await versions.add(D, PATH, b"one", reason="schedule")
    assert await versions.list(D) == (third, second, first)


@pytest.mark.parametrize("reason", ["merge", "lineage", "shrink"])
async def test_a_version_that_is_there_already_is_kept_for_longer_once_a_notice_names_it(
    make: Make, clock: Clock, reason: str
) -> None:
    versions = make(Limits(versions_kept=2))
    first = await versions.add(D, PATH, b"one", reason="schedule")
    clock.now += 60
    named = await versions.add(D, PATH, b"one", reason=reason, by="Anna", note="cell 1")
    assert (named.id, named.at, named.reason, named.by, named.note) == (
        first.id,
        first.at,
        reason,
        "Anna",
        "cell 1",
    )
    assert await versions.add(D, PATH, b"one", reason="schedule") == named
    for number in range(3):
        clock.now += 60
        await versions.add(D, PATH, str(number).encode(), reason="schedule")
    assert (await versions.list(D))[-1] == named
    assert await versions.read(D, named.id) == b"one"


async def test_ids_sort_by_time_also_when_the_clock_stands_still_or_goes_back(
    versions: VersionStore, clock: Clock
) -> None:
    first = await versions.add(D, PATH, b"one", reason="schedule")
    second = await versions.add(D, PATH, b"two", reason="schedule")
    clock.now -= 3600
    third = await versions.add(D, PATH, b"three", reason="schedule")
    assert first.id < second.id < third.id
    assert await versions.list(D) == (third, second, first)


async def test_many_at_once_are_all_kept(versions: VersionStore) -> None:
    contents = [str(number).encode() for number in range(20)]
    added = await asyncio.gather(*(versions.add(D, PATH, data, reason="schedule") for data in contents))
    listed = await versions.list(D)
    assert sorted(listed, key=lambda v: v.id) == sorted(added, key=lambda v: v.id)
    assert [await versions.read(D, version.id) for version in added] == contents


async def test_their_number_is_bounded_and_what_a_notice_named_goes_last(make: Make, clock: Clock) -> None:
    versions = make(Limits(versions_kept=3))
    loser = await versions.add(D, PATH, b"loser", reason="merge", note="cell 1")
    for number in range(10):
        clock.now += 60
        await versions.add(D, PATH, str(number).encode(), reason="schedule")
    kept = await versions.list(D)
    assert len(kept) == 3
    assert kept[-1] == loser
    assert await versions.read(D, kept[0].id) == b"9"


async def test_their_size_is_bounded(make: Make, clock: Clock) -> None:
    versions = make(Limits(versions_bytes=250))
    for number in range(5):
        clock.now += 60
        await versions.add(D, PATH, bytes([number]) * 100, reason="schedule")
    kept = await versions.list(D)
    assert [await versions.read(D, version.id) for version in kept] == [b"\x04" * 100, b"\x00" * 100]


async def test_older_ones_are_thinned_and_the_content_of_a_thinned_one_is_gone(
    versions: VersionStore, clock: Clock
) -> None:
    added = []
    for number in range(6):
        added.append(await versions.add(D, PATH, str(number).encode(), reason="schedule"))
        clock.now += 60
    clock.now += 2 * 3600
    newest = await versions.add(D, PATH, b"newest", reason="schedule")
    assert await versions.list(D) == (newest, added[-1])
    assert await versions.read(D, added[0].id) is None


@pytest.mark.parametrize("name", ["", "..", "../../secret", "nonsense", "1800000000000-0000000g"])
async def test_a_name_that_is_no_version_is_none(versions: VersionStore, name: str) -> None:
    await versions.add(D, PATH, b"one", reason="schedule")
    assert await versions.read(D, name) is None


async def test_a_restore_is_remembered_until_it_is_closed(versions: VersionStore) -> None:
    await versions.add(D, PATH, b"one", reason="restore")
    assert await versions.open_restores(D) == ()
    records = [b"a\nrecord", b"\x00another"]
    names = [await versions.open_restore(D, record) for record in records]
    assert sorted(await versions.open_restores(D)) == sorted(zip(names, records, strict=True))
    assert await versions.open_restores(E) == ()
    assert len(await versions.list(D)) == 1
    assert await versions.close_restore(D, names[0])
    assert not await versions.close_restore(D, names[0])
    assert not await versions.close_restore(D, "../../secret")
    assert await versions.open_restores(D) == ((names[1], records[1]),)


# --- on disk --------------------------------------------------------------------------------------


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_files_are_for_this_user_alone_and_can_be_read_without_this_program(tmp_path: Path) -> None:
    store = FileVersionStore(tmp_path / ".collab" / "versions", Limits(), Clock())
    version = await store.add(D, PATH, b"content", reason="merge", by="Anna", note="cell 3")
    folder = tmp_path / ".collab" / "versions" / D
    assert modes(folder) == {f"{version.id}.ipynb.gz": 0o600, f"{version.id}.json": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert gzip.decompress((folder / f"{version.id}.ipynb.gz").read_bytes()) == b"content"
    about = json.loads((folder / f"{version.id}.json").read_bytes())
    assert (about["path"], about["reason"], about["by"], about["note"]) == (PATH, "merge", "Anna", "cell 3")
    assert (folder.parent / ".gitignore").read_text() == "*\n"


async def test_two_servers_on_one_folder_see_the_same_versions(tmp_path: Path) -> None:
    clock = Clock()
    here, there = (FileVersionStore(tmp_path, Limits(), clock) for _ in range(2))
    first = await here.add(D, PATH, b"one", reason="schedule")
    clock.now += 1
    second = await there.add(D, PATH, b"two", reason="schedule")
    assert await here.list(D) == await there.list(D) == (second, first)
    assert await here.read(D, second.id) == b"two"


async def test_names_without_an_extension_or_with_a_strange_one_are_no_trouble(tmp_path: Path) -> None:
    store = FileVersionStore(tmp_path, Limits(), Clock())
    for path in ("Makefile", "a/b.c/no", "odd.ä b/c", "x." + "y" * 200, "dots..", "n\nl.a\nb"):
        version = await store.add(D, path, path.encode(), reason="schedule")
        assert await store.read(D, version.id) == path.encode()


async def test_a_version_whose_description_is_torn_is_left_out_and_others_stay(tmp_path: Path) -> None:
    clock = Clock()
    store = FileVersionStore(tmp_path, Limits(), clock)
    first = await store.add(D, PATH, b"one", reason="schedule")
    clock.now += 1
    second = await store.add(D, PATH, b"two", reason="schedule")
    for torn in (b"", b"[]", b"{}", (tmp_path / D / f"{second.id}.json").read_bytes()[:40]):
        (tmp_path / D / f"{second.id}.json").write_bytes(torn)
        assert await store.list(D) == (first,)
        assert await store.read(D, second.id) is None


@pytest.mark.parametrize("damage", ["torn", "changed", "gone"])
async def test_damaged_content_is_an_error_and_never_served(tmp_path: Path, damage: str) -> None:
    store = FileVersionStore(tmp_path, Limits(), Clock())
    version = await store.add(D, PATH, b"one" * 100, reason="schedule")
    (file,) = (tmp_path / D).glob("*.gz")
    if damage == "torn":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "changed":
        file.write_bytes(gzip.compress(b"other"))
    else:
        file.unlink()
        assert await store.read(D, version.id) is None
        return
    with pytest.raises(CorruptRecord, match="damaged"):
        await store.read(D, version.id)


async def test_what_a_crash_left_is_removed_after_a_while(tmp_path: Path) -> None:
    store = FileVersionStore(tmp_path, Limits(), Clock())
    await store.add(D, PATH, b"one", reason="schedule")
    folder = tmp_path / D
    left = (".0123456789abcdef.tmp", "1799999999999-00000000.ipynb.gz", "restore-00000000", ".fresh.tmp")
    for name in left:
        (folder / name).write_bytes(b"half")
        if name != ".fresh.tmp":
            os.utime(folder / name, (0, 0))
    await store.add(D, PATH, b"two", reason="schedule")
    assert {path.name for path in folder.iterdir()} & set(left) == {".fresh.tmp"}


async def test_a_disk_that_refuses_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("a file where a folder should be")
    store = FileVersionStore(tmp_path / "versions", Limits())
    with pytest.raises(LocalDiskFailed, match="versions"):
        await store.add(D, PATH, b"one", reason="schedule")


def test_versions_are_kept_below_the_served_folder_if_it_can_be_written(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    assert versions_folder(root, state) == root / ".collab" / "versions"
    (root / ".collab").write_text("something else")
    assert versions_folder(root, state) == state / "versions"


def test_versions_of_a_folder_that_is_not_ours_are_kept_with_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and real(path, mode))
    assert versions_folder(tmp_path, tmp_path / "state") == tmp_path / "state" / "versions"
