"""Files of this machine: other programs, links, modes, full disks and crashes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from notebook_sync.adapters import atomic_replace, exchange, replaced_files
from notebook_sync.adapters.exchange import ExchangeUnsupported
from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.core.errors import FileMissing, FileOutsideRoot, FileUnavailable
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileChanged, LateWrite, Written
from tests.support.waiting import wait_until

QUICK = replace(Limits(), file_linger=0.1)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest_asyncio.fixture
async def files(root: Path) -> AsyncIterator[LocalFiles]:
    async with LocalFiles(root, Limits()) as store:
        yield store


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- links and names -----------------------------------------------------------------------------


async def test_writes_through_a_link_and_keeps_it(files: LocalFiles, root: Path) -> None:
    (root / "data").mkdir()
    (root / "data" / "real.py").write_bytes(b"one")
    (root / "link.py").symlink_to("data/real.py")
    (root / "folder").symlink_to("data")
    assert isinstance(await files.write("link.py", b"two", digest(b"one")), Written)
    assert isinstance(await files.write("folder/real.py", b"three", digest(b"two")), Written)
    assert (root / "link.py").is_symlink()
    assert (root / "data" / "real.py").read_bytes() == b"three"
    assert names(root / "data") == ["real.py"]


async def test_links_out_of_the_root_are_refused(files: LocalFiles, root: Path) -> None:
    outside = root.parent / "secret"
    outside.write_bytes(b"one")
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "sibling").symlink_to(root.parent / "root2")
    (root.parent / "root2").mkdir()
    for path in ("link", "up/secret", "sibling/new"):
        with pytest.raises(FileOutsideRoot):
            await files.read(path)
        with pytest.raises(FileOutsideRoot):
            await files.write(path, b"two", digest(b"one"))
        with pytest.raises(FileOutsideRoot):
            await files.create(path, b"two")
        with pytest.raises(FileOutsideRoot):
            await files.keep_beside(path, b"two", "x")
    assert outside.read_bytes() == b"one"


async def test_a_root_that_is_a_link_itself(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    (root / "a.py").write_bytes(b"one")
    async with LocalFiles(root.parent / "alias", Limits()) as files:
        assert (await files.read("a.py")).data == b"one"


@pytest.mark.parametrize("path", ["a" * 300, "\ud800.py"])
async def test_names_that_no_file_can_have(files: LocalFiles, path: str) -> None:
    with pytest.raises(FileUnavailable):
        await files.read(path)
    with pytest.raises(FileUnavailable):
        await files.create(path, b"x")


async def test_links_in_a_circle(files: LocalFiles, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(FileUnavailable):
        await files.read("a")


async def test_the_longest_name_can_be_written(files: LocalFiles, root: Path) -> None:
    name = "é" * 125 + ".py"
    (root / name).write_bytes(b"one")
    assert isinstance(await files.write(name, b"two", digest(b"one")), Written)
    assert (root / name).read_bytes() == b"two"
    beside = await files.keep_beside(name, b"three", "a label " * 20)
    assert (root / beside).read_bytes() == b"three"


async def test_keeps_each_content_beside_once(files: LocalFiles, root: Path) -> None:
    (root / "a.tar.ipynb").write_bytes(b"one")
    first = await files.keep_beside("a.tar.ipynb", b"lost 1", "ada")
    second = await files.keep_beside("a.tar.ipynb", b"lost 2", "ada")
    again = await files.keep_beside("a.tar.ipynb", b"lost 1", "ada")
    assert (first, second) == ("a.tar.conflict-ada.ipynb", "a.tar.conflict-ada-2.ipynb")
    assert again == first
    assert (root / first).read_bytes() == b"lost 1"
    assert (root / second).read_bytes() == b"lost 2"


async def test_a_folder_that_is_not_mounted_any_more_is_no_deletion(root: Path) -> None:
    (root / "a.py").write_bytes(b"one")
    async with LocalFiles(root, Limits()) as files:
        root.rename(root.with_name("elsewhere"))
        root.mkdir()
        for call in (files.read("a.py"), files.stamp("a.py"), files.write("a.py", b"two", digest(b"one"))):
            with pytest.raises(FileUnavailable, match="mount it again") as error:
                await call
            assert not isinstance(error.value, FileMissing)
        root.rmdir()
        with pytest.raises(FileUnavailable, match="mount it again"):
            await files.stamp("a.py")
        root.with_name("elsewhere").rename(root)
        assert (await files.read("a.py")).data == b"one"


async def test_each_replaced_file_is_told(root: Path) -> None:
    (root / "a.py").write_bytes(b"one")
    told: list[tuple[str, int]] = []
    inode = (root / "a.py").stat().st_ino
    async with LocalFiles(root, Limits(), on_written=lambda path, was: told.append((path, was))) as files:
        await files.write("a.py", b"one", digest(b"one"))
        await files.write("a.py", b"two", digest(b"other"))
        assert told == []
        await files.write("a.py", b"two", digest(b"one"))
        assert told == [("a.py", inode)]


async def test_the_search_for_a_moved_file_is_bounded_and_leaves_hidden_folders_out(root: Path) -> None:
    (root / ".hidden").mkdir()
    (root / "a.py").write_bytes(b"one")
    async with LocalFiles(root, replace(Limits(), files_searched=50)) as files:
        stamp = await files.stamp("a.py")
        assert stamp is not None
        (root / "a.py").rename(root / ".hidden" / "a.py")
        assert await files.moved_to("a.py", stamp) is None
        (root / ".hidden" / "a.py").rename(root / "b.py")
        (root / "link.py").symlink_to(root / "b.py")
        assert await files.moved_to("a.py", stamp) == "b.py"
        for number in range(60):
            (root / f"full{number}").mkdir()
        (root / "full59" / "deep").mkdir()
        (root / "b.py").rename(root / "full59" / "deep" / "b.py")
        assert await files.moved_to("a.py", stamp) is None


async def test_labels_make_plain_names(files: LocalFiles, root: Path) -> None:
    (root / "a.ipynb").write_bytes(b"")
    beside = await files.keep_beside("a.ipynb", b"x", "../Ada Lovelace / 10:30")
    assert beside == "a.conflict-Ada-Lovelace-10-30.ipynb"
    assert await files.keep_beside("a.ipynb", b"x", "../") == "a.conflict-conflict.ipynb"


async def test_a_pipe_is_no_file(files: LocalFiles, root: Path) -> None:
    os.mkfifo(root / "pipe")
    async with asyncio.timeout(5):
        with pytest.raises(FileUnavailable, match="not a regular file"):
            await files.read("pipe")


# --- what is kept of a file ----------------------------------------------------------------------


async def test_the_mode_and_attributes_are_kept(files: LocalFiles, root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    path.chmod(0o754)
    with contextlib.suppress(OSError):
        os.setxattr(path, "user.note", b"kept")
    had = dict.fromkeys(os.listxattr(path))
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert path.stat().st_mode & 0o7777 == 0o754
    assert dict.fromkeys(os.listxattr(path)) == had


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_the_owner_is_kept(files: LocalFiles, root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    os.chown(path, 12345, 23456)
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


async def test_a_read_only_folder_says_so(files: LocalFiles, root: Path) -> None:
    (root / "week").mkdir()
    (root / "week" / "a.py").write_bytes(b"one")
    (root / "week").chmod(0o555)
    try:
        assert not (await files.read("week/a.py")).writable
        with pytest.raises(FileUnavailable, match="folder is read-only"):
            await files.write("week/a.py", b"two", digest(b"one"))
    finally:
        (root / "week").chmod(0o755)
    assert names(root / "week") == ["a.py"]


# --- other programs at the same moment (rule 16) -------------------------------------------------


def between(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], None]) -> list[str]:
    """Let other programs act just before each exchange, once each; returns the exchanges as they come."""
    real = exchange.exchange
    waiting = list(acts)
    done: list[str] = []

    def act_then_exchange(one: str, other: str) -> None:
        if waiting:
            waiting.pop(0)()
        done.append(os.path.basename(other))
        real(one, other)

    monkeypatch.setattr(atomic_replace, "exchange", act_then_exchange)
    return done


def write_in_place(path: Path) -> Callable[[], None]:
    def write() -> None:
        path.write_bytes(b"theirs")

    return write


async def test_a_save_of_another_program_just_before_the_exchange_is_put_back(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")

    def rename_over() -> None:
        (root / "new").write_bytes(b"theirs")
        (root / "new").rename(path)

    exchanges = between(monkeypatch, rename_over)
    result = await files.write("a.py", b"ours", digest(b"one"))
    assert isinstance(result, FileChanged)
    assert result.content is not None
    assert result.content.data == b"theirs"
    assert path.read_bytes() == b"theirs"
    assert names(root) == ["a.py"]
    assert len(exchanges) == 2


async def test_a_write_in_place_just_before_the_exchange_is_put_back(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    between(monkeypatch, write_in_place(path))
    result = await files.write("a.py", b"ours", digest(b"one"))
    assert isinstance(result, FileChanged)
    assert path.read_bytes() == b"theirs"


async def test_two_saves_of_other_programs_the_newest_stays_and_the_other_is_kept(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")

    def save(data: bytes) -> Callable[[], None]:
        def rename_over() -> None:
            (root / "new").write_bytes(data)
            (root / "new").rename(path)

        return rename_over

    between(monkeypatch, save(b"first"), save(b"second"))
    result = await files.write("a.py", b"ours", digest(b"one"))
    assert isinstance(result, FileChanged)
    assert path.read_bytes() == b"second"
    assert names(root) == ["a.conflict-found.py", "a.py"]
    assert (root / "a.conflict-found.py").read_bytes() == b"first"


async def test_nothing_vanishes_when_others_never_stop_saving(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")

    def save(data: bytes) -> Callable[[], None]:
        def rename_over() -> None:
            (root / "new").write_bytes(data)
            (root / "new").rename(path)

        return rename_over

    saves = [b"save %d" % number for number in range(6)]
    between(monkeypatch, *map(save, saves))
    assert isinstance(await files.write("a.py", b"ours", digest(b"one")), FileChanged)
    found = {(root / name).read_bytes() for name in names(root)}
    assert found >= set(saves[:5])
    assert not [name for name in names(root) if name.endswith(".tmp")]


async def test_a_file_deleted_just_before_the_exchange_is_not_made_again(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.py").write_bytes(b"one")
    between(monkeypatch, (root / "a.py").unlink)
    assert await files.write("a.py", b"ours", digest(b"one")) == FileChanged(None)
    assert names(root) == []


async def test_a_file_changed_and_then_deleted_is_kept_beside(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    between(monkeypatch, write_in_place(path), path.unlink)
    assert await files.write("a.py", b"ours", digest(b"one")) == FileChanged(None)
    assert names(root) == ["a.conflict-found.py"]
    assert (root / "a.conflict-found.py").read_bytes() == b"theirs"


async def test_a_link_put_in_place_of_the_file_stays(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    (root / "other.py").write_bytes(b"other")

    def link() -> None:
        path.unlink()
        path.symlink_to("other.py")

    between(monkeypatch, link)
    with pytest.raises(FileUnavailable):
        await files.write("a.py", b"ours", digest(b"one"))
    assert path.is_symlink()
    assert (root / "other.py").read_bytes() == b"other"
    assert names(root) == ["a.py", "other.py"]


def keep_saving(path: Path, saves: list[tuple[bytes, bytes]], stop: threading.Event) -> None:
    """An editor that saves by rename; ``saves``: (its last save, what it found before the next)."""
    last = path.read_bytes()
    while not stop.is_set():
        saves.append((last, path.read_bytes()))
        last = b"editor %d" % len(saves)
        path.with_name("editor.new").write_bytes(last)
        path.with_name("editor.new").rename(path)
        stop.wait(0.0005)


async def test_other_programs_save_all_the_time_and_nothing_is_lost(root: Path) -> None:
    """A real race: another thread saves by rename as fast as it can, we write in between."""
    path = root / "a.py"
    path.write_bytes(b"start")
    saves: list[tuple[bytes, bytes]] = []
    stop = threading.Event()
    thread = threading.Thread(target=keep_saving, args=(path, saves, stop))
    thread.start()
    seen: set[bytes] = set()
    ours: set[bytes] = set()
    number = 0
    try:
        async with LocalFiles(root, Limits()) as files:
            content = (await files.read("a.py")).data
            while number < 300 or len(ours) < 20:
                number += 1
                seen.add(content)
                result = await files.write("a.py", b"ours %d" % number, digest(content))
                if isinstance(result, Written):
                    content = b"ours %d" % number
                    ours.add(content)
                else:
                    assert result.content is not None
                    content = result.content.data
    finally:
        stop.set()
        thread.join()
    assert not [name for name in names(root) if name.endswith(".tmp")]
    seen |= {(root / name).read_bytes() for name in names(root)}
    # Where it found our writing in place of its last save, we had taken that save over knowingly.
    replaced = {last for last, found in saves if found in ours}
    assert replaced
    assert replaced <= seen


# --- without an exchange -------------------------------------------------------------------------


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(one: str, other: str) -> None:
        raise ExchangeUnsupported("this file system can't")

    monkeypatch.setattr(atomic_replace, "exchange", unsupported)


@pytest.mark.usefixtures("no_exchange")
async def test_a_file_system_without_exchange_still_writes_and_compares(
    files: LocalFiles, root: Path
) -> None:
    (root / "a.py").write_bytes(b"one")
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert isinstance(await files.write("a.py", b"three", digest(b"one")), FileChanged)
    assert (root / "a.py").read_bytes() == b"two"
    assert names(root) == ["a.py"]
    assert files.lingering == 1


@pytest.mark.usefixtures("no_exchange")
async def test_without_exchange_a_change_during_the_write_is_seen(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    real = atomic_replace._write_temporary

    def write_then_change(target: str, data: bytes) -> str:
        temporary = real(target, data)
        path.write_bytes(b"theirs")
        return temporary

    monkeypatch.setattr(atomic_replace, "_write_temporary", write_then_change)
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), FileChanged)
    assert path.read_bytes() == b"theirs"
    assert names(root) == ["a.py"]


def test_the_exchange_swaps_names(root: Path) -> None:
    (root / "a").write_bytes(b"one")
    (root / "b").write_bytes(b"two")
    exchange.exchange(str(root / "a"), str(root / "b"))
    assert (root / "a").read_bytes() == b"two"
    assert (root / "b").read_bytes() == b"one"
    with pytest.raises(FileNotFoundError):
        exchange.exchange(str(root / "a"), str(root / "none"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_can_not_exchange_says_so() -> None:
    with pytest.raises((ExchangeUnsupported, OSError)):
        exchange.exchange("/proc/self/comm", "/proc/self/stat")


# --- late writers --------------------------------------------------------------------------------


def hears(late: list[LateWrite], answer: bool = True) -> Callable[[LateWrite], bool]:
    """A listener that keeps what it hears."""

    def hear(write: LateWrite) -> bool:
        late.append(write)
        return answer

    return hear


async def test_what_is_written_into_a_replaced_file_is_handed_over(root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    late: list[LateWrite] = []
    async with LocalFiles(root, QUICK) as files:
        files.on_late_write(hears(late))
        with path.open("r+b") as editor:
            assert isinstance(await files.write("a.py", b"ours", digest(b"one")), Written)
            editor.write(b"late work")
        await wait_until(lambda: late, 5, "the late write")
        assert files.lingering == 0
    assert late == [LateWrite("a.py", b"late work", digest(b"one"))]
    assert path.read_bytes() == b"ours"


async def test_a_late_writer_is_waited_for_until_it_is_done(root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    late: list[LateWrite] = []
    async with LocalFiles(root, QUICK) as files:
        files.on_late_write(hears(late))
        with path.open("r+b", buffering=0) as editor:
            await files.write("a.py", b"ours", digest(b"one"))
            editor.write(b"first half ")
            await wait_until(lambda: any(watched.rounds for watched in files._replaced._watched), 5, "a look")
            editor.write(b"second half")
        await wait_until(lambda: late, 5, "the late write")
    assert [write.data for write in late] == [b"first half second half"]


async def test_without_a_listener_it_is_kept_beside_also_at_the_end(root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    async with LocalFiles(root, Limits()) as files:
        with path.open("r+b") as editor:
            await files.write("a.py", b"ours", digest(b"one"))
            editor.write(b"late work")
    assert names(root) == ["a.conflict-late-write.py", "a.py"]
    assert (root / "a.conflict-late-write.py").read_bytes() == b"late work"


async def test_what_the_listener_can_not_take_is_kept_beside(root: Path) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    late: list[LateWrite] = []
    async with LocalFiles(root, Limits()) as files:
        files.on_late_write(hears(late, answer=False))
        with path.open("r+b") as editor:
            await files.write("a.py", b"ours", digest(b"one"))
            editor.write(b"late work")
    assert [write.data for write in late] == [b"late work"]
    assert (root / "a.conflict-late-write.py").read_bytes() == b"late work"


@pytest.mark.parametrize("wrote", [b"", b"ours"])
async def test_a_late_writer_that_leaves_nothing_new_is_no_news(root: Path, wrote: bytes) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    async with LocalFiles(root, QUICK) as files:
        with path.open("r+b") as editor:
            await files.write("a.py", b"ours", digest(b"one"))
            editor.truncate()
            editor.write(wrote)
        await wait_until(lambda: files.lingering == 0, 5, "the end of the watch")
    assert names(root) == ["a.py"]


async def test_only_so_many_replaced_files_are_watched(root: Path) -> None:
    (root / "a.py").write_bytes(b"0")
    async with LocalFiles(root, replace(Limits(), files_lingering=3)) as files:
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        for number in range(20):
            await files.write("a.py", b"%d" % (number + 1), digest(b"%d" % number))
        await wait_until(lambda: files.lingering <= 3, 5, "the bound")
        if sys.platform == "linux":
            assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert files.lingering == 0


async def test_a_cancelled_write_is_still_watched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "a.py"
    path.write_bytes(b"one")
    entered, go_on = threading.Event(), threading.Event()
    real = exchange.exchange

    def slow(one: str, other: str) -> None:
        entered.set()
        go_on.wait(10)
        real(one, other)

    monkeypatch.setattr(atomic_replace, "exchange", slow)
    async with LocalFiles(root, Limits()) as files:
        with path.open("r+b") as editor:
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(files.write("a.py", b"ours", digest(b"one")))
                await wait_until(entered.is_set, 5, "the exchange")
                writing.cancel()
            go_on.set()
            await wait_until(lambda: files.lingering == 1, 5, "the watch")
            editor.write(b"late work")
    assert (root / "a.conflict-late-write.py").read_bytes() == b"late work"


# --- full disks and crashes ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_leaves_the_old_file(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (root / "a.py").write_bytes(b"one")

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileUnavailable, match="disk is full"):
        await files.write("a.py", b"two", digest(b"one"))
    with pytest.raises(FileUnavailable, match="disk is full"):
        await files.keep_beside("a.py", b"two", "x")
    assert (root / "a.py").read_bytes() == b"one"
    assert names(root) == ["a.py"]


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(root: Path) -> None:
    """With a real limit of the kernel, so in a process of its own."""
    (root / "a.py").write_bytes(b"one")
    script = f"""
import asyncio, resource, signal, sys
sys.path[:] = {sys.path!r}
from pathlib import Path
from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.core.errors import FileUnavailable
from notebook_sync.core.limits import Limits
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
async def main():
    async with LocalFiles(Path({str(root)!r}), Limits()) as files:
        try:
            await files.write("a.py", b"x" * 100_000, {digest(b"one")!r})
        except FileUnavailable as error:
            print(error)
asyncio.run(main())
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stdout.startswith("a.py: File too large"), ended.stderr
    assert (root / "a.py").read_bytes() == b"one"
    assert names(root) == ["a.py"]


def leftover(
    root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, holds: bytes, *, whole: bool
) -> Path:
    """A temporary file for ``content`` that holds ``holds``, left two minutes ago."""
    path = root / atomic_replace._temporary_name("a.py", digest(content))
    path.write_bytes(holds)
    path.chmod(0o644 if whole else atomic_replace._UNFINISHED_MODE)
    later = time.time() + 120
    monkeypatch.setattr(time, "time", lambda: later)
    return path


@pytest.mark.parametrize("whole", [True, False])
async def test_what_a_crashed_writer_left_is_removed(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    (root / "a.py").write_bytes(b"one")
    leftover(root, monkeypatch, b"crashed", b"crashed" if whole else b"cra", whole=whole)
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert names(root) == ["a.py"]


async def test_what_a_crashed_writer_had_swapped_out_is_kept(
    files: LocalFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.py").write_bytes(b"one")
    leftover(root, monkeypatch, b"crashed", b"another program's save", whole=True)
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert names(root) == ["a.conflict-found.py", "a.py"]
    assert (root / "a.conflict-found.py").read_bytes() == b"another program's save"


async def test_a_fresh_temporary_file_is_another_writers(files: LocalFiles, root: Path) -> None:
    (root / "a.py").write_bytes(b"one")
    busy = root / atomic_replace._temporary_name("a.py", digest(b"x"))
    busy.write_bytes(b"x")
    other = root / atomic_replace._temporary_name("b.py", digest(b"x"))
    other.write_bytes(b"x")
    assert isinstance(await files.write("a.py", b"two", digest(b"one")), Written)
    assert busy.exists()
    assert other.exists()


# --- trust ---------------------------------------------------------------------------------------


class Notary:
    """A signer that remembers."""

    def __init__(self) -> None:
        self.signed: set[bytes] = set()

    def is_trusted(self, data: bytes) -> bool:
        assert threading.current_thread() is not threading.main_thread()
        return data in self.signed

    def sign(self, data: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.signed.add(data)


async def test_notebooks_are_signed_when_all_of_them_is_trusted(root: Path) -> None:
    notary = Notary()
    first, second, third = (json.dumps({"cells": [], "n": number}).encode() for number in range(3))
    (root / "a.ipynb").write_bytes(first)
    (root / "a.py").write_bytes(second)
    async with LocalFiles(root, Limits(), notary) as files:
        assert not (await files.read("a.ipynb")).trusted
        await files.write("a.ipynb", second, digest(first), trusted=True)
        assert (await files.read("a.ipynb")).trusted
        assert not (await files.read("a.py")).trusted
        await files.write("a.ipynb", third, digest(second))
        assert not (await files.read("a.ipynb")).trusted
        await files.write("a.ipynb", third, digest(third), trusted=True)
        assert (await files.read("a.ipynb")).trusted


async def test_a_file_in_a_missing_folder_is_missing(files: LocalFiles) -> None:
    with pytest.raises(FileMissing):
        await files.keep_beside("gone/a.py", b"x", "x")


def test_the_bound_of_rounds_is_named() -> None:
    assert replaced_files._ROUNDS >= 2
