"""``jupyter collab start`` as people type it: one command, a server, and a link for each person."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.support.stock_server import START_TIMEOUT, free_port, interrupt, own_folders
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Link:
    """A line of the file of links."""

    name: str
    role: str
    url: str


class StartedGroup:
    """The command with ``arguments`` on a root below ``home``; ``with`` starts and stops it.

    Stopped and started again it continues on the same root and port.
    """

    def __init__(self, home: Path, *arguments: str) -> None:
        self.root = home / "root"
        self._home = home
        self._port = free_port()
        self._arguments = arguments
        self._printed = home / "printed.txt"
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def folder(self) -> Path:
        """The group's folder."""
        return self.root / "group-1"

    @property
    def links(self) -> list[Link]:
        """Everybody's link. They are in a file: what is no terminal gets none printed."""
        with (self.state_dir / "links.csv").open(encoding="utf-8-sig", newline="") as file:
            return [Link(row["name"], row["role"], row["link"]) for row in csv.DictReader(file)]

    @property
    def state_dir(self) -> Path:
        """Keys, people, links."""
        return self.root / ".collab"

    @property
    def token(self) -> str:
        """The server's own token, which only who can read its files knows."""
        [file] = (self._home / "runtime").glob("jpserver-*.json")
        token: str = json.loads(file.read_text())["token"]
        return token

    def get(self, path: str) -> Any:
        """The JSON that the server answers to somebody with its token; ``path`` has no slash in front."""
        headers = {"Authorization": f"token {self.token}"}
        answer = httpx.get(f"{self.url}/{path}", headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def start(self) -> None:
        """Run the command and wait until it is ready. Raises AssertionError with what it said."""
        command = [
            str(Path(sys.executable).with_name("jupyter-collab")), "start", "--no-browser",
            "--root", str(self.root), "--port", str(self._port), "--no-ask-names", *self._arguments,
        ]  # fmt: skip
        environ = own_folders(self._home) | {"COLUMNS": "80", "PYTHONUNBUFFERED": "1"}
        with self._printed.open("wb") as printed, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=printed, stderr=log, cwd=self._home
            )
        eventually(self._greeted, timeout=START_TIMEOUT, what="a greeting")

    def stop(self) -> str:
        """Ctrl-C; returns all that was printed. Raises AssertionError when it does not end in time."""
        if self._process is None:
            return ""
        process, self._process = self._process, None
        interrupt(process)
        return self._printed.read_text(encoding="utf-8")

    def said(self) -> str:
        """What it wrote to its log, for people who look for a failure's cause."""
        return self._log.read_text(errors="replace")[-6000:] if self._log.exists() else ""

    def __enter__(self) -> StartedGroup:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        print(f"--- log of {self.url}\n{self.said()}")
        self.stop()

    def _greeted(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the command ended with {self._process.returncode}:\n{self.said()}")
        return "Ctrl-C" in self._printed.read_text(encoding="utf-8", errors="replace")
