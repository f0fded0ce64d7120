"""What every file store must do: the files of this machine and their memory twin."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.core.errors import FileIsDirectory, FileMissing, FileOutsideRoot, FileUnavailable
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileChanged, FileStore, Written


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Creating(FileStore, Protocol):
    async def create(self, path: str, data: bytes) -> Written | FileChanged: ...


class World(Protocol):
    """A store, and the programs around it."""

    store: Creating

    def outside_write(self, path: str, data: bytes) -> None: ...

    def outside_write_in_place(self, path: str, data: bytes) -> None: ...

    def outside_delete(self, path: str) -> None: ...

    def outside_move(self, old: str, new: str) -> None: ...

    def content(self, path: str) -> bytes: ...

    def make_read_only(self, path: str) -> None: ...

    def paths(self) -> list[str]: ...


class LocalWorld:
    def __init__(self, root: Path, store: Creating) -> None:
        self.store = store
        self._root = root

    def outside_write(self, path: str, data: bytes) -> None:
        (self._root / path).parent.mkdir(parents=True, exist_ok=True)
        (self._root / path).write_bytes(data)

    def outside_write_in_place(self, path: str, data: bytes) -> None:
        inode = (self._root / path).stat().st_ino
        (self._root / path).write_bytes(data)
        assert (self._root / path).stat().st_ino == inode

    def outside_delete(self, path: str) -> None:
        (self._root / path).unlink()

    def outside_move(self, old: str, new: str) -> None:
        (self._root / old).rename(self._root / new)

    def content(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def make_read_only(self, path: str) -> None:
        (self._root / path).chmod(0o444)

    def paths(self) -> list[str]:
        return sorted(str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())


class MemoryWorld:
    def __init__(self) -> None:
        self._files = MemoryFiles()
        self.store: Creating = self._files

    def outside_write(self, path: str, data: bytes) -> None:
        self._files.external_write(path, data)

    def outside_write_in_place(self, path: str, data: bytes) -> None:
        self._files.external_write_in_place(path, data)

    def outside_delete(self, path: str) -> None:
        self._files.external_delete(path)

    def outside_move(self, old: str, new: str) -> None:
        self._files.external_rename(old, new)

    def content(self, path: str) -> bytes:
        return self._files.content(path)

    def make_read_only(self, path: str) -> None:
        self._files.read_only.add(path)

    def paths(self) -> list[str]:
        return self._files.paths()


@pytest_asyncio.fixture(params=["local", "memory"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    async with LocalFiles(tmp_path, Limits()) as store:
        yield LocalWorld(tmp_path, store)


async def test_reads_what_is_there(world: World) -> None:
    world.outside_write("week 1/größe.py", b"x = 1\n")
    content = await world.store.read("week 1/größe.py")
    assert content.data == b"x = 1\n"
    assert content.digest == digest(b"x = 1\n")
    assert content.writable
    assert not content.trusted
    assert content.stamp == await world.store.stamp("week 1/größe.py")


async def test_a_missing_file_has_no_stamp_and_can_not_be_read(world: World) -> None:
    assert await world.store.stamp("none.py") is None
    assert await world.store.stamp("no folder/none.py") is None
    with pytest.raises(FileMissing) as caught:
        await world.store.read("none.py")
    assert caught.value.path == "none.py"


async def test_a_folder_is_no_file(world: World) -> None:
    world.outside_write("week/a.py", b"")
    with pytest.raises(FileIsDirectory):
        await world.store.read("week")
    with pytest.raises(FileIsDirectory):
        await world.store.write("week", b"x", digest(b""))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a/..", "a\0b"])
async def test_paths_out_of_the_root_are_refused(world: World, path: str) -> None:
    world.outside_write("a/b", b"x")
    for call in (
        world.store.read(path),
        world.store.stamp(path),
        world.store.write(path, b"x", digest(b"x")),
        world.store.create(path, b"x"),
    ):
        with pytest.raises(FileOutsideRoot):
            await call


async def test_writes_over_the_expected_content(world: World) -> None:
    world.outside_write("a.py", b"one")
    before = await world.store.stamp("a.py")
    written = await world.store.write("a.py", b"two", digest(b"one"))
    assert isinstance(written, Written)
    assert written.digest == digest(b"two")
    assert written.stamp == await world.store.stamp("a.py") != before
    assert world.content("a.py") == b"two"
    assert world.paths() == ["a.py"]


async def test_writing_what_is_there_writes_nothing(world: World) -> None:
    world.outside_write("a.py", b"one")
    before = await world.store.stamp("a.py")
    written = await world.store.write("a.py", b"one", digest(b"one"))
    assert written == Written(digest(b"one"), before)  # type: ignore[arg-type]  # the file is there
    assert await world.store.stamp("a.py") == before


async def test_leaves_another_programs_content(world: World) -> None:
    world.outside_write("a.py", b"theirs")
    result = await world.store.write("a.py", b"ours", digest(b"one"))
    assert isinstance(result, FileChanged)
    assert result.content is not None
    assert result.content.data == b"theirs"
    assert world.content("a.py") == b"theirs"
    assert world.paths() == ["a.py"]


async def test_never_makes_a_deleted_file_again(world: World) -> None:
    world.outside_write("a.py", b"one")
    world.outside_delete("a.py")
    assert await world.store.write("a.py", b"two", digest(b"one")) == FileChanged(None)
    assert await world.store.write("gone/a.py", b"two", digest(b"one")) == FileChanged(None)
    assert world.paths() == []


async def test_a_read_only_file_says_so_and_stays(world: World) -> None:
    world.outside_write("a.py", b"one")
    world.make_read_only("a.py")
    assert not (await world.store.read("a.py")).writable
    with pytest.raises(FileUnavailable, match="read-only"):
        await world.store.write("a.py", b"two", digest(b"one"))
    assert world.content("a.py") == b"one"
    assert world.paths() == ["a.py"]


async def test_creates_only_what_is_not_there(world: World) -> None:
    world.outside_write("week/a.py", b"one")
    created = await world.store.create("week/b.py", b"new")
    assert isinstance(created, Written)
    assert created.stamp == await world.store.stamp("week/b.py")
    again = await world.store.create("week/b.py", b"other")
    assert isinstance(again, FileChanged)
    assert again.content is not None
    assert again.content.data == b"new"
    with pytest.raises(FileMissing):
        await world.store.create("nowhere/b.py", b"new")


async def test_a_stamp_tells_whether_the_file_may_be_written(world: World) -> None:
    world.outside_write("a.py", b"one")
    before = await world.store.stamp("a.py")
    world.make_read_only("a.py")
    after = await world.store.stamp("a.py")
    assert before is not None
    assert after is not None
    assert (before.writable, after.writable) == (True, False)
    assert (await world.store.read("a.py")).stamp == after


async def test_a_file_that_got_the_inode_of_a_deleted_one_is_not_taken_for_it(world: World) -> None:
    world.outside_write("a.py", b"one")
    stamp = await world.store.stamp("a.py")
    assert stamp is not None
    world.outside_move("a.py", "b.py")
    world.outside_write_in_place("b.py", b"another file")
    assert await world.store.moved_to("a.py", stamp) is None


async def test_finds_a_file_that_another_program_moved(world: World) -> None:
    world.outside_write("week/a.py", b"one")
    world.outside_write("week/other.py", b"one")
    world.outside_write("later/deep/x.py", b"two")
    stamp = await world.store.stamp("week/a.py")
    assert stamp is not None
    world.outside_move("week/a.py", "later/deep/b.py")
    assert await world.store.moved_to("week/a.py", stamp) == "later/deep/b.py"
    world.outside_move("later/deep/b.py", "week/c.py")
    assert await world.store.moved_to("week/a.py", stamp) == "week/c.py"
    world.outside_delete("week/c.py")
    assert await world.store.moved_to("week/a.py", stamp) is None


async def test_of_many_writers_at_once_one_wins(world: World) -> None:
    world.outside_write("a.py", b"one")
    results = await asyncio.gather(
        *(world.store.write("a.py", b"by %d" % number, digest(b"one")) for number in range(20))
    )
    winners = [number for number, result in enumerate(results) if isinstance(result, Written)]
    assert len(winners) == 1
    assert world.content("a.py") == b"by %d" % winners[0]
    assert world.paths() == ["a.py"]
