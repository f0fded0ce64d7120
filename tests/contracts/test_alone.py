"""Being the only server on a state directory."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_sync.adapters.alone import StateDirLock
from notebook_sync.core.errors import ConfigError, LocalDiskFailed
from notebook_sync.core.limits import Limits
from tests.support.local_disks import new_node

PROJECT = Path(__file__).parents[2]
LIMITS = Limits(start_patience=10.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "servers"


def lock(root: Path, limits: Limits = LIMITS) -> StateDirLock:
    return StateDirLock(root, new_node(), limits)


async def test_one_server_is_alone_and_two_are_not(root: Path) -> None:
    async with lock(root) as one:
        async with one.alone() as alone:
            assert alone
            assert one.is_alone()
        assert not one.is_alone()
        async with lock(root) as two:
            for server in (one, two):
                async with server.alone() as alone:
                    assert not alone
                    assert not server.is_alone()
        async with one.alone() as alone:
            assert alone, "the other one left"


async def test_two_that_try_at_one_moment_are_both_not_alone(root: Path) -> None:
    async with lock(root) as one, lock(root) as two:
        for _ in range(50):
            async with one.alone() as first, two.alone() as second:
                assert (first, second) == (False, False)


async def test_who_starts_waits_until_the_other_is_done(root: Path) -> None:
    async with lock(root) as one:
        two = lock(root)
        async with one.alone() as alone:
            assert alone
            starting = asyncio.gather(two.__aenter__())
            await asyncio.wait({starting}, timeout=0.2)
            assert not starting.done()
            async with one.alone() as again:
                assert again, "it is not here yet"
        await starting
        async with one.alone() as alone:
            assert not alone
        await two.__aexit__(None, None, None)


async def test_several_documents_are_written_alone_at_once(root: Path) -> None:
    async with lock(root) as one:
        async with one.alone() as first:
            async with one.alone() as second:
                assert (first, second) == (True, True)
            assert one.is_alone()
            starting = asyncio.gather(
                lock(root, Limits(start_patience=0.1)).__aenter__(), return_exceptions=True
            )
            (outcome,) = await starting
            assert isinstance(outcome, ConfigError), "the first one is not done"
        async with lock(root):
            pass


async def test_an_exception_while_alone_opens_the_gate(root: Path) -> None:
    async with lock(root) as one:
        with pytest.raises(RuntimeError):
            async with one.alone():
                raise RuntimeError
        async with lock(root):
            pass


async def test_files_are_private(root: Path) -> None:
    async with lock(root) as one, one.alone():
        for path in [root, *root.iterdir()]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert [path.name for path in root.iterdir()] == ["gate"]


async def test_a_disk_that_refuses(root: Path) -> None:
    root.write_bytes(b"in the way")
    with pytest.raises(LocalDiskFailed, match=str(root)):
        await lock(root).__aenter__()


OTHER = """
import asyncio, sys
from pathlib import Path
from notebook_sync.adapters.alone import StateDirLock
from notebook_sync.core.ids import NodeId
from notebook_sync.core.limits import Limits

async def main():
    async with StateDirLock(Path(sys.argv[1]), NodeId(sys.argv[2]), Limits()) as lock:
        if sys.argv[3] == "alone":
            async with lock.alone() as alone:
                print(alone, flush=True)
                await asyncio.to_thread(sys.stdin.read)
        else:
            print("here", flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def other(root: Path, how: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER, str(root), new_node(), how,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT / "server",
    )  # fmt: skip
    assert process.stdout is not None
    said = (await process.stdout.readline()).decode().strip()
    assert said == ("True" if how == "alone" else "here")
    return process


async def end(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.communicate()


async def test_a_killed_server_is_gone(root: Path) -> None:
    process = await other(root, "here")
    try:
        async with lock(root) as one:
            async with one.alone() as alone:
                assert not alone
            process.send_signal(signal.SIGSTOP)
            async with one.alone() as alone:
                assert not alone, "a server that was stopped may go on at any moment"
            await end(process)
            async with one.alone() as alone:
                assert alone
    finally:
        if process.returncode is None:
            await end(process)


async def test_a_server_that_was_stopped_while_alone_keeps_others_out_and_is_named(root: Path) -> None:
    process = await other(root, "alone")
    try:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(ConfigError, match="writes files alone here and does not finish"):
            await lock(root, Limits(start_patience=0.2)).__aenter__()
        await end(process)
        async with lock(root) as one, one.alone() as alone:
            assert alone
    finally:
        if process.returncode is None:
            await end(process)
