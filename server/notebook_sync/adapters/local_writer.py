"""One thread that appends to the journals of all documents of a server, in turns.

Whatever waits when the thread is free makes one turn: each journal is written once, then each is flushed,
then everybody who waited hears of it. A file that refuses is its own document's trouble only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from notebook_sync.adapters.atomic_replace import sync_folder
from notebook_sync.adapters.local_disk import flush, new_file, remove, sentence, write_all
from notebook_sync.adapters.local_journal import JOURNAL_MAGIC, LONGEST_UPDATE, encode_record
from notebook_sync.core.errors import InvariantBroken, LocalDiskFailed

log = logging.getLogger(__name__)

T = TypeVar("T")
SNAPSHOT = ".snapshot"
JOURNAL = ".journal"


@dataclass(slots=True)
class _File:
    """One journal file: its highest position and its bytes that are flushed, and whether the document was
    opened anew since (its positions begin again then)."""

    path: Path
    last: int = 0
    size: int = 0
    earlier: bool = False


@dataclass(slots=True)
class _Journal:
    """The journal files of one server in one document's folder. The newest one is open while there is a
    descriptor; those before it are sealed: never written again."""

    folder: Path
    node: str
    files: list[_File] = field(default_factory=list)
    _descriptor: int | None = None
    _number: int = 0
    _written: int = 0
    """Bytes in the open file, flushed or not."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def sealed(self) -> list[_File]:
        return self.files if self._descriptor is None else self.files[:-1]

    def write(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Write, not flush. Raises ``OSError``; then what was written of it is undone."""
        begins_again = self.files and records[0][0] <= self.files[-1].last
        if begins_again:
            self.seal()
            for file in self.files:
                file.earlier = True
        try:
            data = [encode_record(*record) for record in records]
            if self._descriptor is None:
                self._open()
                data.insert(0, JOURNAL_MAGIC)
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
            raise FileNotFoundError(2, "nothing is kept of this document yet", str(self.folder))
        self._number += 1
        path = self.folder / f"{self.node}.{self._number}{JOURNAL}"
        self._descriptor = new_file(path, append=True)
        self._written = 0
        self.files.append(_File(path))

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
                raise FileNotFoundError(2, "the document was forgotten meanwhile", str(file.path))
        except OSError:
            self.undo()
            raise
        file.size, file.last = self._written, max(file.last, last)

    def undo(self) -> None:
        """Cut off what is not durable, and write no more to this file: after a failed flush nobody knows
        what the system still has of it."""
        if self._descriptor is None:
            return
        file = self.files[-1]
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, file.size)
        if file.size == 0:
            self.files.pop()
            with contextlib.suppress(OSError):
                remove(file.path)
        self.seal()

    def seal(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with contextlib.suppress(OSError):  # what counts was flushed before
                os.close(descriptor)


@dataclass(slots=True)
class _Append:
    folder: Path
    records: Sequence[tuple[int, bytes]]
    size: int
    done: Future[None] = field(default_factory=Future)


class JournalWriter:
    """``start`` begins the thread; ``stop`` ends it when everything that waits is written.

    ``node`` begins the names of its files; ``queue_bytes`` bounds what may wait.
    """

    def __init__(self, node: str, queue_bytes: int) -> None:
        self._node = node
        self._queue_bytes = queue_bytes
        self._queue: queue.SimpleQueue[_Append | Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._journals: dict[Path, _Journal] = {}
        self._thread: threading.Thread | None = None
        self.turns = 0

    # --- from any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        # A daemon: a disk that never answers must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="local-journal", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End, after what waits; blocks for at most ``timeout`` seconds."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                log.warning("this server's own disk does not answer: what waits for it is not stored there")

    def append(self, folder: Path, records: Sequence[tuple[int, bytes]]) -> Future[None]:
        """Append (position, update) records to the journal in ``folder``; resolved when they are flushed.

        Raises ``LocalDiskFailed``, at once when too much waits, else by the future; ``InvariantBroken``
        when a position is negative or an update does not fit into a record.
        """
        for position, update in records:
            if position < 0 or len(update) > LONGEST_UPDATE:
                raise InvariantBroken(f"a journal can't hold {len(update)} bytes at position {position}")
        command = _Append(folder, records, sum(len(update) for _, update in records))
        with self._lock:
            if self._waiting_bytes and self._waiting_bytes + command.size > self._queue_bytes:
                raise LocalDiskFailed(f"{folder}: the disk does not keep up with what is typed")
            self._waiting_bytes += command.size
        self._queue.put(command)
        return command.done

    def seal(self, folder: Path) -> Future[None]:
        """The next record goes to a new file."""
        return self._ask(lambda: self._journal(folder).seal())

    def take_covered(self, folder: Path, upto: int, returned: Collection[Path]) -> Future[list[Path]]:
        """The sealed files that a snapshot makes superfluous; from now on they don't count.

        Those are the ones with positions up to ``upto``, and of an earlier opening of the document those
        in ``returned``: whose content was read when it was opened anew.
        """
        return self._ask(lambda: self._take_covered(folder, upto, returned))

    def drop(self, folder: Path) -> Future[None]:
        """Close and forget the journal in ``folder``; its files are the caller's to remove."""
        return self._ask(lambda: self._drop(folder))

    def _ask(self, work: Callable[[], T]) -> Future[T]:
        done: Future[T] = Future()
        self._queue.put(lambda: done.set_result(work()))
        return done

    def size(self, folder: Path) -> int:
        """Bytes in this server's journal in ``folder``."""
        journal = self._journals.get(folder)
        return 0 if journal is None else journal.size

    # --- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        running = True
        while running:
            commands = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    commands.append(self._queue.get_nowait())
            appends: list[_Append] = []
            for command in commands:
                if isinstance(command, _Append):
                    appends.append(command)
                    continue
                self._turn(appends)
                appends = []
                if command is None:
                    running = False
                else:
                    command()
            self._turn(appends)
        for journal in self._journals.values():
            journal.seal()

    def _turn(self, appends: list[_Append]) -> None:
        """Write each journal, flush each, answer all."""
        groups: dict[Path, list[_Append]] = {}
        for command in appends:
            groups.setdefault(command.folder, []).append(command)
        self.turns += bool(groups)
        written = [folder for folder, group in groups.items() if self._write(folder, group)]
        for folder in written:
            self._flush(folder, groups[folder])
        with self._lock:
            self._waiting_bytes -= sum(command.size for command in appends)

    def _write(self, folder: Path, group: list[_Append]) -> bool:
        try:
            self._journal(folder).write([record for command in group for record in command.records])
        except OSError as error:
            _refuse(group, error, folder)
            return False
        return True

    def _flush(self, folder: Path, group: list[_Append]) -> None:
        last = max(position for command in group for position, _ in command.records)
        try:
            self._journal(folder).flush(last)
        except OSError as error:
            _refuse(group, error, folder)
            return
        for command in group:
            _answer(command.done, None)

    def _journal(self, folder: Path) -> _Journal:
        journal = self._journals.get(folder)
        if journal is None:
            journal = self._journals[folder] = _Journal(folder, self._node)
        return journal

    def _take_covered(self, folder: Path, upto: int, returned: Collection[Path]) -> list[Path]:
        journal = self._journal(folder)
        covered = [
            file for file in journal.sealed() if file.last <= upto or (file.earlier and file.path in returned)
        ]
        journal.files = [file for file in journal.files if file not in covered]
        return [file.path for file in covered]

    def _drop(self, folder: Path) -> None:
        journal = self._journals.pop(folder, None)
        if journal is not None:
            journal.seal()


def _refuse(group: list[_Append], error: OSError, folder: Path) -> None:
    for command in group:
        _answer(command.done, LocalDiskFailed(sentence(error, folder)))


def _answer(done: Future[None], failure: Exception | None) -> None:
    """Resolve, if nobody stopped waiting."""
    if done.set_running_or_notify_cancel():
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
