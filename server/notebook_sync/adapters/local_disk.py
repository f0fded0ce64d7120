"""Small files on this server's own disk that survive a crash at any moment. Blocking.

Several servers may share a folder here. Each holds a lock on a file of its own for as long as it lives,
so that the others can tell whose files will never change again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from notebook_sync.adapters.atomic_replace import sync_folder
from notebook_sync.core.errors import InvariantBroken, LocalDiskFailed
from notebook_sync.core.ids import NodeId

LOCK = ".server"
TEMPORARY = ".tmp"
_PRIVATE = 0o600
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_WRITE_CHUNK = 4 * 1024 * 1024
"""So much of a big file is written before it is flushed, so that small files of other threads, whose
flush may have to wait for it, wait for one chunk and not for all."""


@contextlib.contextmanager
def disk_trouble(path: Path) -> Iterator[None]:
    """Turns ``OSError`` into ``LocalDiskFailed`` with a sentence about ``path`` (or the file it names)."""
    try:
        yield
    except OSError as error:
        raise LocalDiskFailed(sentence(error, path)) from error


def sentence(error: OSError, path: Path) -> str:
    """What failed, where, and what to do about it."""
    advice = ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = ": make room, then it goes on by itself"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        advice = ": let this server's user write there"
    return f"{error.filename or path}: {error.strerror or error}{advice}"


def checked(name: str) -> str:
    """``name`` if it can be part of a file name. Raises ``InvariantBroken``: ids are made by us."""
    if not _NAME.fullmatch(name):
        raise InvariantBroken(f"{name!r} is used in a file name and may have letters, digits, - and _ only")
    return name


def make_folder(path: Path) -> None:
    """Make a private folder (0700), durably, its parents too. One that is there is made private."""
    if not path.is_dir():
        if not path.parent.is_dir():
            make_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        sync_folder(str(path.parent))
    if path.stat().st_mode & 0o777 != 0o700:
        path.chmod(0o700)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """``os.write`` until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def flush(descriptor: int) -> None:
    """Content and length are on the disk when this returns."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def new_file(path: Path, *, append: bool = False) -> int:
    """A descriptor of a new private file (0600) for writing. Raises ``FileExistsError``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | (os.O_APPEND if append else 0)
    return os.open(path, flags, _PRIVATE)


def append_to(path: Path) -> int:
    """A descriptor for appending to a file that is there."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | _NO_FOLLOW)


def write_durably(path: Path, parts: Iterable[bytes], writer: str = "") -> None:
    """Replace the private file ``path`` (0600) in one step: after a crash it is the old or the new one.

    ``writer`` is part of the temporary file's name, for a file that several servers may write.
    Raises ``OSError``; then the old file is intact.
    """
    temporary = path.with_name(path.name + writer + TEMPORARY)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = new_file(temporary)
    try:
        try:
            for part in parts:
                _write_in_chunks(descriptor, part)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(str(path.parent))


def _write_in_chunks(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        chunk, view = view[:_WRITE_CHUNK], view[_WRITE_CHUNK:]
        write_all(descriptor, chunk)
        if view:
            flush(descriptor)


def read_file(path: Path) -> bytes:
    """The whole content, following no link. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def remove(path: Path) -> None:
    """Remove a file; one that is gone is no trouble."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


# --- who lives ------------------------------------------------------------------------------------


def hold_lock(folder: Path, node: NodeId) -> int:
    """Show others that ``node`` lives, for as long as the returned descriptor is open and this process
    lives. Node ids are never used again, so a lock that could be had once can be had for ever."""
    path = folder / (checked(node) + LOCK)
    temporary = path.with_name(path.name + TEMPORARY)
    remove(temporary)
    descriptor = new_file(temporary)
    try:
        # Locked before it has its name: nobody can find it unlocked, and take its owner for dead.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.replace(temporary, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def has_ended(folder: Path, node: str) -> bool:
    """Whether the server ``node`` has ended, so that its files never change again."""
    path = folder / (node + LOCK)
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_ended_locks(folder: Path) -> None:
    """Remove the lock files of servers that were killed: no lock file means ended as well."""
    for path in folder.glob("*" + LOCK):
        if has_ended(folder, path.name.removesuffix(LOCK)):
            remove(path)
