"""A snapshot and a journal of each document on this server's own disk (rules 8, 9, 15, 19 and 27).

::

    <directory>/<node>.server                          locked while that server lives
    <directory>/<document>.<lineage>/<node>.snapshot   replaced as a whole
    <directory>/<document>.<lineage>/<node>.1.journal  appended to; then .2.journal, …
    <directory>/<document>.<lineage>/<node>.name       the document's path, if it changed since

Each server (a run of a process) writes its own files only, and reads those of all. When a snapshot is asked
for, the journal is sealed and the next record begins a new file; when the snapshot is in place, sealed files
that it covers go. So nothing is ever rewritten, and at each moment snapshot and journals together have
everything that was acknowledged.

Three threads, so that nobody waits for what is not his: the journals' writer, one for snapshots and names,
one for reading. This module is the face of them on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from notebook_sync.adapters.atomic_replace import sync_folder
from notebook_sync.adapters.local_append import SNAPSHOT
from notebook_sync.adapters.local_disk import (
    LOCK,
    checked,
    disk_trouble,
    hold_lock,
    make_folder,
    remove,
    remove_ended_locks,
    write_durably,
)
from notebook_sync.adapters.local_index import NAME, LocalIndex
from notebook_sync.adapters.local_journal import encode_name, encode_snapshot
from notebook_sync.adapters.local_reader import left_over, read_copies
from notebook_sync.adapters.local_writer import JournalWriter
from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId, DocumentKey, Lineage, NodeId
from notebook_sync.core.limits import Limits
from notebook_sync.core.paths import within
from notebook_sync.ports import LocalCopy, LocalHead

log = logging.getLogger(__name__)
T = TypeVar("T")
FORGOTTEN = ".forgotten"

_NONE: frozenset[Path] = frozenset()
_READS = 5
"""How often a document is looked up anew because it was forgotten or got a new lineage meanwhile."""


class FileLocalCopies:
    """See ``ports.LocalCopies``. ``async with`` begins and ends its threads and shows other servers that
    this one lives. Entering raises nothing: a disk that is full now may have room later.

    Args:
        directory: made private (0700) when something is first kept.
        node: this run of this server; never one that was used before (rule 14).
        limits: ``local_*``.

    Whoever opens a document merges what ``find`` returned. So it counts as part of the states that ``keep``
    is given later; of a document that this server has had open already from the second one on, for the
    first may have been made before. Positions of one opening of a document rise; a lower one begins the
    next.
    """

    def __init__(self, directory: Path, node: NodeId, limits: Limits) -> None:
        self._root = directory
        self._node = checked(node)
        self._limits = limits
        self._index = LocalIndex(directory)
        self._writer = JournalWriter(node, limits.local_queue_bytes, limits.local_open_journals)
        self._returned: dict[Path, frozenset[Path]] = {}
        """Files that ``find`` returned since the last ``keep``, by folder; and before it:"""
        self._settled: dict[Path, frozenset[Path]] = {}
        self._opened: set[Path] = set()
        """Folders of what this server has kept."""
        self._lock: int | None = None
        self._stamping = threading.Lock()
        self._last_stamp = 0

    async def __aenter__(self) -> FileLocalCopies:
        """Begin."""
        self._snapshots = ThreadPoolExecutor(1, thread_name_prefix="local-snapshots")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="local-reader")
        self._writer.start()
        try:
            await self._in(self._snapshots, self._root, self._begin)
        except LocalDiskFailed as error:
            log.warning("nothing can be kept on this server's own disk for now: %s", error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, when everything that waits is written."""
        await asyncio.to_thread(self._end)

    def _begin(self) -> None:
        """Make the directory and show that this server lives, once. In the snapshots' thread."""
        if self._lock is None:
            make_folder(self._root)
            remove_ended_locks(self._root)
            for folder in self._root.glob(f"*{FORGOTTEN}"):
                shutil.rmtree(folder, ignore_errors=True)
            self._lock = hold_lock(self._root, NodeId(self._node))

    def _end(self) -> None:
        for executor in (self._snapshots, self._readers):
            last = executor.submit(lambda: None)
            with contextlib.suppress(TimeoutError):
                last.result(self._limits.local_close_timeout)
            executor.shutdown(wait=False, cancel_futures=True)
        self._writer.stop(self._limits.local_close_timeout)
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._root / (self._node + LOCK))
            os.close(self._lock)
            self._lock = None

    # --- the port -------------------------------------------------------------------------------

    async def keep(self, head: LocalHead, state: bytes, upto: int) -> None:
        """See ``ports.LocalCopies``."""
        folder = self._folder(head.document, head.lineage)
        settled, fresh = self._settled.get(folder, _NONE), self._returned.pop(folder, _NONE)
        sealed = self._writer.seal(folder)
        self._opened.add(folder)

        def work() -> None:
            sealed.result()
            self._begin()
            self._write_snapshot(folder, head, state)
            covered = self._writer.take_covered(folder, upto, settled).result()
            own = f"{self._node}."
            for path in (*covered, *(path for path in settled if not path.name.startswith(own))):
                remove(path)
            remove(folder / (self._node + NAME))

        try:
            await self._in(self._snapshots, folder, work)
        except BaseException:
            self._returned[folder] = self._returned.get(folder, _NONE) | fresh
            raise
        self._settled[folder] = fresh

    async def record(
        self, document: DocumentId, lineage: Lineage, records: Sequence[tuple[int, bytes]]
    ) -> None:
        """See ``ports.LocalCopies``. Also raises ``LocalDiskFailed`` when this server has not kept a
        snapshot of the document yet: updates without what they build on are worth nothing."""
        if records:
            folder = self._folder(document, lineage)
            await self._answer(self._writer.append(folder, records), folder, self._limits.local_timeout)

    async def journal_size(self, document: DocumentId, lineage: Lineage) -> int:
        """See ``ports.LocalCopies``."""
        return self._writer.size(self._folder(document, lineage))

    async def find(self, document: DocumentId) -> LocalCopy | None:
        """See ``ports.LocalCopies``."""
        checked(document)
        return await self._in(self._readers, self._root / document, lambda: self._find(document))

    async def left_over(self, document: DocumentId) -> bool:
        """See ``ports.LocalCopies``."""

        def work() -> bool:
            kept = self._index.of(document)
            return kept is not None and left_over(self._root, kept.folder)

        return await self._in(self._readers, self._root / checked(document), work)

    async def find_path(self, key: DocumentKey) -> LocalHead | None:
        """See ``ports.LocalCopies``."""
        kept = await self._in(self._readers, self._root, lambda: self._index.at(key))
        return None if kept is None else kept.head

    async def heads(self) -> tuple[LocalHead, ...]:
        """See ``ports.LocalCopies``."""
        newest = await self._in(self._readers, self._root, self._index.newest)
        return tuple(kept.head for kept in newest.values())

    async def renamed(self, old: str, new: str) -> None:
        """See ``ports.LocalCopies``."""
        await self._in(self._snapshots, self._root, lambda: self._rename(old, new))

    async def forget(self, document: DocumentId) -> None:
        """See ``ports.LocalCopies``."""
        checked(document)
        await self._in(self._snapshots, self._root / document, lambda: self._forget(document))

    # --- in the threads -------------------------------------------------------------------------

    def _write_snapshot(self, folder: Path, head: LocalHead, state: bytes) -> None:
        parts = encode_snapshot(head, self._stamp(), state)
        try:
            make_folder(folder)
            write_durably(folder / (self._node + SNAPSHOT), parts)
        except FileNotFoundError:  # another server forgot the document at this moment
            make_folder(folder)
            write_durably(folder / (self._node + SNAPSHOT), parts)

    def _stamp(self) -> int:
        """Nanoseconds since 1970, and always more than any stamp this server has seen."""
        with self._stamping:
            self._last_stamp = max(time.time_ns(), self._last_stamp + 1)
            return self._last_stamp

    def _saw(self, stamp: int) -> None:
        with self._stamping:
            self._last_stamp = max(self._last_stamp, stamp)

    def _find(self, document: DocumentId) -> LocalCopy | None:
        for _ in range(_READS):
            kept = self._index.of(document)
            if kept is None:
                return None
            place = self._returned if kept.folder in self._opened else self._settled
            self._saw(kept.stamp)
            self._writer.seal(kept.folder).result()
            read = read_copies(self._root, kept.folder, self._node)
            now = self._index.of(document) or kept
            if now.folder == kept.folder and kept.folder.is_dir():
                place[kept.folder] = place.get(kept.folder, _NONE) | read.final
                head = replace(now.head, cursor=read.cursor)
                return LocalCopy(head, read.updates, tuple(read.damaged))
        return None

    def _rename(self, old: str, new: str) -> None:
        newest = self._index.newest().values()
        following = [kept for kept in newest if within(kept.head.key.path, old)]
        for kept in newest if following else ():
            if within(kept.head.key.path, new) and kept not in following:
                self._forget(kept.head.document)
        for kept in following:
            path = new + kept.head.key.path[len(old) :]
            self._saw(kept.stamp)
            with contextlib.suppress(FileNotFoundError):  # another server forgot it at this moment
                write_durably(kept.folder / (self._node + NAME), (encode_name(path, self._stamp()),))

    def _forget(self, document: DocumentId) -> None:
        gone: list[Path] = []
        for folder in self._index.folders(document):
            self._writer.drop(folder).result()
            self._returned.pop(folder, None)
            self._settled.pop(folder, None)
            aside = folder.with_name(f"{folder.name}.{self._stamp()}{FORGOTTEN}")
            with contextlib.suppress(FileNotFoundError):  # another server forgot it at this moment
                os.replace(folder, aside)  # in one step: half a document must not be found
                gone.append(aside)
        if gone:
            sync_folder(str(self._root))
        for folder in gone:
            shutil.rmtree(folder, ignore_errors=True)  # what is left goes at the next start

    # --- between ----------------------------------------------------------------------------------

    def _folder(self, document: DocumentId, lineage: Lineage) -> Path:
        return self._root / f"{checked(document)}.{checked(lineage)}"

    async def _in(self, executor: ThreadPoolExecutor, path: Path, work: Callable[[], T]) -> T:
        def guarded() -> T:
            with disk_trouble(path):
                return work()

        return await self._answer(executor.submit(guarded), path, self._limits.local_snapshot_timeout)

    async def _answer(self, future: Future[T], path: Path, patience: float) -> T:
        waiting: Awaitable[T] = asyncio.wrap_future(future)
        try:
            async with asyncio.timeout(patience):
                return await waiting
        except TimeoutError:
            raise LocalDiskFailed(f"{path}: the disk does not answer within {patience:g} s") from None
