"""The memory twin of the file store, with faults to switch on and an outside editor to play."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from notebook_sync.core.errors import FileIsDirectory, FileMissing, FileOutsideRoot, FileUnavailable
from notebook_sync.ports import FileChanged, FileContent, FileStamp, LateWrite, Written


@dataclass(slots=True)
class _File:
    data: bytes
    stamp: FileStamp


@dataclass(slots=True)
class MemoryFiles:
    """The ``FileStore`` in memory. All starts empty; the root folder always exists.

    Faults: ``fail_writes`` is the reason why each write fails; ``disk_full`` fails them as a full disk
    does; ``pause`` is awaited at the start of each call (to be slow, or to let another writer in);
    ``before_write`` is called inside a write, after its first look at the file, as an outside editor is.
    """

    fail_writes: str | None = None
    disk_full: bool = False
    pause: Callable[[], Awaitable[None]] | None = None
    before_write: Callable[[], None] | None = None
    read_only: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    signed: set[bytes] = field(default_factory=set)
    writes: int = 0
    """How many writes changed a file: touching nothing must write nothing (F21)."""
    _late_listener: Callable[[LateWrite], bool] | None = None
    _files: dict[str, _File] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # --- the outside world -----------------------------------------------------------------------

    def external_write(self, path: str, data: bytes) -> None:
        """Another program writes a file; its folders are made."""
        path = _checked(path)
        for depth in range(1, len(path.split("/"))):
            self.folders.add("/".join(path.split("/")[:depth]))
        self._put(path, data)

    def external_write_in_place(self, path: str, data: bytes) -> None:
        """Another program writes into a file; its inode stays."""
        self._put(path, data, self._files[path].stamp.inode)

    def external_touch(self, path: str) -> None:
        """Another program gives a file a new time and leaves its content."""
        self._put(path, self._files[path].data, self._files[path].stamp.inode)

    def external_late_write(self, path: str, data: bytes, replaced: bytes) -> None:
        """Another program writes ``data`` into the file that held ``replaced`` when it was replaced."""
        late = LateWrite(path, data, _digest(replaced))
        if self._late_listener is None or not self._late_listener(late):
            self._put(f"{path}.late", data)

    def external_delete(self, path: str) -> None:
        del self._files[path]

    def external_rename(self, old: str, new: str) -> None:
        self._files[new] = self._files.pop(old)

    def content(self, path: str) -> bytes:
        """What the file holds. Raises ``KeyError``."""
        return self._files[path].data

    def paths(self) -> list[str]:
        return sorted(self._files)

    # --- the port --------------------------------------------------------------------------------

    async def read(self, path: str) -> FileContent:
        await self._pause()
        return self._content(self._existing(_checked(path)))

    async def stamp(self, path: str) -> FileStamp | None:
        await self._pause()
        path = _checked(path)
        if path not in self._files and path in self.folders:
            return FileStamp(0, 0, 0)
        return self._stamp(path) if path in self._files else None

    async def write(
        self, path: str, data: bytes, expected: str, *, trusted: bool = False
    ) -> Written | FileChanged:
        await self._pause()
        path = _checked(path)
        if path in self.folders:
            raise FileIsDirectory(path, "is a folder")
        found = self._found(path)
        if found.content is None or found.content.digest != expected:
            return found
        if found.content.data != data:
            self._may_write(path)
            if self.before_write is not None:
                self.before_write()
                found = self._found(path)
                if found.content is None or found.content.digest != expected:
                    return found
            self._put(path, data)
            self.writes += 1
        if trusted:
            self.signed.add(data)
        return Written(_digest(data), self._stamp(path))

    async def create(self, path: str, data: bytes) -> Written | FileChanged:
        """Make a file that must not exist yet. ``FileMissing`` when its folder does not exist."""
        await self._pause()
        path = _checked(path)
        folder = path.rpartition("/")[0]
        if folder and folder not in self.folders:
            raise FileMissing(path, "there is no such file")
        if path in self.folders:
            raise FileIsDirectory(path, "is a folder")
        if path in self._files:
            return self._found(path)
        self._may_write(path)
        self._put(path, data)
        self.writes += 1
        return Written(_digest(data), self._files[path].stamp)

    def on_late_write(self, listener: Callable[[LateWrite], bool]) -> None:
        """See ``ports.FileStore``."""
        self._late_listener = listener

    async def moved_to(self, path: str, stamp: FileStamp) -> str | None:
        """See ``ports.FileStore``."""
        await self._pause()
        places = (name for name in self._files if self._stamp(name) == stamp)
        return next((name for name in places if name != path), None)

    # --- inside ----------------------------------------------------------------------------------

    async def _pause(self) -> None:
        if self.pause is not None:
            await self.pause()

    def _put(self, path: str, data: bytes, inode: int | None = None) -> None:
        number = next(self._numbers)
        self._files[path] = _File(data, FileStamp(number, len(data), number if inode is None else inode))

    def _existing(self, path: str) -> str:
        if path in self.folders:
            raise FileIsDirectory(path, "is a folder")
        if path not in self._files:
            raise FileMissing(path, "there is no such file")
        return path

    def _content(self, path: str) -> FileContent:
        file = self._files[path]
        trusted = file.data in self.signed
        writable = path not in self.read_only
        return FileContent(file.data, _digest(file.data), self._stamp(path), writable, trusted)

    def _stamp(self, path: str) -> FileStamp:
        return replace(self._files[path].stamp, writable=path not in self.read_only)

    def _found(self, path: str) -> FileChanged:
        return FileChanged(self._content(path) if path in self._files else None)

    def _may_write(self, path: str) -> None:
        if self.fail_writes is not None:
            raise FileUnavailable(path, self.fail_writes)
        if self.disk_full:
            raise FileUnavailable(path, "the disk is full: make room, it is saved again then")
        if path in self.read_only:
            raise FileUnavailable(path, "is read-only: allow writing to it")


def _checked(path: str) -> str:
    if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise FileOutsideRoot(path, "is not a path below the server's root")
    return path


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
