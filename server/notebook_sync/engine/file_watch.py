"""The open documents' files, looked at now and then: changed, moved or deleted by other programs.

A file that was moved is found by its inode and followed, as after a rename through Jupyter. One that is
gone and stays so was deleted: its document ends, and what it said is kept as a version. What a slow or
hanging file system makes wait is only the look at that file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from notebook_sync.core import events as ev
from notebook_sync.core.errors import CollabError, FileUnavailable
from notebook_sync.core.ids import DocumentKey
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.engine.registry import Registry
from notebook_sync.engine.runner import RoomRunner
from notebook_sync.engine.workshop import Told, Workshop
from notebook_sync.ports import FileStamp

log = logging.getLogger(__name__)


class FileWatch:
    """One for each node.

    ``renamed`` (old path, new path) and ``deleted`` (path) let rooms and store follow; ``tell`` hears of
    both.
    """

    def __init__(
        self,
        registry: Registry,
        workshop: Workshop,
        tell: Callable[[Told], None],
        renamed: Callable[[str, str], Awaitable[None]],
        deleted: Callable[[str], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._workshop = workshop
        self._tell = tell
        self._renamed = renamed
        self._deleted = deleted
        self._looking: set[RoomRunner] = set()
        self._gone_since: WeakKeyDictionary[RoomRunner, float] = WeakKeyDictionary()

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._workshop.limits.file_poll_interval)
            for runner in self._registry:
                if runner not in self._looking:
                    self._looking.add(runner)
                    self._workshop.supervisor.spawn(self._look(runner), f"look at {runner.key}")

    async def _look(self, runner: RoomRunner) -> None:
        try:
            known = runner.checkpointer.stamp
            if known is not None:
                await self._compare(runner, known)
        except CollabError as error:
            log.info("%s can't be looked at for now: %s", runner.key, error)
        finally:
            self._looking.discard(runner)

    async def _compare(self, runner: RoomRunner, known: FileStamp) -> None:
        path = runner.key.path
        try:
            stamp = await self._workshop.saver.files.stamp(path)
        except FileUnavailable:
            return  # the next save says so
        if runner.closed.done() or runner.key.path != path:
            return
        if stamp is None:
            await self._gone(runner, path, known)
            return
        self._gone_since.pop(runner, None)
        if stamp != known and runner.room.saved:
            runner.post(ev.FileTouched())

    async def _gone(self, runner: RoomRunner, path: str, known: FileStamp) -> None:
        """Moved, or deleted, or about to be written anew by a program that saves like that."""
        moved = await self._workshop.saver.files.moved_to(path, known)
        if runner.closed.done() or runner.key.path != path or runner.room.state is not DocumentState.LIVE:
            return
        now = asyncio.get_running_loop().time()
        if moved is not None:
            self._gone_since.pop(runner, None)
            await self._renamed(path, moved)
            self._tell(Told("moved", DocumentKey(runner.key.kind, moved), "INFO", path))
        elif now - self._gone_since.setdefault(runner, now) >= self._workshop.limits.gone_patience:
            await self._end(runner, path)

    async def _end(self, runner: RoomRunner, path: str) -> None:
        saver = self._workshop.saver
        rendered = await saver.codec.render(runner.key.kind, runner.room.replica.diff())
        version = await saver.versions.add(
            runner.document, path, rendered.data, reason="lineage", note="its file was deleted"
        )
        if await saver.files.stamp(path) is not None:
            return  # it is there again
        sentence = f"{path} was deleted by another program; what it said is kept as version {version.id}"
        self._tell(Told("overwrite", runner.key, "WARNING", sentence))
        await self._deleted(path)
