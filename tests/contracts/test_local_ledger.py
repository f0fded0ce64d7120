"""The file ledger on a real disk: what crashes, damage, other servers and full disks do to it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notebook_sync.adapters.local_ledger import LocalFileLedger
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileRecord, Intent
from tests.support.power import Power

D, E = DocumentId("d" * 32), DocumentId("e" * 32)
G = Generation("9" * 32)
LIMITS = Limits(commons_remembered=50)
PROJECT = Path(__file__).parents[2]


def intent(number: int) -> Intent:
    return Intent(f"digest{number}", NodeId("here"), G, number, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
async def ledger(root: Path) -> AsyncIterator[LocalFileLedger]:
    async with LocalFileLedger(root, LIMITS) as ledger:
        yield ledger


async def test_everything_is_there_after_a_restart_in_private_files(
    root: Path, ledger: LocalFileLedger
) -> None:
    before = os.umask(0)
    try:
        await ledger.intend(D, "folder ü/\ud800", intent(1))
        await ledger.common(D, "folder ü/\ud800", "one", b"\x00base", ["a", "b"])
    finally:
        os.umask(before)
    async with LocalFileLedger(root, LIMITS) as later:
        assert await later.record(D, "folder ü/\ud800") == FileRecord(
            "one", b"\x00base", (intent(1),), ("a", "b")
        )
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_what_was_common_before_is_remembered_in_order_and_bounded(ledger: LocalFileLedger) -> None:
    digests = [f"{number:064x}"[::-1] for number in range(1, 61)]
    assert not await ledger.was_common(D, "f", digests[0])
    for digest in digests:
        await ledger.common(D, "f", digest, b"")
    assert not await ledger.was_common(D, "f", digests[-1]), "it is common now"
    known = [await ledger.was_common(D, "f", digest) for digest in digests[:-1]]
    assert known == [False] * 9 + [True] * 50
    await ledger.common(D, "f", digests[40], b"")
    assert not await ledger.was_common(D, "f", digests[40]), "it came back"
    assert await ledger.was_common(D, "f", digests[-1])
    assert not await ledger.was_common(D, "g", digests[-1])


async def test_a_forgotten_document_is_gone(root: Path, ledger: LocalFileLedger) -> None:
    await ledger.common(D, "f", "one", b"")
    await ledger.common(E, "f", "one", b"")
    await ledger.forget(D)
    await ledger.forget(D)
    assert await ledger.record(D, "f") == FileRecord()
    assert [path.name for path in root.iterdir()] == [E]
    await ledger.common(D, "f", "two", b"")


@pytest.mark.parametrize("suffix", ["common", "intents"])
async def test_a_damaged_file_counts_as_none_and_is_replaced(
    root: Path, ledger: LocalFileLedger, suffix: str
) -> None:
    await ledger.intend(D, "f", intent(1))
    await ledger.common(D, "f", "one", b"base")
    (path,) = root.glob(f"*/*.{suffix}")
    whole = path.read_bytes()
    left = FileRecord(intents=(intent(1),)) if suffix == "common" else FileRecord("one", b"base")
    for bit in range(0, len(whole) * 8, 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert await ledger.record(D, "f") == left, bit
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert await ledger.record(D, "f") == left, size
    await ledger.intend(D, "f", intent(2))
    await ledger.common(D, "f", "two", b"base2")
    record = await ledger.record(D, "f")
    assert record.digest == "two"
    assert record.intents[0] == intent(2)


async def test_after_a_loss_of_power_everything_that_was_answered_is_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.mkdir()
    power = Power(root, monkeypatch)
    dice = random.Random(3)
    expected = FileRecord()
    async with LocalFileLedger(root, LIMITS) as ledger:
        for turn in range(20):
            if dice.random() < 0.5:
                await ledger.intend(D, "f", intent(turn))
            else:
                await ledger.common(D, "f", f"d{turn}", b"%d" % turn)
            expected = await ledger.record(D, "f")
            for removals_first in (False, True):
                left = tmp_path / f"lost-{turn}-{removals_first}"
                power.lose(left, removals_first=removals_first)
                async with LocalFileLedger(left, LIMITS) as after:
                    assert await after.record(D, "f") == expected
    assert expected.digest is not None
    assert len(expected.intents) > 3


async def test_servers_on_one_disk_lose_no_intent_of_each_other(root: Path) -> None:
    """Leases may fail, so two may write at one moment (rule 7)."""
    limits = Limits(local_timeout=20)
    async with LocalFileLedger(root, limits) as one, LocalFileLedger(root, limits) as two:
        for first in range(0, 40, 8):
            await asyncio.gather(
                *(
                    (one, two)[number % 2].intend(D, "f", intent(number))
                    for number in range(first, first + 8)
                ),
                one.common(D, "f", f"d{first}", b""),
            )
            there = {intent.seq for intent in (await two.record(D, "f")).intents}
            assert there >= set(range(first, first + 8))


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from notebook_sync.adapters.local_ledger import LocalFileLedger
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Intent
from tests.support.local_life import die_before

root, calls, D = Path(sys.argv[1]), int(sys.argv[2]), DocumentId("d" * 32)

def intent(number):
    return Intent(f"digest{number}", NodeId("here"), Generation("9" * 32), number, 1)

async def live(number, says):
    async with LocalFileLedger(root, Limits()) as ledger:
        while True:
            await ledger.intend(D, "f", intent(number))
            os.write(says, b"i%d\\n" % number)
            await ledger.common(D, "f", str(number), b"x")
            os.write(says, b"c%d\\n" % number)
            number += 1

async def look(said):
    async with LocalFileLedger(root, Limits()) as ledger:
        record = await ledger.record(D, "f")
        answered = {kind: [int(word[1:]) for word in said if word[0] == kind] for kind in "ic"}
        assert int(record.digest or -1) >= max(answered["c"], default=-1), (record, said)
        assert {intent.seq for intent in record.intents} >= set(answered["i"]), (record, said)
        number = max((intent.seq for intent in record.intents), default=-1) + 1
        await ledger.intend(D, "f", intent(number))  # nobody holds a lock
        return number + 1

number = 0
for call in range(1, calls + 1):
    hears, says = os.pipe()
    if os.fork() == 0:
        die_before(call)
        asyncio.run(live(number, says))
    os.close(says)
    with open(hears, "rb") as file:
        said = file.read().decode().split()
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL
    number = asyncio.run(look(said))
print(number)
"""


@pytest.mark.slow
def test_a_kill_before_any_call_leaves_what_was_answered_and_no_lock(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), "60"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'server'}:{PROJECT}"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


async def test_a_disk_that_refuses_says_which_file_and_keeps_what_there_was(
    root: Path, ledger: LocalFileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.common(D, "f", "one", b"base")
    with monkeypatch.context() as patch:

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", full)
        with pytest.raises(LocalDiskFailed, match=f"{root}.*No space left on device: make room"):
            await ledger.common(D, "f", "two", b"base")
        with pytest.raises(LocalDiskFailed):
            await ledger.intend(D, "f", intent(1))
    assert await ledger.record(D, "f") == FileRecord("one", b"base")
    assert not list(root.rglob("*.tmp"))
    await ledger.intend(D, "f", intent(1))


HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_server_that_was_stopped_in_the_middle_holds_others_up_for_a_bounded_time(root: Path) -> None:
    limits = Limits(local_timeout=0.3)
    async with LocalFileLedger(root, limits) as ledger:
        await ledger.common(D, "f", "one", b"base")
        stopped = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLDER, str(root / D), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert stopped.stdout is not None
        await stopped.stdout.readline()
        try:
            with pytest.raises(LocalDiskFailed, match="another server holds it and does not go on"):
                await ledger.common(D, "f", "two", b"base")
            await ledger.common(E, "f", "two", b"base")
            assert (await ledger.record(D, "f")).digest == "one"
        finally:
            stopped.kill()
            await stopped.communicate()
        await ledger.common(D, "f", "two", b"base")
