"""The codec: documents and files turned into each other, off the event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.worker_process import WorkerDied, WorkerProcess
from notebook_sync.core.errors import RoomError
from notebook_sync.core.ids import DocumentKind
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Merged, Rendered, ViewMerged

P = ParamSpec("P")
T = TypeVar("T")


class _Codec(ABC):
    """The codec's functions, as calls of the port; ``_call`` says where they run."""

    async def seed(self, kind: DocumentKind, data: bytes, *, trusted: bool, lineage: str = "") -> bytes:
        return await self._call(codec_worker.seed, kind, data, trusted, lineage)

    async def render(self, kind: DocumentKind, state: bytes) -> Rendered:
        return await self._call(codec_worker.render, kind, state)

    async def slim(self, kind: DocumentKind, data: bytes) -> bytes:
        return await self._call(codec_worker.slim, kind, data)

    async def merge(
        self,
        kind: DocumentKind,
        state: bytes,
        base: bytes | None,
        theirs: bytes,
        seen: Sequence[str] = (),
        *,
        once: bool = False,
    ) -> Merged:
        return await self._call(codec_worker.merge, kind, state, base, theirs, tuple(seen), once)

    async def merge_view(self, state: bytes, base: bytes | None, file: bytes) -> ViewMerged:
        return await self._call(codec_worker.merge_view, state, base, file)

    @abstractmethod
    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...


class NotebookCodec(_Codec):
    """The ``DocumentCodec`` that works in a worker process; ``async with`` starts and ends it.

    All calls go through the process: rendering a notebook of 40 cells takes about 3 ms, which the
    event loop should not spend. A call whose worker dies is made once more in a new one, then it
    raises ``RoomError``: a document that kills the worker costs no other document its save (P5).
    """

    def __init__(self, limits: Limits) -> None:
        self._worker = WorkerProcess(limits.codec_timeout)

    @property
    def executor(self) -> Executor:
        """The worker process, for other long work on documents (compaction). Stays the same over restarts
        of the process; a call whose process dies raises ``WorkerDied``, a ``RoomError``."""
        return self._worker

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, for tests and for people who look at a server."""
        return self._worker.pid

    async def __aenter__(self) -> Self:
        await asyncio.wrap_future(self._worker.start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._worker.shutdown)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(2):
            try:
                return await asyncio.wrap_future(self._worker.submit(function, *args, **kwargs))
            except WorkerDied as error:
                cause = error
        raise RoomError(f"reading or writing this document ended the worker process twice ({cause})")


class InlineCodec(_Codec):
    """The same codec without a process, for tests and simulation."""

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)
