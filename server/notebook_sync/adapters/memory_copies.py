"""The memory twin of a server's own disk: for tests and simulation, on the contract suite of the real one.

A ``MemoryDisk`` outlives the servers that use it, as a disk does: drop a ``MemoryLocalCopies`` without
leaving it for a kill -9, and call ``crash`` for a loss of power.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from notebook_sync.core.errors import LocalDiskFailed
from notebook_sync.core.ids import DocumentId, DocumentKey, Lineage, NodeId
from notebook_sync.core.paths import within
from notebook_sync.ports import LocalCopy, LocalHead

_RECORD_OVERHEAD = 20
"""What the real journal needs for each record, so that sizes are alike."""


@dataclass(slots=True, eq=False)
class _Record:
    """One record; ``earlier``: the document was opened anew since."""

    position: int
    update: bytes
    flushed: bool = False
    earlier: bool = False


@dataclass(slots=True)
class _Files:
    """What one server keeps of one lineage."""

    head: LocalHead
    state: bytes
    stamp: int
    journal: list[_Record] = field(default_factory=list)


class MemoryDisk:
    """What is on the disk, who lives on it, and what goes wrong on purpose.

    Attributes:
        full: whatever is written is refused.
        slow: seconds between writing and flushing; what is written then is lost in a ``crash``.
    """

    def __init__(self) -> None:
        self.full = False
        self.slow = 0.0
        self.live: set[NodeId] = set()
        self._failures = 0
        self._lost_answers = 0
        self._stamps = itertools.count(1)
        self.files: dict[DocumentId, dict[Lineage, dict[NodeId, _Files]]] = {}

    def fail_next(self, calls: int) -> None:
        """The next ``calls`` writing calls raise ``LocalDiskFailed`` and write nothing."""
        self._failures = calls

    def lose_next_answers(self, calls: int) -> None:
        """The next ``calls`` writing calls do what they should, and raise ``LocalDiskFailed`` nonetheless."""
        self._lost_answers = calls

    def ended(self, node: NodeId) -> None:
        """The server is dead, without having left."""
        self.live.discard(node)

    def crash(self) -> None:
        """Power is lost: every server is dead, and what was not flushed is gone."""
        self.live.clear()
        for lineages in self.files.values():
            for servers in lineages.values():
                for files in servers.values():
                    files.journal = [record for record in files.journal if record.flushed]

    def stamp(self) -> int:
        """Orders what is kept."""
        return next(self._stamps)

    def check(self) -> None:
        """Call before writing."""
        if self.full:
            raise LocalDiskFailed("memory: no space left on device (on purpose)")
        if self._failures > 0:
            self._failures -= 1
            raise LocalDiskFailed("memory: input/output error (on purpose)")

    async def flush(self) -> None:
        """Call between writing and flushing."""
        if self.slow:
            await asyncio.sleep(self.slow)

    def answer(self) -> None:
        """Call when everything is done."""
        if self._lost_answers > 0:
            self._lost_answers -= 1
            raise LocalDiskFailed("memory: the answer was lost (on purpose)")

    def newest(self, document: DocumentId) -> dict[NodeId, _Files]:
        """What all servers keep of the document's lineage that was kept last."""
        lineages = self.files.get(document, {}).values()
        return max(lineages, key=lambda servers: max(file.stamp for file in servers.values()), default={})

    def heads(self) -> list[tuple[int, LocalHead]]:
        """Stamp and head of each document, as kept last."""
        newest = [self.newest(document) for document in self.files]
        return [_last(servers) for servers in newest if servers]


def _last(servers: dict[NodeId, _Files]) -> tuple[int, LocalHead]:
    files = sorted(servers.values(), key=lambda files: files.stamp, reverse=True)
    cursor = next((one.head.cursor for one in files if one.head.cursor is not None), None)
    return files[0].stamp, replace(files[0].head, cursor=cursor)


@dataclass(slots=True)
class _Returned:
    """What ``find`` returned to a server: its own records, and all of servers that had ended."""

    records: set[_Record] = field(default_factory=set)
    servers: set[NodeId] = field(default_factory=set)


class MemoryLocalCopies:
    """See ``ports.LocalCopies``; the same rules as ``FileLocalCopies`` on a ``MemoryDisk``."""

    def __init__(self, disk: MemoryDisk, node: NodeId) -> None:
        self._disk = disk
        self._node = node
        self._returned: dict[tuple[DocumentId, Lineage], _Returned] = {}
        self._settled: dict[tuple[DocumentId, Lineage], _Returned] = {}
        self._opened: set[tuple[DocumentId, Lineage]] = set()

    async def __aenter__(self) -> MemoryLocalCopies:
        """Begin: others see that this server lives."""
        self._disk.live.add(self._node)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._disk.ended(self._node)

    async def keep(self, head: LocalHead, state: bytes, upto: int) -> None:
        """See ``ports.LocalCopies``."""
        place = head.document, head.lineage
        settled, fresh = self._settled.get(place, _Returned()), self._returned.get(place, _Returned())
        self._opened.add(place)
        self._disk.check()
        self._returned[place] = _Returned()
        await self._disk.flush()
        if self._node not in self._disk.live:
            raise LocalDiskFailed("memory: power was lost (on purpose)")
        servers = self._disk.files.setdefault(head.document, {}).setdefault(head.lineage, {})
        own = servers.get(self._node)
        stay: list[_Record] = []
        for record in own.journal if own is not None else ():
            if record.position <= upto or (record.earlier and record in settled.records):
                record.flushed = True  # the snapshot has it
            else:
                stay.append(record)
        servers[self._node] = _Files(head, state, self._disk.stamp(), stay)
        for node in settled.servers:
            servers.pop(node, None)
        self._settled[place] = fresh
        self._disk.answer()

    async def record(
        self, document: DocumentId, lineage: Lineage, records: Sequence[tuple[int, bytes]]
    ) -> None:
        """See ``ports.LocalCopies``."""
        if not records:
            return
        self._disk.check()
        own = self._own(document, lineage)
        if own is None:
            raise LocalDiskFailed("memory: nothing is kept of this document yet")
        if own.journal and records[0][0] <= own.journal[-1].position:
            for record in own.journal:
                record.earlier = True
        added = [_Record(position, update) for position, update in records]
        own.journal += added
        await self._disk.flush()
        now = self._own(document, lineage)
        there = set(now.journal) if now is not None else set()
        lost = any(record not in there and not record.flushed for record in added)
        if lost or self._node not in self._disk.live:
            raise LocalDiskFailed("memory: power was lost, or the document was forgotten (on purpose)")
        for record in added:
            record.flushed = True
        self._disk.answer()

    def _own(self, document: DocumentId, lineage: Lineage) -> _Files | None:
        return self._disk.files.get(document, {}).get(lineage, {}).get(self._node)

    async def journal_size(self, document: DocumentId, lineage: Lineage) -> int:
        """See ``ports.LocalCopies``."""
        own = self._own(document, lineage)
        return sum(len(record.update) + _RECORD_OVERHEAD for record in own.journal) if own is not None else 0

    async def find(self, document: DocumentId) -> LocalCopy | None:
        """See ``ports.LocalCopies``."""
        servers = self._disk.newest(document)
        if not servers:
            return None
        head = _last(servers)[1]
        ended = {node for node in servers if node != self._node and node not in self._disk.live}
        place = document, head.lineage
        read = self._returned if place in self._opened else self._settled
        returned = read.setdefault(place, _Returned())
        returned.servers |= ended
        own = servers.get(self._node)
        returned.records.update(own.journal if own is not None else ())
        snapshots = tuple(files.state for _, files in sorted(servers.items()) if files.state)
        journals = (record.update for _, files in sorted(servers.items()) for record in files.journal)
        return LocalCopy(head, (*snapshots, *journals))

    async def left_over(self, document: DocumentId) -> bool:
        """See ``ports.LocalCopies``."""
        return any(
            bool(files.journal) or files.head.cursor is None
            for node, files in self._disk.newest(document).items()
            if node not in self._disk.live
        )

    async def find_path(self, key: DocumentKey) -> LocalHead | None:
        """See ``ports.LocalCopies``."""
        there = [(stamp, head) for stamp, head in self._disk.heads() if head.key == key]
        return max(there, key=lambda found: found[0])[1] if there else None

    async def heads(self) -> tuple[LocalHead, ...]:
        """See ``ports.LocalCopies``."""
        return tuple(head for _, head in self._disk.heads())

    async def renamed(self, old: str, new: str) -> None:
        """See ``ports.LocalCopies``."""
        self._disk.check()
        heads = [head for _, head in self._disk.heads()]
        following = [head for head in heads if within(head.key.path, old)]
        for head in heads if following else ():
            if within(head.key.path, new) and head not in following:
                self._disk.files.pop(head.document, None)
        for head in following:
            servers = self._disk.newest(head.document).values()
            newest = max(servers, key=lambda files: files.stamp)
            key = replace(head.key, path=new + head.key.path[len(old) :])
            newest.head, newest.stamp = replace(newest.head, key=key), self._disk.stamp()
        self._disk.answer()

    async def forget(self, document: DocumentId) -> None:
        """See ``ports.LocalCopies``."""
        self._disk.check()
        self._disk.files.pop(document, None)
        self._disk.answer()
