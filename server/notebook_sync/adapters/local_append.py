"""The journal of one server for one document: files that are appended to, sealed, and given up. Blocking."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from notebook_sync.adapters.atomic_replace import sync_folder
from notebook_sync.adapters.local_disk import append_to, flush, new_file, remove, write_all
from notebook_sync.adapters.local_journal import JOURNAL_MAGIC, encode_record

SNAPSHOT = ".snapshot"
JOURNAL = ".journal"


@dataclass(slots=True)
class JournalFile:
    """One journal file: its highest position and its bytes that are flushed, and whether the document was
    opened anew since (its positions begin again then)."""

    path: Path
    last: int = 0
    size: int = 0
    earlier: bool = False


@dataclass(slots=True)
class OwnJournal:
    """The journal files of one server in one document's folder. All are sealed, that is never written again,
    but the newest one until it is sealed too; it has a descriptor while it is not suspended."""

    folder: Path
    node: str
    files: list[JournalFile] = field(default_factory=list)
    _sealed: bool = True
    _descriptor: int | None = None
    _number: int = 0
    _written: int = 0
    """Bytes in the open file, flushed or not."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def sealed(self) -> list[JournalFile]:
        return self.files if self._sealed else self.files[:-1]

    def write(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Write, not flush. Raises ``OSError``; then what was written of it is undone."""
        begins_again = self.files and records[0][0] <= self.files[-1].last
        if begins_again:
            self.seal()
            for file in self.files:
                file.earlier = True
        try:
            data = [encode_record(*record) for record in records]
            if self._sealed:
                self._open()
                data.insert(0, JOURNAL_MAGIC)
            elif self._descriptor is None:
                self._resume()
            assert self._descriptor is not None
            joined = b"".join(data)
            write_all(self._descriptor, joined)
            self._written += len(joined)
        except OSError:
            self.undo()
            raise

    def _open(self) -> None:
        if not (self.folder / (self.node + SNAPSHOT)).exists():
            # Updates without the content that they build on could not be shown to anybody.
            raise FileNotFoundError(errno.ENOENT, "nothing is kept of this document yet", str(self.folder))
        self._number += 1
        path = self.folder / f"{self.node}.{self._number}{JOURNAL}"
        self._descriptor = new_file(path, append=True)
        self._sealed, self._written = False, 0
        self.files.append(JournalFile(path))

    def _resume(self) -> None:
        file = self.files[-1]
        self._descriptor = append_to(file.path)
        self._written = file.size

    def flush(self, last: int) -> None:
        """Make what was written durable; ``last`` is its highest position. Raises ``OSError``; then what
        was not durable yet is undone."""
        file = self.files[-1]
        assert self._descriptor is not None
        try:
            flush(self._descriptor)
            if file.size == 0:
                sync_folder(str(self.folder))
            if os.fstat(self._descriptor).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "the document was forgotten meanwhile", str(file.path))
        except OSError:
            self.undo()
            raise
        file.size, file.last = self._written, max(file.last, last)

    def undo(self) -> None:
        """Cut off what is not durable, and write no more to this file: after a failed flush nobody knows
        what the system still has of it."""
        if self._sealed:
            return
        file = self.files[-1]
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, file.size)
        if file.size == 0:
            self.files.pop()
            with contextlib.suppress(OSError):
                remove(file.path)
        self.seal()

    def seal(self) -> None:
        self.suspend()
        self._sealed = True

    def suspend(self) -> None:
        """Need no descriptor until the next record."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):  # what counts was flushed before
                os.close(descriptor)
