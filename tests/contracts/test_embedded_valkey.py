"""The embedded Valkey: one for a state directory, adopted, restarted, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.redis_connection import connect, run
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits
from notebook_sync.engine.supervisor import Supervisor
from tests.support.waiting import wait_until

LIMITS = Limits()
USER = """
import asyncio, sys
from pathlib import Path
from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.core.limits import Limits
async def main():
    async with EmbeddedValkey(Path(sys.argv[1]), Limits()):
        print("in", flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """A short path, since a unix socket lies below it."""
    path = Path(tempfile.mkdtemp(prefix="v"))
    yield path
    shutil.rmtree(path)


def servers(state: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            name = process.name()
            if name.startswith("valkey-server") and process.cwd() == str(state / "valkey"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


def other_user(state: Path) -> subprocess.Popen[str]:
    """Another process that uses the same instance."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(how)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


async def write(url: str, value: str) -> None:
    redis = await connect(url, LIMITS)
    await redis.set("key", value)
    await redis.aclose()


async def read(url: str) -> str | None:
    redis = await connect(url, LIMITS)
    value = await run(redis, "GET", "key")
    await redis.aclose()
    return None if value is None else str(value, "utf-8")


async def test_only_its_user_can_reach_it_and_only_by_its_socket(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        path = Path(embedded.url.removeprefix("unix://"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / "valkey").stat().st_mode) == 0o700
        (server,) = servers(state)
        assert [c for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN] == []
    await wait_until(lambda: not servers(state))


async def test_what_was_written_is_there_the_next_time(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        await write(embedded.url, "kept")
    await wait_until(lambda: not servers(state))
    async with EmbeddedValkey(state, LIMITS) as embedded:
        assert await read(embedded.url) == "kept"


async def test_a_second_process_adopts_it_and_it_lives_until_the_last_is_gone(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        (server,) = servers(state)
        other = other_user(state)
        assert [s.pid for s in servers(state)] == [server.pid]
        await write(embedded.url, "shared")
    assert [s.pid for s in servers(state)] == [server.pid]
    end(other)
    await wait_until(lambda: not servers(state), within=5.0)


async def test_it_outlives_whoever_started_it(state: Path) -> None:
    starter = other_user(state)
    async with EmbeddedValkey(state, LIMITS) as embedded:
        await write(embedded.url, "adopted")
        end(starter)
        assert len(servers(state)) == 1
        assert await read(embedded.url) == "adopted"
    await wait_until(lambda: not servers(state))


async def test_killed_it_is_back_with_everything_acknowledged(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded, Supervisor() as supervisor:
        supervisor.spawn(embedded.watch(), "watch")
        await write(embedded.url, "acknowledged")
        (server,) = servers(state)
        server.kill()
        await wait_until(lambda: [s for s in servers(state) if s.pid != server.pid])
        redis = None
        while redis is None:
            try:
                redis = await connect(embedded.url, LIMITS)
            except ConfigError:
                await wait_until(lambda: servers(state))
        assert await redis.get("key") == b"acknowledged"
        await redis.aclose()
    await wait_until(lambda: not servers(state))


async def test_a_damaged_append_only_file_is_set_aside_and_named(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        for number in range(50):
            await write(embedded.url, f"value {number}")
    await wait_until(lambda: not servers(state))
    (log,) = (state / "valkey" / "appendonlydir").glob("*.incr.aof")
    content = bytearray(log.read_bytes())
    middle = content.index(b"value 25") - 20
    content[middle : middle + 40] = b"\xff" * 40
    log.write_bytes(content)
    async with EmbeddedValkey(state, LIMITS) as embedded:
        assert await read(embedded.url) is None
    (aside,) = (state / "valkey").glob("appendonlydir.damaged-*")
    assert str(aside) in caplog.text


async def test_a_state_directory_of_another_host_is_refused_with_its_name(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EmbeddedValkey(state, LIMITS):
        (server,) = servers(state)
        server.suspend()
        monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
        here = (state / "valkey" / "lock").read_text().strip()
        impatient = Limits(embedded_start=0.3)
        with pytest.raises(ConfigError, match=here):
            async with EmbeddedValkey(state, impatient):
                pass
        server.resume()


async def test_a_long_path_gets_a_short_private_folder_for_its_socket(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state))
    deep = state / ("d" * 60) / ("e" * 60)
    async with EmbeddedValkey(deep, LIMITS) as embedded:
        path = Path(embedded.url.removeprefix("unix://"))
        assert len(str(path)) <= 100
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await write(embedded.url, "deep")
    await wait_until(lambda: not servers(deep))
