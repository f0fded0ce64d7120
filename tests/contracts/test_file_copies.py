"""Local copies on a real disk: what crashes, damage, other servers and full disks do to them."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notebook_sync.adapters import local_disk, local_journal, local_reader
from notebook_sync.adapters.local_copies import FileLocalCopies
from notebook_sync.adapters.local_journal import JOURNAL_MAGIC, encode_record, encode_snapshot, read_journal
from notebook_sync.core.errors import InvariantBroken, LocalDiskFailed
from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import LocalCopy
from tests.support.local_disks import LIMITS, D, E, L, cursor, head, new_node
from tests.support.local_life import Life, documents, everything, words
from tests.support.power import Power
from tests.support.waiting import wait_until

FOLDER = f"{D}.{L}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def server(root: Path, limits: Limits = LIMITS) -> FileLocalCopies:
    return FileLocalCopies(root, new_node(), limits)


def only(root: Path, pattern: str) -> Path:
    (path,) = root.glob(f"{FOLDER}/{pattern}")
    return path


async def written(root: Path, updates: list[bytes], state: bytes = b"state") -> None:
    """A snapshot and a journal of a server that has ended."""
    async with server(root) as copies:
        await copies.keep(head(cursor=cursor(5)), state, 0)
        await copies.record(D, L, list(enumerate(updates, 1)))


# --- crashes -----------------------------------------------------------------------------------------


PROJECT = Path(__file__).parents[2]


def run(*command: str, within: float) -> str:
    python = [sys.executable, *command]
    done = subprocess.run(python, capture_output=True, text=True, timeout=within, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("how", "times", "words_at_least"), [("calls", 120, 400), ("moments", 200, 2000)])
def test_whenever_a_server_is_killed_nothing_that_it_acknowledged_is_lost(
    root: Path, how: str, times: int, words_at_least: int
) -> None:
    """Before each of the first calls that change the disk, and at random moments."""
    kills, acknowledged = map(
        int, run("-m", "tests.support.local_kills", str(root), how, str(times), within=280).split()
    )
    assert kills == times
    assert acknowledged > words_at_least


async def test_after_a_loss_of_power_everything_acknowledged_is_found(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("copies").mkdir(mode=0o700)
    power = Power(root, monkeypatch)
    told: list[str] = []
    dice = random.Random(7)
    losses = 0

    async def check() -> None:
        nonlocal losses
        for removals_first in (False, True):
            left = tmp_path / f"lost{losses}"
            losses += 1
            known = set(told)
            power.lose(left, removals_first=removals_first)
            async with server(left) as after:
                assert known <= await everything(after, D)

    for run in range(4):
        async with server(root) as copies:
            life = Life(copies, D, told.append)
            await life.open()
            await check()
            for turn in range(6):
                await life.type([f"{run}-{turn}-{n}" for n in range(dice.randint(1, 3))])
                await check()
                if dice.random() < 0.5:
                    await life.keep()
                    await check()
    assert losses > 60


async def test_a_record_is_acknowledged_after_its_flush_and_that_of_a_new_file_s_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        power = Power(root, monkeypatch)
        await copies.record(D, L, [(1, b"one")])
        name = only(root, "*.journal").name
        assert power.events == [("write", name), ("fsync", name), ("fsync", FOLDER)]
        power.events.clear()
        await copies.record(D, L, [(2, b"two")])
        assert power.events == [("write", name), ("fsync", name)]


async def test_a_snapshot_is_flushed_before_it_gets_its_name_and_the_journal_goes_last(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        snapshot, journal = only(root, "*.snapshot").name, only(root, "*.journal").name
        power = Power(root, monkeypatch)
        await copies.keep(head(), b"s+one", 1)
        assert [event for event in power.events if event[0] != "write"] == [
            ("fsync", f"{snapshot}.tmp"),
            ("replace", snapshot),
            ("fsync", FOLDER),
            ("unlink", journal),
        ]


async def test_what_waits_shares_a_turn_and_a_flush(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.keep(head(E, path="b"), b"s", 0)
        gate, entered = threading.Event(), threading.Event()
        power = Power(root, monkeypatch)
        watched = os.write

        def slow(descriptor: int, data: bytes) -> Any:
            entered.set()
            gate.wait(10)
            return watched(descriptor, data)

        monkeypatch.setattr(os, "write", slow)
        first = asyncio.gather(copies.record(D, L, [(1, b"x")]))
        await asyncio.to_thread(entered.wait, 10)
        rest = asyncio.gather(
            *(copies.record(document, L, [(n, b"x")]) for document in (D, E) for n in range(2, 50))
        )
        asyncio.get_running_loop().call_soon(gate.set)  # after each of them has begun, and waits
        await first
        await rest
        flushes = [name for call, name in power.events if call == "fsync" and name.endswith(".journal")]
        assert len(flushes) == 3, "one for the first record, one for each journal of the second turn"


async def test_descriptors_are_bounded_and_a_journal_goes_on_when_its_document_does(root: Path) -> None:
    many = documents(20)
    async with server(root, Limits(local_open_journals=4)) as copies:
        for document in many:
            await copies.keep(head(document, path=document), b"s", 0)
        for position in range(1, 4):
            for document in many:
                await copies.record(document, L, [(position, b"%d" % position)])

        def held() -> int:
            paths = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
            return sum(path.startswith(str(root)) and path.endswith(".journal") for path in paths)

        await wait_until(lambda: held() == 4, 10, "the writer's last turn is over")
        assert len(list(root.rglob("*.journal"))) == 20
        for document in many:
            found = await copies.find(document)
            assert found is not None
            assert found.updates == (b"s", b"1", b"2", b"3")
            assert not found.damaged


async def test_a_record_that_fails_in_a_journal_that_was_closed_takes_nothing_with_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(root, Limits(local_open_journals=0)) as copies:
        await copies.keep(head(), b"s", 0)
        for position in (1, 2):
            await copies.record(D, L, [(position, b"%d" % position)])
        assert await copies.journal_size(D, L) == only(root, "*.journal").stat().st_size
        works = failing(monkeypatch, "fdatasync", errno.EIO)
        with pytest.raises(LocalDiskFailed):
            await copies.record(D, L, [(3, b"3")])
        works()
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s", b"1", b"2")


async def test_a_closed_journal_that_is_gone_is_begun_anew_with_a_new_snapshot(root: Path) -> None:
    async with server(root, Limits(local_open_journals=0)) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        only(root, "*.journal").unlink()
        with pytest.raises(LocalDiskFailed, match="No such file"):
            await copies.record(D, L, [(2, b"two")])
        await copies.record(D, L, [(2, b"two")])
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s", b"two")


# --- damage ------------------------------------------------------------------------------------------


async def test_a_torn_tail_is_cut_off_wherever_it_is_torn(root: Path) -> None:
    updates = [b"one", b"", b"three" * 3, b"4"]
    await written(root, updates)
    path = only(root, "*.journal")
    whole = path.read_bytes()
    ends = [len(JOURNAL_MAGIC)]
    for number, update in enumerate(updates, 1):
        ends.append(ends[-1] + len(encode_record(number, update)))
    assert ends[-1] == len(whole)
    async with server(root) as copies:
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            complete = sum(end <= size for end in ends[1:])
            assert await copies.find(D) == LocalCopy(
                head(cursor=cursor(5)), (b"state", *updates[:complete])
            ), size
        path.write_bytes(whole + bytes(5000))  # the length reached the disk before the content
        assert await copies.find(D) == LocalCopy(head(cursor=cursor(5)), (b"state", *updates))


def test_any_changed_bit_of_a_journal_is_noticed() -> None:
    records = [(1, b"one"), (2, b""), (2**40, b"three" * 9)]
    data = JOURNAL_MAGIC + b"".join(encode_record(*record) for record in records)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        read = read_journal(bytes(changed))
        assert read.damage is not None, bit
        assert read.records == tuple(records[: len(read.records)]), bit


@pytest.mark.slow
async def test_any_changed_bit_of_a_snapshot_is_noticed_and_never_served(root: Path) -> None:
    await written(root, [b"one"])
    path = only(root, "*.snapshot")
    whole = path.read_bytes()
    served = 0
    async with server(root) as copies:
        for bit in range(0, len(whole) * 8, 3):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.with_name("other").write_bytes(changed)
            path.with_name("other").rename(path)
            found = await copies.find(D)
            assert found is not None
            in_head = found.head.key.path == ""
            served += not in_head
            nowhere = DocumentKey(DocumentKind("", ""), "")
            expected = replace(head(), key=nowhere) if in_head else head()  # it says nothing about the log
            assert found == LocalCopy(expected, (b"one",), found.damaged)
            assert found.damaged
            assert only(root, "*.damaged").read_bytes() == changed
            only(root, "*.damaged").unlink()
    assert served == pytest.approx(len(b"state") * 8 / 3, abs=1), "those in the state"


async def test_a_damaged_record_ends_the_reading_there_and_the_file_is_kept(root: Path) -> None:
    await written(root, [b"one", b"two", b"three"])
    path = only(root, "*.journal")
    changed = path.read_bytes().replace(b"two", b"twO")
    path.write_bytes(changed)
    async with server(root) as copies:
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"state", b"one")
        (damaged,) = found.damaged
        assert str(path) in damaged
        assert f"kept as {path.name}.damaged" in damaged
        again = await copies.find(D)
        assert again == LocalCopy(found.head, (b"state", b"one")), "what is readable stays"
        await copies.keep(head(), b"state+one", 0)
        assert only(root, "*.damaged").read_bytes() == changed


async def test_a_damaged_snapshot_of_a_living_server_says_nothing_about_the_log(root: Path) -> None:
    async with server(root) as one, server(root) as two:
        await one.keep(head(cursor=cursor(5)), b"state", 0)
        await one.record(D, L, [(1, b"one")])
        with only(root, "*.snapshot").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"E")
        found = await two.find(D)
        assert found is not None
        assert (found.head, found.updates) == (head(), (b"one",))
        assert found.damaged


async def test_a_damaged_file_of_a_living_server_is_left_alone(root: Path) -> None:
    async with server(root) as one, server(root) as two:
        await one.keep(head(), b"state", 0)
        await one.record(D, L, [(1, b"one"), (2, b"two")])
        path = only(root, "*.journal")
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"O")
        found = await two.find(D)
        assert found is not None
        assert found.updates == (b"state", b"one")
        assert found.damaged
        assert not list(root.rglob("*.damaged"))
        await one.record(D, L, [(3, b"three")])


async def test_a_snapshot_of_a_later_program_is_left_to_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr(local_journal, "VERSION", 2)
        await written(root, [])
    path = only(root, "*.snapshot")
    data = path.read_bytes()
    async with server(root) as copies:
        assert await copies.heads() == ()
        found = await copies.find(D)
        assert found is not None
        assert found.updates == ()
        assert "it has version 2, this server reads 1" in found.damaged[0]
        for _ in range(3):
            await copies.keep(head(), b"s", 0)
            await copies.find(D)
    assert path.read_bytes() == data


async def test_a_journal_whose_snapshots_are_all_damaged_is_found_by_its_document(root: Path) -> None:
    await written(root, [b"one"])
    only(root, "*.snapshot").write_bytes(b"\0" * 4096)
    async with server(root) as copies:
        assert await copies.heads() == ()
        assert await copies.find_path(head().key) is None
        for _ in range(2):
            found = await copies.find(D)
            assert found is not None
            assert (found.head.document, found.head.lineage, found.updates) == (D, L, (b"one",))
        await copies.keep(head(), b"state+one", 0)
        assert await copies.find(D) == LocalCopy(head(), (b"state+one",))


async def test_what_others_change_is_seen_after_it_was_remembered(root: Path) -> None:
    long_ago = time.time_ns() - 10**10
    async with server(root) as one, server(root) as two:
        for path in ("a", "b", "c"):
            await one.keep(head(path=path), b"s", 0)
            os.utime(root / FOLDER, ns=(long_ago, long_ago + len(path)))
            assert [kept.key.path for kept in await two.heads()] == [path]
            long_ago += 10**6


async def test_two_changes_at_one_moment_are_both_seen(root: Path) -> None:
    """Times of modification are as coarse as some milliseconds, so a folder that just changed is looked at
    again, and one that did not is not."""
    moment = time.time_ns() + 10**10
    async with server(root) as copies:
        for path in ("a", "b", "c"):
            await copies.keep(head(path=path), b"s", 0)
            os.utime(root / FOLDER, ns=(moment, moment))
            assert [kept.key.path for kept in await copies.heads()] == [path]


# --- who may read, and who lives ----------------------------------------------------------------------


async def test_files_are_private_whatever_the_umask(root: Path) -> None:
    root.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        async with server(root) as copies:
            await copies.keep(head(), b"s", 0)
            await copies.record(D, L, [(1, b"one")])
            await copies.renamed("a.ipynb", "b.ipynb")
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    finally:
        os.umask(before)
    assert len(modes) == 6
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items()), modes


async def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        path = only(root, "*.snapshot")
        os.symlink(other, path.with_name(path.name + ".tmp"))
        await copies.keep(head(), b"s2", 0)
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s2",)
    assert other.read_bytes() == b"somebody's"


@pytest.mark.slow
async def test_a_server_lives_until_its_process_ends(root: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.local_life", str(root), "f" * 16, "1",
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        async with server(root) as copies:
            life = Life(copies, documents(1)[0], lambda _: None)
            await life.open()
            there = {path.name.split(".")[0] for path in root.glob("*/*.snapshot")}
            assert "f" * 16 in there, "it lives, so its files stay"
            process.kill()
            rest, _ = await process.communicate()
            await life.open()
            await life.keep()
            assert set(rest.decode().split()) <= life.words
            there = {path.name.split(".")[0] for path in root.glob("*/*.snapshot")}
            assert "f" * 16 not in there
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_lock_files_of_killed_servers_do_not_pile_up(root: Path) -> None:
    async with server(root):
        (root / "dead.server").touch()
        async with server(root):
            assert len(list(root.glob("*.server"))) == 2
    assert not list(root.glob("*.server"))


async def test_ids_that_are_no_file_names_are_refused(root: Path) -> None:
    async with server(root) as copies:
        with pytest.raises(InvariantBroken):
            await copies.find(DocumentId("../x"))
        with pytest.raises(InvariantBroken):
            await copies.keep(head(DocumentId("a/b")), b"", 0)
    with pytest.raises(InvariantBroken):
        FileLocalCopies(root, NodeId("a.b"), LIMITS)


@pytest.mark.slow
async def test_whoever_reads_while_another_server_writes_misses_nothing(root: Path) -> None:
    told: list[str] = []
    reads = 0
    async with server(root) as writer, server(root) as reader:
        life = Life(writer, D, told.append)
        await life.open()
        done = asyncio.Event()

        async def read() -> None:
            nonlocal reads
            while not done.is_set():
                known = set(told)
                assert known <= await everything(reader, D)
                reads += 1

        reading = asyncio.gather(read(), read())
        for turn in range(300):
            await life.type([f"{turn}-a", f"{turn}-b"])
            if turn % 3 == 0:
                await life.keep()
        done.set()
        await reading
    assert reads > 50


async def test_a_snapshot_that_replaces_a_journal_while_it_is_read_is_read_instead(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    async with server(root) as writer, server(root) as reader:
        await writer.keep(head(), b"s", 0)
        await writer.record(D, L, [(1, b"one")])
        reads: list[str] = []

        def read_file(path: Path) -> bytes:
            if len(reads) == when:
                keeping = asyncio.run_coroutine_threadsafe(writer.keep(head(), b"s one", 1), loop)
                keeping.result(10)
            reads.append(path.name)
            return local_disk.read_file(path)

        monkeypatch.setattr(local_reader, "read_file", read_file)
        for when in range(2):
            reads.clear()
            found = await reader.find(D)
            assert found is not None
            assert words(found.updates) == {"s", "one"}, f"replaced before read {when + 1}"
            await writer.keep(head(), b"s", 1)
            await writer.record(D, L, [(1, b"one")])


# --- a disk that refuses ------------------------------------------------------------------------------

FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from notebook_sync.adapters.local_copies import FileLocalCopies
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import NodeId
from tests.support.local_disks import D, E, L, LIMITS, head

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    async with FileLocalCopies(Path(sys.argv[1]), NodeId("a" * 16), LIMITS) as copies:
        await copies.keep(head(), b"state", 0)
        await copies.record(D, L, [(1, b"one")])
        room(1000)
        for call in (
            lambda: copies.record(D, L, [(2, bytes(5000))]),
            lambda: copies.keep(head(), bytes(5000), 1),
            lambda: copies.keep(head(E, path="b"), bytes(5000), 1),
        ):
            try:
                await call()
            except LocalDiskFailed as error:
                assert "make room" in str(error) and sys.argv[1] in str(error), error
            else:
                raise AssertionError("there was room")
        found = await copies.find(D)
        assert found.updates == (b"state", b"one") and not found.damaged, found
        assert await copies.find(E) is None
        await copies.record(D, L, [(3, b"small")])
        room(resource.RLIM_INFINITY)
        await copies.record(D, L, [(4, bytes(5000))])
        found = await copies.find(D)
        assert found.updates == (b"state", b"one", b"small", bytes(5000)) and not found.damaged
        await copies.keep(head(), bytes(9000), 4)
        found = await copies.find(D)
        assert found.updates == (bytes(9000),)
        assert await copies.journal_size(D, L) == 0

asyncio.run(main())
"""


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(root: Path) -> None:
    run("-c", FULL_DISK, str(root), within=60)
    assert not list(root.rglob("*.tmp"))


def failing(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> Callable[[], None]:
    """Make a call of the system fail until the returned function is called."""
    real = getattr(os, call)

    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    return lambda: monkeypatch.setattr(os, call, real)


@pytest.mark.parametrize("call", ["fdatasync", "write", "open"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
async def test_a_record_that_fails_is_undone_and_a_later_one_is_stored(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        if call == "open":
            await copies.keep(head(), b"s", 0)  # the next record begins a file
        works = failing(monkeypatch, call, code)
        for _ in range(3):
            with pytest.raises(LocalDiskFailed, match=os.strerror(code)):
                await copies.record(D, L, [(2, b"two")])
        works()
        await copies.record(D, L, [(2, b"two again")])
        found = await copies.find(D)
        assert found == LocalCopy(head(), (b"s", b"one", b"two again"))
        files = {path.name.split(".")[1] for path in root.rglob("*.journal")}
        assert len(files) == 2, "after a failed flush nobody knows what the system still has of a file"
        await copies.keep(head(), b"s2", 2)
        assert not list(root.rglob("*.journal"))


async def test_a_file_that_refuses_is_its_own_document_s_trouble(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.keep(head(E, path="b"), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        broken = only(root, "*.journal").stat().st_ino
        real = os.fdatasync

        def fail(descriptor: int) -> None:
            if os.fstat(descriptor).st_ino == broken:
                raise OSError(errno.EIO, "Input/output error")
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", fail)
        outcomes = await asyncio.gather(
            copies.record(D, L, [(2, b"two")]),
            copies.record(E, L, [(1, b"one")]),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], LocalDiskFailed)
        assert outcomes[1] is None
        found = await copies.find(D)
        assert found is not None
        assert found.updates == (b"s", b"one")


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
async def test_a_snapshot_that_fails_leaves_the_old_one_and_the_journal(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async with server(root) as copies:
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        works = failing(monkeypatch, call, errno.EIO)
        with pytest.raises(LocalDiskFailed):
            await copies.keep(head(), b"s+one", 1)
        works()
        found = await copies.find(D)
        assert found is not None
        assert words(found.updates) >= {"s", "one"}
        assert not list(root.rglob("*.tmp"))
        await copies.keep(head(), b"s+one", 1)
        assert await copies.find(D) == LocalCopy(head(), (b"s+one",))


async def test_a_server_starts_on_a_disk_that_refuses_and_uses_it_later(root: Path) -> None:
    root.parent.joinpath("copies").write_bytes(b"in the way")
    async with server(root) as copies:
        with pytest.raises(LocalDiskFailed, match=str(root)):
            await copies.keep(head(), b"s", 0)
        root.unlink()
        await copies.keep(head(), b"s", 0)
        await copies.record(D, L, [(1, b"one")])
        assert len(list(root.glob("*.server"))) == 1


async def test_a_disk_that_does_not_answer_fails_in_time_and_leaves_the_queue_bounded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(local_timeout=0.2, local_queue_bytes=10_000)
    gate = threading.Event()
    real = os.fdatasync
    async with server(root, limits) as copies:
        await copies.keep(head(), b"s", 0)

        def hang(descriptor: int) -> None:
            gate.wait(20)
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", hang)
        with pytest.raises(LocalDiskFailed, match=r"does not answer within 0\.2 s"):
            await copies.record(D, L, [(1, bytes(9_000))])
        with pytest.raises(LocalDiskFailed, match="does not keep up"):
            await copies.record(D, L, [(2, bytes(9_000))])
        gate.set()
        monkeypatch.setattr(os, "fdatasync", real)
        await copies.find(D)  # waits for the writer's turn
        await copies.record(D, L, [(3, bytes(9_000))])


async def test_a_document_that_another_server_forgot_takes_no_records(root: Path) -> None:
    async with server(root) as one, server(root) as two:
        await one.keep(head(), b"s", 0)
        await one.record(D, L, [(1, b"one")])
        await two.forget(D)
        with pytest.raises(LocalDiskFailed, match="forgotten"):
            await one.record(D, L, [(2, b"two")])
        assert await one.find(D) is None
        with pytest.raises(LocalDiskFailed):
            await one.record(D, L, [(3, b"three")])
        await one.keep(head(), b"again", 3)
        await one.record(D, L, [(4, b"four")])
        assert await two.find(D) == LocalCopy(head(), (b"again", b"four"))


# --- size ---------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_2000_documents_are_looked_through_quickly(root: Path) -> None:
    many = documents(2000)
    for number, document in enumerate(many):  # as ``keep`` would, but unflushed
        folder = root / f"{document}.{L}"
        folder.mkdir(parents=True)
        kept = head(document, path=f"folder{number % 50}/n{number}.ipynb")
        (folder / "0.snapshot").write_bytes(b"".join(encode_snapshot(kept, number + 1, b"s")))
    async with server(root) as copies:
        began = time.perf_counter()
        assert len(await copies.heads()) == 2000
        first = time.perf_counter() - began
        times = []
        for number in random.Random(1).sample(range(2000), 20):
            began = time.perf_counter()
            found = await copies.find_path(head(path=f"folder{number % 50}/n{number}.ipynb").key)
            times.append(time.perf_counter() - began)
            assert found is not None
            assert found.document == many[number]
        assert first < 5
        assert sorted(times)[10] < 0.25, times
        async with server(root) as other:
            await other.keep(head(path="new.ipynb"), b"s", 0)
        assert await copies.find_path(head(path="new.ipynb").key) is not None, "others write too"


@pytest.mark.slow
async def test_a_big_snapshot_keeps_neither_the_loop_nor_other_documents_waiting(root: Path) -> None:
    state = os.urandom(1 << 20) * 50
    async with server(root) as copies:
        await copies.keep(head(E, path="b"), b"s", 0)
        began = time.perf_counter()
        keeping = asyncio.gather(copies.keep(head(), state, 0))
        waits, gaps, position = [], [], 0
        while not keeping.done():
            position += 1
            at = time.perf_counter()
            await copies.record(E, L, [(position, b"key")])
            waits.append(time.perf_counter() - at)
            at = time.perf_counter()
            await asyncio.wait({keeping}, timeout=0.001)
            gaps.append(time.perf_counter() - at)
        await keeping
        whole = time.perf_counter() - began
        print(f"50 MB kept in {whole:.2f} s; records meanwhile: {len(waits)}, longest {max(waits):.3f} s")
        assert len(waits) > 3
        assert max(waits) < whole
        assert max(gaps) < 0.2
