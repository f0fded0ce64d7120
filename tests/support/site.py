"""One or two real servers on one folder, their store, and a misbehaving network between all of them."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psutil

from jupyter_collab_ext.simulated import Browser
from tests.support.proxy import Proxy
from tests.support.redis_servers import RedisServer, redis_binary, running, valkey_binary
from tests.support.servers import RealServer
from tests.support.waiting import wait_until

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"
"""The embedded Valkey; the same program run as people run a store; Debian's redis-server."""
STORE_WITHIN = 30.0


class Store(Protocol):
    """What can happen to a store."""

    def kill(self) -> None:
        """kill -9."""
        ...

    async def revive(self) -> None:
        """Have it back after ``kill``."""
        ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


@dataclass
class OwnStore:
    """A store that we run; ``server`` is its handle."""

    server: RedisServer

    def kill(self) -> None:
        self.server.kill()

    async def revive(self) -> None:
        await asyncio.to_thread(self.server.restart)

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()


@dataclass
class EmbeddedStore:
    """The Valkey that a server of ours runs by itself."""

    owner: RealServer

    def kill(self) -> None:
        self.owner.kill_valkey()

    async def revive(self) -> None:
        await wait_until(lambda: self.owner.valkey() is not None, STORE_WITHIN, "a Valkey is there again")

    def freeze(self) -> None:
        self._process().suspend()

    def thaw(self) -> None:
        self._process().resume()

    def _process(self) -> psutil.Process:
        process = self.owner.valkey()
        assert process is not None, f"no Valkey below {self.owner.state_dir}"
        return process


@dataclass
class Site:
    """``lines``: between each server and the store (none with the embedded one); ``doors``: between
    people and each server."""

    servers: list[RealServer]
    store: Store
    lines: list[Proxy]
    doors: list[Proxy]
    redis: RedisServer | None = None
    _browsers: list[Browser] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The shared folder."""
        return self.servers[0].root

    @property
    def shared(self) -> bool:
        """Whether two servers share folder and store."""
        return len(self.servers) > 1

    def server_of(self, number: int) -> int:
        """At which server person ``number`` is: they take turns."""
        return number % len(self.servers)

    def browser(self, at: int = 0) -> Browser:
        """A new profile at server ``at``, through its door."""
        browser = Browser(f"http://127.0.0.1:{self.doors[at].port}", token=self.servers[at].token)
        self._browsers.append(browser)
        return browser

    def alive(self) -> RealServer:
        """A server that runs."""
        return next(server for server in self.servers if server.running)

    async def restart(self, *which: int) -> None:
        """Start servers again that were killed, all at once."""
        await asyncio.gather(*(asyncio.to_thread(self.servers[number].start) for number in which))

    def kill_all(self) -> None:
        """kill -9 of the store and of all servers in one moment."""
        self.store.kill()
        for server in self.servers:
            server.kill()

    async def start_all(self) -> None:
        """Have all of it back after ``kill_all``."""
        if self.redis is not None:
            await self.store.revive()
        await self.restart(*range(len(self.servers)))

    def node(self, number: int) -> str:
        """The id that a server has since its last start."""
        return str(self.servers[number].request("GET", "api/collaboration/status").json()["node"])

    def writer(self, path: str) -> int:
        """Which server holds the right to write the notebook's file."""
        assert self.redis is not None
        rooms = self.servers[0].request("GET", "api/collaboration/status").json()["rooms"]
        (document,) = [room["document"] for room in rooms if room["path"] == path]
        held = self.redis.command("HGETALL", f"jc:default:{{{document}}}:meta")
        words = held.decode(errors="replace").split("\r\n")
        owners = [words[at + 2] for at, word in enumerate(words) if word.startswith("lease:file:")]
        nodes = [self.node(number) for number in range(len(self.servers))]
        (owner,) = [node for node in nodes if any(node in owner for owner in owners)]
        return nodes.index(owner)

    def close(self) -> None:
        """Give back what browsers hold."""
        for browser in self._browsers:
            browser.close()


@contextmanager
def site(servers: int = 1, store: str = EMBEDDED, arguments: tuple[str, ...] = ()) -> Iterator[Site]:
    """All of it, running; ended and removed afterwards. The servers' logs go to standard output."""
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="site-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        redis: RedisServer | None = None
        if store != EMBEDDED:
            binary = valkey_binary() if store == VALKEY else redis_binary()
            redis = stack.enter_context(running(binary))
        lines = [stack.enter_context(Proxy(str(redis.socket))) for _ in range(servers) if redis is not None]
        made = [
            RealServer(
                home / str(number),
                *arguments,
                redis_url=f"redis://127.0.0.1:{lines[number].port}" if lines else "",
                root=home / "root",
            )
            for number in range(servers)
        ]
        _share_session_key(made)
        for server in made:
            if redis is not None:
                server.store_url = redis.url
            stack.callback(_end, server)
        with ThreadPoolExecutor() as starting:
            list(starting.map(RealServer.start, made))
        doors = [stack.enter_context(Proxy(f"127.0.0.1:{server.port}")) for server in made]
        whole = Site(made, OwnStore(redis) if redis else EmbeddedStore(made[0]), lines, doors, redis)
        stack.callback(whole.close)
        yield whole


class Sites:
    """Sites that run, one of each kind, so that not every test has to start servers. ``with`` ends all.

    What is asked for is as healthy as after a start: a test that fails must ``discard`` what it used.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[int, str], tuple[Site, ExitStack]] = {}

    def get(self, servers: int, store: str) -> Site:
        """A site of this kind, started if there is none."""
        found = self._running.get((servers, store))
        if found is None:
            with ExitStack() as stack:
                found = stack.enter_context(site(servers, store)), stack.pop_all()
            self._running[servers, store] = found
        return found[0]

    def discard(self, place: Site) -> None:
        """End a site; it may be damaged."""
        for kind, (one, stack) in list(self._running.items()):
            if one is place:
                del self._running[kind]
                stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place, _ in list(self._running.values()):
            self.discard(place)


def _share_session_key(servers: list[RealServer]) -> None:
    # as docs/protocol.md says: who shares documents shares this file
    key = secrets.token_bytes(32)
    for server in servers:
        server.state_dir.mkdir(parents=True, mode=0o700)
        file = server.state_dir / "session.key"
        file.touch(mode=0o600)
        file.write_bytes(key)


def _end(server: RealServer) -> None:
    print(f"--- log of {server.url}\n{server.log_tail(6000)}")
    server.stop()
