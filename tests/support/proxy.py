"""A network that misbehaves on command: a TCP relay in a process of its own between two others.

``Proxy`` is the handle for tests; ``python -m tests.support.proxy TARGET PORT`` is the relay. Commands are
lines of JSON on its standard input, each answered by a line; it ends when that input ends, so that it
never outlives the test. What it holds back is bounded: it stops reading instead.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import socket
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Self

from tests.support.stock_server import free_port
from tests.support.waiting import lasting

CHUNK = 16 * 1024
HELD = 64
"""Chunks that one direction of one connection holds back at most."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing says RST, as a connection that was torn does."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network is. ``up``: towards the target; ``down``: from it. Delays are seconds for each
    chunk, keeping order; ``throttle``: bytes a second downwards, 0 without a bound; ``refuse``: nobody
    can connect; ``black_hole``: connections are taken, and nothing goes through, either way, until it
    is over; ``corrupt``: so many of the next chunks downwards begin with bytes that neither Redis nor a
    websocket ever sends."""

    delay_up: float = 0.0
    delay_down: float = 0.0
    throttle: int = 0
    refuse: bool = False
    black_hole: bool = False
    corrupt: int = 0


class Proxy:
    """A relay to ``target`` (``host:port`` or a unix socket's path), on a loopback port that stays the
    same; ``with`` starts and ends its process."""

    def __init__(self, target: str) -> None:
        self.port = free_port()
        self.weather = Weather()
        self._target = target
        self._process: subprocess.Popen[str] | None = None

    def set(self, weather: Weather) -> None:
        """Change the weather, for connections that there are and for new ones."""
        self.weather = weather
        self._tell({"weather": asdict(weather)})

    def change(self, **changes: float | int | bool) -> None:
        """The same, only some of it."""
        self.set(replace(self.weather, **changes))  # type: ignore[arg-type]  # each has its field's type

    def clear(self) -> None:
        """Fair weather again."""
        self.set(Weather())

    def cut(self) -> None:
        """Tear all connections that there are."""
        self._tell({"cut": True})

    def away(self) -> None:
        """The target can't be reached: all connections torn, new ones refused, until ``clear``."""
        self.change(refuse=True)
        self.cut()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.proxy", self._target, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answered()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _tell(self, command: dict[str, object]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self._answered()

    def _answered(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == "done\n", f"the proxy to {self._target} ended"


# --- the relay's process ----------------------------------------------------------------------------


class Relay:
    """The listening side; ``obey`` takes one command."""

    def __init__(self, target: str, port: int) -> None:
        self.weather = Weather()
        self.changed = asyncio.Event()
        """Set and replaced at each change of the weather."""
        self.damage = 0
        """Chunks still to be damaged."""
        self._target = target
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def obey(self, command: dict[str, object]) -> None:
        match command:
            case {"cut": True}:
                for writer in list(self._open):
                    tear(writer)
            case {"weather": dict(fields)}:
                self.weather = Weather(**fields)
                self.damage = self.weather.corrupt
                await self.listen(not self.weather.refuse)
                self.changed.set()
                self.changed = asyncio.Event()

    async def listen(self, wanted: bool) -> None:
        """Take connections, or have the operating system refuse them."""
        if wanted and self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, limit=CHUNK, reuse_address=True
            )
        elif not wanted and self._server is not None:
            server, self._server = self._server, None
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self.fair()
            far_reader, far_writer = await self._connect()
        except OSError:
            tear(writer)
            self._open.discard(writer)
            return
        self._open.add(far_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Direction(self, down=False).carry(reader, far_writer))
                tasks.create_task(Direction(self, down=True).carry(far_reader, writer))
        except* OSError:
            tear(writer)
            tear(far_writer)
        finally:
            self._open -= {writer, far_writer}
            for one in (writer, far_writer):
                one.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target, limit=CHUNK)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port), limit=CHUNK)

    async def fair(self) -> None:
        """Wait until things go through."""
        while self.weather.black_hole:
            await self.changed.wait()

    def damaged(self, data: bytes) -> bytes:
        """``data``, with some bytes changed if that was asked for."""
        if self.damage <= 0:
            return data
        self.damage -= 1
        return b"\xff" * len(data[:4]) + data[4:]


class Direction:
    """One way of one connection: read, hold back for as long as the weather says, write."""

    def __init__(self, relay: Relay, *, down: bool) -> None:
        self._relay = relay
        self._down = down
        self._held: collections.deque[tuple[float, bytes]] = collections.deque()
        self._more = asyncio.Event()
        self._less = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends; then the other is closed too, when it has had everything."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(reader))
            tasks.create_task(self._write(writer))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        clock = asyncio.get_running_loop().time
        data = b" "
        while data:
            data = await reader.read(CHUNK)
            weather = self._relay.weather
            delay = weather.delay_down if self._down else weather.delay_up
            self._held.append((clock() + delay, self._relay.damaged(data) if self._down and data else data))
            self._more.set()
            while len(self._held) > HELD:
                self._less.clear()
                await self._less.wait()

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            while not self._held:
                self._more.clear()
                await self._more.wait()
            due, data = self._held.popleft()
            self._less.set()
            await lasting(due - clock())
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            await self._put(writer, data)

    async def _put(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        while data:
            await self._relay.fair()
            rate = self._relay.weather.throttle if self._down else 0
            part, data = (data[: max(1, rate // 10)], data[max(1, rate // 10) :]) if rate else (data, b"")
            writer.write(part)
            await writer.drain()
            if rate:
                await lasting(len(part) / rate)


def tear(writer: asyncio.StreamWriter) -> None:
    """End the connection as if the network had."""
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def serve(target: str, port: int) -> None:
    """Listen, and obey until standard input ends."""
    relay = Relay(target, port)
    await relay.listen(True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("done", flush=True)
    while line := await commands.readline():
        await relay.obey(json.loads(line))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
