"""Files below one folder of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from notebook_sync.adapters import atomic_replace
from notebook_sync.adapters.atomic_replace import Replaced, digest_of
from notebook_sync.adapters.moved_files import find_moved
from notebook_sync.adapters.replaced_files import ReplacedFiles
from notebook_sync.core.errors import FileIsDirectory, FileMissing, FileOutsideRoot, FileUnavailable
from notebook_sync.core.limits import Limits
from notebook_sync.ports import FileChanged, FileContent, FileStamp, LateWrite, Written

P = ParamSpec("P")
T = TypeVar("T")

_READ_TRIES = 3
_MOST_BESIDE = 1000
_LABEL_BYTES = 60
_NAME_BYTES = 255


class Signer(Protocol):
    """Jupyter's notebook signatures. Called in threads; must not raise."""

    def is_trusted(self, data: bytes) -> bool:
        """Whether the notebook with this file content was signed by this server's user."""
        ...

    def sign(self, data: bytes) -> None:
        """Sign the notebook with this file content."""
        ...


class LocalFiles:
    """The ``FileStore`` of the folder ``root``. Paths are relative to it, with forward slashes.

    ``async with`` ends the watch over replaced files (rule 16). ``signer`` is asked for files whose name
    ends in ``.ipynb``. ``on_written`` hears, in a thread, of each file that was replaced, its path and
    the inode it had; it must not raise. ``shared`` are folders elsewhere that links below the root may
    lead into; all other links out of it are refused. Blocking work has threads of its own, so that a file
    system that hangs takes none from others.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits,
        signer: Signer | None = None,
        on_written: Callable[[str, int], None] | None = None,
        shared: Iterable[Path] = (),
    ) -> None:
        self._root = os.path.realpath(root)
        self._within = (self._root, *map(os.path.realpath, shared))
        self._root_id = _identity(self._root)
        self._limits = limits
        self._signer = signer
        self._on_written = on_written
        self._late_listener: Callable[[LateWrite], bool] | None = None
        self._threads = ThreadPoolExecutor(limits.file_threads, "files")
        self._replaced = ReplacedFiles(limits, self._late_write)
        self._keeping: set[asyncio.Future[str]] = set()
        self._locks: WeakValueDictionary[str, _Lock] = WeakValueDictionary()
        self._locks_guard = threading.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._replaced.close()
        while self._keeping:
            await asyncio.wait(self._keeping)
        self._threads.shutdown(wait=False)

    @property
    def lingering(self) -> int:
        """How many replaced files are being watched."""
        return len(self._replaced)

    async def read(self, path: str) -> FileContent:
        return await self._in_thread(self._read, path)

    async def stamp(self, path: str) -> FileStamp | None:
        return await self._in_thread(self._stamp, path)

    async def write(
        self, path: str, data: bytes, expected: str, *, trusted: bool = False
    ) -> Written | FileChanged:
        loop = asyncio.get_running_loop()
        return await self._in_thread(self._write, loop, path, data, expected, trusted)

    async def create(self, path: str, data: bytes) -> Written | FileChanged:
        """Make a file that must not exist yet. ``FileMissing`` when its folder does not exist."""
        return await self._in_thread(self._create, path, data)

    async def keep_beside(self, path: str, data: bytes, label: str) -> str:
        """Write ``data`` to a new file beside ``path`` whose name carries ``label``; returns its path. The
        same content is kept once: its path is returned again."""
        return await self._in_thread(self._keep_beside, path, data, label)

    def on_late_write(self, listener: Callable[[LateWrite], bool]) -> None:
        """See ``ports.FileStore``."""
        self._late_listener = listener

    async def moved_to(self, path: str, stamp: FileStamp) -> str | None:
        """See ``ports.FileStore``."""
        return await self._in_thread(find_moved, self._root, path, stamp, self._limits.files_searched)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(work, *args, **kwargs))

    # --- in threads ------------------------------------------------------------------------------

    def _read(self, path: str) -> FileContent:
        with self._errors_of(path):
            return self._content(path, self._target(path))

    def _stamp(self, path: str) -> FileStamp | None:
        try:
            with self._errors_of(path):
                return _stamp_of(os.stat(self._target(path)))
        except FileMissing:
            return None

    def _content(self, path: str, target: str) -> FileContent:
        data, status = _read_steady(path, target)
        trusted = self._signer is not None and target.endswith(".ipynb") and self._signer.is_trusted(data)
        return FileContent(
            data, digest_of(data), _stamp_of(status), not _why_read_only(target, status), trusted
        )

    def _found(self, path: str, target: str) -> FileChanged:
        try:
            with self._errors_of(path):
                return FileChanged(self._content(path, target))
        except FileMissing:
            return FileChanged(None)

    def _write(
        self, loop: asyncio.AbstractEventLoop, path: str, data: bytes, expected: str, trusted: bool
    ) -> Written | FileChanged:
        with self._errors_of(path):
            target = self._target(path)
            with self._lock(target):
                found = self._found(path, target)
                if found.content is None or found.content.digest != expected:
                    return found
                outcome = self._replace(loop, path, target, data, found.content)
        if isinstance(outcome, Written) and trusted and self._signer is not None:
            self._signer.sign(data)
        return outcome

    @contextlib.contextmanager
    def _errors_of(self, path: str) -> Iterator[None]:
        try:
            with _errors_of(path):
                yield
        except FileMissing:
            # A disk that is not mounted any more looks as if everything had been deleted.
            if self._root_id is not None and _identity(self._root) != self._root_id:
                raise FileUnavailable(path, "the server's folder is not there: mount it again") from None
            raise

    def _replace(
        self, loop: asyncio.AbstractEventLoop, path: str, target: str, data: bytes, found: FileContent
    ) -> Written | FileChanged:
        digest = digest_of(data)
        if digest == found.digest:
            return Written(digest, found.stamp)
        if reason := _why_read_only(target, os.stat(target)):
            raise FileUnavailable(path, reason)
        for stray in atomic_replace.leftovers(target):
            self._keep_beside(path, stray, "found")
        try:
            outcome = atomic_replace.replace(target, data, found.digest)
        except FileNotFoundError:
            return FileChanged(None)
        if isinstance(outcome, Replaced):
            # From here, not after the thread: a cancelled caller must not lose the descriptor.
            loop.call_soon_threadsafe(self._replaced.watch, path, outcome.old, found.digest, digest)
            if self._on_written is not None:
                self._on_written(path, found.stamp.inode)
            return Written(digest, _stamp_of(outcome.status))
        for stray in outcome.strays:
            self._keep_beside(path, stray, "found")
        return self._found(path, target)

    def _create(self, path: str, data: bytes) -> Written | FileChanged:
        with self._errors_of(path):
            target = self._target(path)
            with self._lock(target):
                try:
                    return Written(digest_of(data), _stamp_of(atomic_replace.create(target, data)))
                except FileExistsError:
                    return self._found(path, target)

    def _keep_beside(self, path: str, data: bytes, label: str) -> str:
        self._target(path)
        folder, _, name = path.rpartition("/")
        stem, extension = os.path.splitext(name)
        label = _cut(re.sub(r"[^\w.-]+", "-", label), _LABEL_BYTES).strip("-.") or "conflict"
        for number in range(1, _MOST_BESIDE + 1):
            tail = f".conflict-{label}{f'-{number}' if number > 1 else ''}{extension}"
            short = _cut(stem, _NAME_BYTES - len(tail.encode("utf-8")))
            beside = f"{folder}/{short}{tail}" if folder else short + tail
            with self._errors_of(beside):
                target = self._target(beside)
                try:
                    atomic_replace.create(target, data)
                except FileExistsError:
                    if _holds(target, data):
                        return beside
                    continue
            return beside
        raise FileUnavailable(
            path, f"{_MOST_BESIDE} versions labelled {label} lie beside it already: remove some"
        )

    def _target(self, path: str) -> str:
        parts = path.split("/")
        if not path or path.startswith("/") or "\0" in path or ".." in parts:
            raise FileOutsideRoot(path, "is not a path below the server's root")
        try:
            target = os.path.realpath(os.path.join(self._root, *parts))
            os.fsencode(target)
        except UnicodeEncodeError:
            raise FileOutsideRoot(path, "is not a path that this system can name") from None
        if not any(os.path.commonpath([folder, target]) == folder for folder in self._within):
            raise FileOutsideRoot(path, "leads out of the server's root through a link")
        return target

    def _lock(self, target: str) -> _Lock:
        with self._locks_guard:
            lock = self._locks.get(target)
            if lock is None:
                lock = self._locks[target] = _Lock()
            return lock

    # --- late writers ----------------------------------------------------------------------------

    def _late_write(self, late: LateWrite) -> None:
        if self._late_listener is not None and self._late_listener(late):
            return
        loop = asyncio.get_running_loop()
        keeping = loop.run_in_executor(self._threads, self._keep_beside, late.path, late.data, "late-write")
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)


class _Lock:
    """A lock that can be referred to weakly."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@contextlib.contextmanager
def _errors_of(path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileMissing(path, "there is no such file") from None
    except IsADirectoryError:
        raise FileIsDirectory(path, "is a folder") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FileUnavailable(path, "the disk is full: make room, it is saved again then") from None
        raise FileUnavailable(path, error.strerror or str(error)) from None


def _read_steady(path: str, target: str) -> tuple[bytes, os.stat_result]:
    """A file's content and status, read again if another program wrote meanwhile."""
    # Without O_NONBLOCK opening a pipe that nobody writes would hang for ever.
    descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileUnavailable(path, "is not a regular file")
        for _ in range(_READ_TRIES):
            file.seek(0)
            data = file.read()
            before, status = status, os.fstat(descriptor)
            if (before.st_mtime_ns, before.st_size) == (status.st_mtime_ns, status.st_size):
                break
    return data, status


def _cut(text: str, most: int) -> str:
    """As much of a text as fits into ``most`` bytes."""
    return text.encode("utf-8")[:most].decode("utf-8", "ignore")


def _holds(target: str, data: bytes) -> bool:
    try:
        return os.path.getsize(target) == len(data) and atomic_replace.read_file(target) == data
    except OSError:
        return False


def _identity(path: str) -> tuple[int, int] | None:
    """Which folder this is; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _stamp_of(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_mtime_ns, status.st_size, status.st_ino, bool(status.st_mode & 0o222))


def _why_read_only(target: str, status: os.stat_result) -> str | None:
    """Why a file can't be replaced, None if it can. The mode counts for root too, whom nothing else stops."""
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        return "is read-only: allow writing to it"
    folder = os.path.dirname(target)
    if not os.stat(folder).st_mode & 0o222 or not os.access(folder, os.W_OK | os.X_OK):
        return "its folder is read-only: allow writing to it"
    return None
