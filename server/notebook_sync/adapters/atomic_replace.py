"""Replace a file only if its content is the expected one, on disk as one step (rule 16). Blocking.

Comparing first and renaming then leaves a moment in which another program's save is lost. So the new
file and the old one swap names, what came out is hashed, and is swapped back if it is not the
expected content. What a crash leaves behind is a temporary file whose name says what it should hold.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass

from notebook_sync.adapters.exchange import ExchangeUnsupported, exchange

_UNFINISHED_MODE = 0o200
"""A temporary file has this mode until it is whole: no file of a user has it."""
_LEFTOVER_AGE = 60.0
_LONGEST_NAME = 255
_SWAPS = 4
"""How often a swap is tried when others keep writing the same file at the same moment."""
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class Replaced:
    """The new content is in place. ``old`` is an open descriptor of the replaced file, whose name is gone."""

    old: int
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class NotReplaced:
    """Another program wrote the file: its content is back under its name.

    ``strays`` are contents that were written at the same moments and have no name any more.
    """

    strays: tuple[bytes, ...] = ()


def digest_of(data: bytes) -> str:
    """The sha256 of a file's content, in hex."""
    return hashlib.sha256(data).hexdigest()


def replace(target: str, data: bytes, expected: str) -> Replaced | NotReplaced:
    """Give ``target`` the content ``data`` if its content has the sha256 ``expected`` (hex).

    Keeps mode, owner (where allowed) and extended attributes. Raises ``OSError``; then the old file is
    intact and no temporary file is left. ``FileNotFoundError``: the target is gone.
    """
    temporary = _write_temporary(target, data)
    try:
        outcome = _swap_in(temporary, target, digest_of(data), expected)
    except ExchangeUnsupported:
        outcome = _rename_in(temporary, target, expected)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    try:
        sync_folder(os.path.dirname(target))
    except OSError:
        if isinstance(outcome, Replaced):
            os.close(outcome.old)
        raise
    return outcome


def _swap_in(temporary: str, target: str, ours: str, expected: str) -> Replaced | NotReplaced:
    status = os.stat(temporary)
    exchange(temporary, target)
    try:
        old = os.open(temporary, os.O_RDONLY | os.O_NONBLOCK | _NO_FOLLOW)
        try:
            found = _read_descriptor(old)
            if digest_of(found) == expected:
                return Replaced(os.dup(old), status)
        finally:
            os.close(old)
    except OSError:  # a link, a folder or an unreadable file took the name meanwhile: not ours to remove
        exchange(temporary, target)
        raise
    return _put_back(temporary, target, found, ours)


def _put_back(temporary: str, target: str, found: bytes, ours: str) -> NotReplaced:
    """Undo a swap that brought out ``found``, content of another program.

    Should yet another save have come in between, that one comes out now instead of ours: it is the
    newest and goes back, and what was put back meanwhile becomes a stray.
    """
    strays: list[bytes] = []
    for _ in range(_SWAPS):
        try:
            exchange(temporary, target)
        except FileNotFoundError:  # deleted meanwhile: not to be made again, nor its content lost
            break
        came_out = read_file(temporary)
        if digest_of(came_out) == ours:
            return NotReplaced(tuple(strays))
        strays.append(found)
        found, ours = came_out, digest_of(found)
    return NotReplaced((*strays, found))


def _rename_in(temporary: str, target: str, expected: str) -> Replaced | NotReplaced:
    """Without a swap: compare through a descriptor that also keeps the old file for late writers."""
    old = os.open(target, os.O_RDONLY)
    try:
        before = os.fstat(old)
        if digest_of(_read_descriptor(old)) != expected:
            return NotReplaced()
        now = os.stat(target)
        if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
            return NotReplaced()
        status = os.stat(temporary)
        os.replace(temporary, target)
        return Replaced(os.dup(old), status)
    finally:
        os.close(old)


def create(target: str, data: bytes) -> os.stat_result:
    """Make the new file ``target``. Raises ``FileExistsError`` if there is one, or another ``OSError``."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
    except OSError:
        os.unlink(target)
        raise
    sync_folder(os.path.dirname(target))
    return status


def read_file(path: str) -> bytes:
    """A file's content, by a descriptor that follows no link."""
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    try:
        return _read_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _read_descriptor(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def sync_folder(folder: str) -> None:
    """Make names in a folder durable, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


# --- temporary files -----------------------------------------------------------------------------


def _write_temporary(target: str, data: bytes) -> str:
    original = os.stat(target)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, _temporary_name(name, digest_of(data)))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, _UNFINISHED_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _copy_attributes(target, original, file.fileno())
            os.fsync(file.fileno())
    except OSError:
        os.unlink(temporary)
        raise
    return temporary


def _temporary_name(name: str, digest: str) -> str:
    tail = f".{digest[:16]}{secrets.token_hex(4)}.tmp"
    return _temporary_prefix(name) + tail[1:]


def _temporary_prefix(name: str) -> str:
    prefix = f".~{name}."
    if len(os.fsencode(prefix)) + 28 > _LONGEST_NAME:
        prefix = f".~{digest_of(os.fsencode(name))[:32]}."
    return prefix


def _copy_attributes(target: str, original: os.stat_result, descriptor: int) -> None:
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (original.st_uid, original.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, -1, original.st_gid)
            os.fchown(descriptor, original.st_uid, -1)
    if hasattr(os, "listxattr"):
        for attribute in os.listxattr(target):
            with contextlib.suppress(OSError):  # some are the system's own; access lists are a courtesy
                os.setxattr(descriptor, attribute, os.getxattr(target, attribute))
    os.fchmod(descriptor, stat.S_IMODE(original.st_mode))


def leftovers(target: str) -> list[bytes]:
    """Remove what a writer of ``target`` that died more than a minute ago left behind.

    Returns the contents among it that another program wrote: the writer died after swapping
    them out and before looking at them.
    """
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(_temporary_prefix(name)) + r"([0-9a-f]{16})[0-9a-f]{8}\.tmp")
    strays = []
    for entry in os.listdir(folder):
        match = pattern.fullmatch(entry)
        if match is None:
            continue
        path = os.path.join(folder, entry)
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or time.time() - status.st_ctime < _LEFTOVER_AGE:
                continue
            if stat.S_IMODE(status.st_mode) != _UNFINISHED_MODE:
                content = read_file(path)
                if not digest_of(content).startswith(match[1]):
                    strays.append(content)
            os.unlink(path)
    return strays
