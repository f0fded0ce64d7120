"""The embedded Valkey: one for a state directory, adopted, restarted, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.redis_connection import connect, run
from notebook_sync.adapters.valkey_process import Ending, Health, ValkeyProcess
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits
from notebook_sync.engine.supervisor import Supervisor
from tests.support.waiting import each, wait_until

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


@contextlib.contextmanager
def another_user(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the same instance; ended by SIGKILL at the latest."""
    process = other_user(state)
    try:
        yield process
    finally:
        end(process)


def servers(state: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ends while it is looked at
            ours = process.name().startswith("valkey-server") and process.cwd() == str(state / "valkey")
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


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


def heir() -> subprocess.Popen[bytes]:
    """A program that keeps whatever it may inherit."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)


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
    await wait_until(lambda: not servers(state))


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


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_it_is_gone_within_a_second_of_its_last_user(state: Path, how: signal.Signals) -> None:
    with another_user(state), another_user(state) as second:
        pass
    assert second.returncode is not None
    third = other_user(state)
    assert servers(state)
    end(third, how)
    ended = time.monotonic()
    await wait_until(lambda: not servers(state), within=5.0)
    assert time.monotonic() - ended < 1.0


async def test_of_many_that_start_at_once_one_starts_it(state: Path) -> None:
    with contextlib.ExitStack() as stack:
        embedded = [EmbeddedValkey(state, LIMITS) for _ in range(5)]
        others = [asyncio.to_thread(lambda: stack.enter_context(another_user(state))) for _ in range(3)]
        await asyncio.gather(*(user.__aenter__() for user in embedded), *others)
        assert len(servers(state)) == 1
        await write(embedded[0].url, "one")
        assert {await read(user.url) for user in embedded} == {"one"}
        for user in embedded:
            await user.__aexit__(None, None, None)
    await wait_until(lambda: not servers(state))


async def anything() -> None:
    """Time passes."""


@pytest.mark.parametrize("delay", [-0.05, -0.01, -0.002, 0.0, 0.005, 0.01, 0.02, 0.04, 0.08])
async def test_nobody_goes_on_with_one_that_is_about_to_end(state: Path, delay: float) -> None:
    """A new user comes so many seconds after the last one died: adopted or started anew, it stays."""
    last = other_user(state)
    embedded = EmbeddedValkey(state, LIMITS)
    if delay < 0:
        death = threading.Timer(-delay, last.kill)
        death.start()
        await embedded.__aenter__()
        death.join()
        end(last)
    else:
        end(last)
        await each(0.002, delay, anything)
        await embedded.__aenter__()
    redis = await connect(embedded.url, LIMITS)
    # Longer than the watcher and the server take to end (0.2 s), on one connection: it must not be cut.

    async def use() -> None:
        assert await redis.set("key", "value")

    await each(0.01, 0.5, use)
    await redis.aclose()
    await embedded.__aexit__(None, None, None)
    await wait_until(lambda: not servers(state))


async def test_programs_that_a_user_starts_do_not_keep_it(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS):
        kernel = heir()
    await wait_until(lambda: not servers(state), within=5.0)
    assert kernel.poll() is None
    kernel.communicate(b"\n")


async def test_it_inherits_no_secret(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    async with EmbeddedValkey(state, LIMITS):
        (server,) = servers(state)
        assert "JUPYTER_TOKEN" not in server.environ()
    await wait_until(lambda: not servers(state))


async def test_a_cut_append_only_file_costs_its_last_entry_only(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        await write(embedded.url, "first")
        await write(embedded.url, "second")
    await wait_until(lambda: not servers(state))
    (log,) = (state / "valkey" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes()[:-5])
    async with EmbeddedValkey(state, LIMITS) as embedded:
        assert await read(embedded.url) == "first"
    await wait_until(lambda: not servers(state))


async def test_a_damaged_manifest_is_set_aside(state: Path) -> None:
    async with EmbeddedValkey(state, LIMITS) as embedded:
        await write(embedded.url, "kept in the old files")
    await wait_until(lambda: not servers(state))
    (manifest,) = (state / "valkey" / "appendonlydir").glob("*.manifest")
    manifest.write_text("this is no manifest\n")
    async with EmbeddedValkey(state, LIMITS) as embedded:
        assert await read(embedded.url) is None
    assert list((state / "valkey").glob("appendonlydir.damaged-*"))
    await wait_until(lambda: not servers(state))


def test_a_full_disk_is_no_damage(state: Path) -> None:
    process = ValkeyProcess(state / "valkey")
    process.prepare()
    (state / "valkey" / "appendonlydir").mkdir()
    (state / "valkey" / "valkey.log").write_text("Can't open the append-only file: No space left on device\n")
    assert process.ending(may_set_aside=True) is Ending.OTHERWISE
    assert (state / "valkey" / "appendonlydir").is_dir()
    assert "No space left" in process.last_words()


def test_one_that_reads_its_files_is_alive(state: Path) -> None:
    process = ValkeyProcess(state / "valkey")
    process.prepare()
    assert process.health() is Health.SILENT
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(process.socket))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(16)
                connection.sendall(b"-LOADING the dataset\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert process.health() is Health.LOADING
        thread.join()


async def test_a_state_directory_that_cannot_be_used_is_refused(state: Path) -> None:
    (state / "valkey").write_text("a file is in the way")
    with pytest.raises(ConfigError, match="choose another state_dir"):
        await EmbeddedValkey(state, LIMITS).__aenter__()
