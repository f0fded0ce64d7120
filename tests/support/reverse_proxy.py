"""A small reverse proxy of HTTP/1.1 over real sockets, with the faults that real ones are set up with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType

HEAD_BYTES = 64 * 1024


@dataclass
class ReverseProxy:
    """Args:

    to: host and port of the server behind.
    drops: headers, in lower case, that are not passed on: ``{"upgrade"}`` as nginx does by default.
    host: what the server is told it was asked for; None: what the client said.
    adds: headers for the server.
    most: bytes of a request's body; more is answered 413.
    """

    to: tuple[str, int]
    drops: set[str] = field(default_factory=set)
    host: str | None = None
    adds: dict[str, str] = field(default_factory=dict)
    most: int | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def __aenter__(self) -> ReverseProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._one(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        named = [(name, value.strip()) for name, _, value in (header.partition(":") for header in headers)]
        size = int(dict((name.lower(), value) for name, value in named).get("content-length", 0))
        if self.most is not None and size > self.most:
            writer.write(
                b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            await _swallow(reader, size)
            return
        async with _opened(self.to, writer) as behind:
            if behind is None:
                return
            server_reader, server_writer = behind
            server_writer.write("\r\n".join([line, *self._passed(named), "", ""]).encode("latin-1"))
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer, last=True))

    def _passed(self, headers: list[tuple[str, str]]) -> list[str]:
        upgrades = "upgrade" not in self.drops and any(name.lower() == "upgrade" for name, _ in headers)
        kept = [
            (name, self.host if name.lower() == "host" and self.host else value)
            for name, value in headers
            if name.lower() not in self.drops and (upgrades or name.lower() != "connection")
        ]
        if not upgrades:
            kept.append(("Connection", "close"))
        return [f"{name}: {value}" for name, value in [*kept, *self.adds.items()]]


@contextlib.asynccontextmanager
async def _opened(
    to: tuple[str, int], client: asyncio.StreamWriter
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]:
    try:
        reader, writer = await asyncio.open_connection(*to)
    except OSError:
        client.write(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        yield None
        return
    try:
        yield reader, writer
    finally:
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, last: bool = False) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(HEAD_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    if last:
        writer.close()


async def _swallow(reader: asyncio.StreamReader, size: int) -> None:
    while size > 0 and (data := await reader.read(HEAD_BYTES)):
        size -= len(data)
