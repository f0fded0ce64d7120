"""The open rooms of a node: each document once, however many open it at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from notebook_sync.core import events as ev
from notebook_sync.core.ids import DocumentKey, UserId
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.paths import moved
from notebook_sync.engine.runner import RoomRunner
from notebook_sync.engine.workshop import CLOSE_MISSING, Told, Workshop
from notebook_sync.ports import LateWrite

CLOSE_GOING_AWAY = 1001


class Registry:
    """Opening is a look-up and a constructor, without a wait in between: so it can't happen twice."""

    def __init__(self, workshop: Workshop, tell: Callable[[Told], None]) -> None:
        self._workshop = workshop
        self._tell = tell
        self._runners: dict[DocumentKey, RoomRunner] = {}
        self._leaving: dict[DocumentKey, asyncio.Future[None]] = {}

    def __iter__(self) -> Iterator[RoomRunner]:
        return iter(list(self._runners.values()))

    def open(self, key: DocumentKey, file_id: str = "") -> RoomRunner:
        """The document's room; it begins to load if it was not open."""
        runner = self._runners.get(key)
        if runner is None:
            runner = RoomRunner(key, self._workshop, file_id=file_id, tell=self._tell, finished=self._forget)
            self._runners[key] = runner
            runner.start(after=self._leaving.get(key))
        return runner

    def find(self, key: DocumentKey) -> RoomRunner | None:
        """The document's room, if it is open."""
        return self._runners.get(key)

    def _forget(self, runner: RoomRunner) -> None:
        if self._runners.get(runner.key) is runner:
            del self._runners[runner.key]
        key, gone = runner.key, runner.gone
        self._leaving[key] = gone
        gone.add_done_callback(lambda _: self._leaving.pop(key, None))

    def renamed(self, old: str, new: str) -> None:
        """A file or folder has another name: rooms at and below it stay, one at the new name ends."""
        for key, runner in list(self._runners.items()):
            path = moved(key.path, old, new)
            if path is None:
                continue
            target = DocumentKey(key.kind, path)
            replaced = self._runners.get(target)
            if replaced is not None and replaced is not runner:
                replaced.post(ev.CloseAsked(CLOSE_MISSING, f"{path} was replaced by another file"))
            del self._runners[key]
            runner.renamed(path)
            self._runners[target] = runner

    def deleted(self, path: str) -> None:
        """A file or folder is gone: rooms at and below it end."""
        for key, runner in list(self._runners.items()):
            if moved(key.path, path, path) is not None:
                runner.post(ev.CloseAsked(CLOSE_MISSING, f"{key.path} was deleted"))

    def disconnect(self, user: UserId, code: int, reason: str) -> int:
        """Close all sockets of a person; returns how many there were."""
        return sum(runner.disconnect(user, code, reason) for runner in self)

    def late_write(self, late: LateWrite) -> bool:
        """To be given to the file store: the open room of the file takes it in. False if there is none."""
        return any(runner.late(late) for runner in self if runner.key.path == late.path)

    async def close(self, deadline: float) -> None:
        """Save what can be saved within ``deadline`` seconds, then send everybody away."""
        runners = list(self._runners.values())
        if not runners:
            return
        saves = asyncio.gather(
            *(runner.save() for runner in runners if runner.room.state is not DocumentState.LOADING)
        )
        await asyncio.wait([saves], timeout=deadline / 2)
        for runner in runners:
            runner.post(ev.CloseAsked(CLOSE_GOING_AWAY, "the server is shutting down"))
        await asyncio.wait([runner.gone for runner in runners], timeout=deadline / 2)
