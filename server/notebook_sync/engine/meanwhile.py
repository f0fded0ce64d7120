"""What people write while a restore is on its way to them.

Whoever still sees a cell that the restore took away, or made anew, goes on typing into it for a moment, and
a CRDT drops that with the cell. So what the log got since then is also applied to the content before, and
if that has words which the document has not, it is kept as a version.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from notebook_sync.core.errors import CollabError, RoomError
from notebook_sync.core.ids import DocumentKind, Generation
from notebook_sync.core.replica import merge
from notebook_sync.core.typed_text import not_found
from notebook_sync.engine.runner import RoomRunner
from notebook_sync.engine.workshop import Told, Workshop
from notebook_sync.ports import Cursor, LogEntry, Trimmed, Version, VersionStore

log = logging.getLogger(__name__)

RETRY = 1.0
"""Seconds before a store that was away is asked again."""


@dataclass(frozen=True, slots=True)
class Before:
    """A document just before a restore. ``state``: all of it as one v1 update. ``cursor``: a place in the log
    at or before it. ``version``, ``data``: its file content, and the version that holds that. ``edit``: the
    restore's own update, as it will be in the log."""

    state: bytes
    cursor: Cursor
    version: str
    data: bytes
    edit: bytes

    def record(self) -> bytes:
        """To be kept over a crash, all but ``data``: one line of JSON, then ``edit`` and ``state``."""
        head = {
            "generation": self.cursor.generation,
            "seq": self.cursor.seq,
            "chain": self.cursor.chain.hex(),
            "version": self.version,
            "edit": len(self.edit),
        }
        return json.dumps(head).encode() + b"\n" + self.edit + self.state


class Aftercare:
    """``tell`` hears a notice when something had to be kept."""

    def __init__(self, workshop: Workshop, versions: VersionStore, tell: Callable[[Told], None]) -> None:
        self._workshop = workshop
        self._versions = versions
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether more restores are being looked after than may be."""
        return len(self._tasks) >= self._workshop.limits.restores_at_once

    async def begin(self, runner: RoomRunner, before: Before) -> bool:
        """Make a restore's edit, and look after it once everybody has seen it. False if the room has closed.

        Raises ``LocalDiskFailed`` when that could not be done after a crash; then nothing was changed.
        """
        name = await self._versions.open_restore(runner.document, before.record())
        if runner.closed.done():
            await self._versions.close_restore(runner.document, name)
            return False
        runner.edit(before.edit)
        self._spawn(runner, name, before)
        return True

    async def resume(self, runner: RoomRunner) -> None:
        """A document was opened: look after restores that a server made which ended right then."""
        for name, record in await self._versions.open_restores(runner.document):
            before = await self._read(runner, record)
            if before is None:
                log.error("%s: the record of a restore (%s) can't be read", runner.key, name)
                await self._versions.close_restore(runner.document, name)
            else:
                self._spawn(runner, name, before)

    async def _read(self, runner: RoomRunner, record: bytes) -> Before | None:
        head, _, rest = record.partition(b"\n")
        try:
            known = json.loads(head)
            cursor = Cursor(Generation(known["generation"]), known["seq"], bytes.fromhex(known["chain"]))
            version, length = known["version"], known["edit"]
            data = await self._versions.read(runner.document, version)
            return None if data is None else Before(rest[length:], cursor, version, data, rest[:length])
        except (ValueError, KeyError, TypeError, RoomError):
            return None

    def _spawn(self, runner: RoomRunner, name: str, before: Before) -> None:
        looking = self._look(runner, name, before)
        task = self._workshop.supervisor.spawn(looking, f"after a restore of {runner.key}")
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self, deadline: float) -> None:
        """Wait, at most ``deadline`` seconds, for what is begun; the rooms are closed, so nobody types."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=deadline)

    async def _look(self, runner: RoomRunner, name: str, before: Before) -> None:
        limits, loop = self._workshop.limits, asyncio.get_running_loop()
        await asyncio.wait([runner.closed], timeout=limits.restore_settle)
        deadline = loop.time() + limits.compact_keep / 2
        while True:
            try:
                await self._keep_what_is_lost(runner, name, before)
                return
            except CollabError as error:
                if loop.time() > deadline:
                    log.error(
                        "%s: what was typed during a restore can't be looked for: %s", runner.key, error
                    )
                    return
            await asyncio.sleep(RETRY)

    async def _keep_what_is_lost(self, runner: RoomRunner, name: str, before: Before) -> None:
        unrestored, cells = await self._what_is_lost(runner, before)
        if not cells:
            await self._versions.close_restore(runner.document, name)
            return
        note = f"with what was typed, during a restore, into cells that it took away: {', '.join(cells)}"
        version = await self._versions.add(
            runner.document, runner.key.path, unrestored, reason="merge", note=note
        )
        if not await self._versions.close_restore(runner.document, name):
            return  # another server that has the document open was faster, and has told people
        sentence = (
            f"what was typed during the restore into cells that it took away ({', '.join(cells)}) "
            f"is kept as {named(version)}"
        )
        self._tell(Told("restore", runner.key, "INFO", sentence))

    async def _what_is_lost(self, runner: RoomRunner, before: Before) -> tuple[bytes, list[str]]:
        """The file content as it would be without the restore, and the cells in which that has words which
        the document has not."""
        kind, codec = runner.key.kind, self._workshop.saver.codec
        entries = await self._workshop.store.since(runner.document, before.cursor)
        if isinstance(entries, Trimmed):
            log.error("%s: the log does not say any more what was typed during a restore", runner.key)
            return b"", []
        state = await asyncio.to_thread(without_edit, before, entries)
        unrestored = await codec.render(kind, state)
        now = await codec.render(kind, runner.room.replica.diff())
        contents = [texts(kind, content) for content in (before.data, unrestored.data, now.data)]
        return unrestored.data, await asyncio.to_thread(not_found, *contents)


def without_edit(before: Before, entries: tuple[LogEntry, ...]) -> bytes:
    """The document as it would be without the restore, as one v1 update."""
    updates = [update for entry in entries for update in entry.updates if update != before.edit]
    return merge([before.state, *updates])


def texts(kind: DocumentKind, content: bytes) -> Mapping[str, str]:
    """The texts of a file content by cell id; a file without cells is one text."""
    if kind.type != "notebook":
        return {"the text": content.decode("utf-8", "replace")}
    found: dict[str, str] = {}
    with contextlib.suppress(ValueError):
        notebook: Any = json.loads(content)
        for number, cell in enumerate(notebook["cells"]):
            source = cell["source"]
            found[str(cell.get("id", number))] = source if isinstance(source, str) else "".join(source)
    return found


def named(version: Version) -> str:
    """A version as a notice names it."""
    return f"the version of {clock_time(version.at, version.at)}"


def clock_time(at: float, now: float) -> str:
    """A moment (seconds since 1970) as people say it, in this server's time zone: with the day if it is
    not that of ``now``."""
    then, today = time.localtime(at), time.localtime(now)
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", then)
