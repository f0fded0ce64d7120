"""One thread that appends to the journals of all documents of a server, in turns.

Whatever waits when the thread is free makes one turn: each journal is written once, then each is flushed,
then everybody who waited hears of it. A file that refuses is its own document's trouble only.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from notebook_sync.adapters.local_append import OwnJournal
from notebook_sync.adapters.local_disk import sentence
from notebook_sync.adapters.local_journal import LONGEST_UPDATE
from notebook_sync.core.errors import InvariantBroken, LocalDiskFailed

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Append:
    folder: Path
    records: Sequence[tuple[int, bytes]]
    size: int
    done: Future[None] = field(default_factory=Future)


class JournalWriter:
    """``start`` begins the thread; ``stop`` ends it when everything that waits is written.

    ``node`` begins the names of its files; ``queue_bytes`` bounds what may wait, ``most_open`` the files
    that are held open between turns.
    """

    def __init__(self, node: str, queue_bytes: int, most_open: int) -> None:
        self._node = node
        self._most_open = most_open
        self._used: OrderedDict[Path, None] = OrderedDict()
        self._queue_bytes = queue_bytes
        self._queue: queue.SimpleQueue[_Append | Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._journals: dict[Path, OwnJournal] = {}
        self._thread: threading.Thread | None = None

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
        written = [folder for folder, group in groups.items() if self._write(folder, group)]
        for folder in written:
            self._flush(folder, groups[folder])
        self._close_some(groups)
        with self._lock:
            self._waiting_bytes -= sum(command.size for command in appends)

    def _close_some(self, used: Iterable[Path]) -> None:
        """A document that nobody types in needs no descriptor, and a process has only so many."""
        for folder in used:
            self._used[folder] = None
            self._used.move_to_end(folder)
        while len(self._used) > self._most_open:
            folder, _ = self._used.popitem(last=False)
            if folder in self._journals:
                self._journals[folder].suspend()

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

    def _journal(self, folder: Path) -> OwnJournal:
        journal = self._journals.get(folder)
        if journal is None:
            journal = self._journals[folder] = OwnJournal(folder, self._node)
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
