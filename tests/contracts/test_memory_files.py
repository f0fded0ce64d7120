"""The twin's faults and its outside editor; what it shares with real files is in test_file_store.py."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from notebook_sync.adapters.memory_files import MemoryFiles
from notebook_sync.core.errors import FileUnavailable
from notebook_sync.ports import FileChanged, Written


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (MemoryFiles(fail_writes="the disk is broken"), "disk is broken"),
        (MemoryFiles(disk_full=True), "disk is full"),
    ],
)
async def test_failing_writes_leave_the_file(files: MemoryFiles, reason: str) -> None:
    files.external_write("week/a.py", b"one")
    for call in (
        files.write("week/a.py", b"two", digest(b"one")),
        files.create("week/b.py", b"two"),
    ):
        with pytest.raises(FileUnavailable, match=reason):
            await call
    assert files.paths() == ["week/a.py"]
    assert (await files.read("week/a.py")).data == b"one"
    files.fail_writes, files.disk_full = None, False
    assert isinstance(await files.write("week/a.py", b"two", digest(b"one")), Written)
    assert files.writes == 1


async def test_an_outside_editor_between_look_and_write_wins() -> None:
    files = MemoryFiles()
    files.external_write("a.py", b"one")
    files.before_write = lambda: files.external_write("a.py", b"theirs")
    result = await files.write("a.py", b"ours", digest(b"one"))
    assert isinstance(result, FileChanged)
    assert files.content("a.py") == b"theirs"
    files.before_write = lambda: files.external_delete("a.py")
    assert await files.write("a.py", b"ours", digest(b"theirs")) == FileChanged(None)
    assert files.writes == 0


async def test_a_touch_changes_the_stamp_and_nothing_else() -> None:
    files = MemoryFiles()
    files.external_write("a.py", b"one")
    before = await files.read("a.py")
    files.external_touch("a.py")
    after = await files.read("a.py")
    assert after.stamp != before.stamp
    assert (after.data, after.digest) == (before.data, before.digest)


async def test_a_rename_takes_the_file_along() -> None:
    files = MemoryFiles()
    files.external_write("a.py", b"one")
    files.external_rename("a.py", "b.py")
    assert await files.stamp("a.py") is None
    assert (await files.read("b.py")).data == b"one"


async def test_a_slow_store_lets_others_in() -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    files = MemoryFiles(pause=wait)
    files.external_write("a.py", b"one")
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(files.write("a.py", b"ours", digest(b"one")))
        files.external_write("a.py", b"theirs")
        gate.set()
    assert isinstance(writing.result(), FileChanged)


async def test_what_is_written_as_trusted_is_read_as_trusted() -> None:
    files = MemoryFiles()
    files.external_write("a.ipynb", b"one")
    assert not (await files.read("a.ipynb")).trusted
    await files.write("a.ipynb", b"two", digest(b"one"), trusted=True)
    assert (await files.read("a.ipynb")).trusted
