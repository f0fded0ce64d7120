"""An event of many groups as an organiser has it: files, one command in a terminal, links on the screen."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat

from tests.support.stock_server import START_TIMEOUT, STOP_TIMEOUT, free_port, interrupt, own_folders
from tests.support.waiting import eventually

PROGRAM = str(Path(sys.executable).with_name("jupyter-collab"))
LINK = re.compile(r"https?://\S+/join\?key=[a-z2-7]{26}(?=\s)")
GREETED = "Ctrl-C saves and stops."


class StartedEvent:
    """``groups`` of ``size`` participants and ``tutors`` who share them; ``with`` starts and stops it."""

    def __init__(self, home: Path, *, groups: int, size: int, tutors: int) -> None:
        self.home = home
        self.root = home / "event"
        self.state_dir = self.root / ".collab"
        self.port = free_port()
        self.file = home / "hackathon.toml"
        self.seconds_to_links = 0.0
        """From the command to the last link on the screen."""
        self._write(groups, size, tutors)
        self._process: subprocess.Popen[bytes] | None = None
        self._shown = bytearray()
        self._reader: threading.Thread | None = None

    def _write(self, groups: int, size: int, tutors: int) -> None:
        for folder in ("exercises", "big"):
            (self.home / folder).mkdir()
        cells = [nbformat.v4.new_code_cell("1 + 1", id="one")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.home / "exercises" / "work.ipynb")
        (self.home / "big" / "table.csv").write_text("a,b\n1,2\n")
        names = [f"Gruppe Übung {number}" for number in range(1, groups + 1)]
        lines = ['root = "event"', 'notebooks = "exercises"', 'data = "big"', 'roster = "people.csv"']
        lines += [f"[server]\nport = {self.port}"]
        lines += [f'[[groups]]\nname = "{name}"\ntopic = "Ferries"' for name in names]
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (self.home / "people.csv").open("w", encoding="utf-8-sig", newline="") as file:
            rows = csv.writer(file, delimiter=";")
            rows.writerow(("Name", "Email", "Role", "Group"))
            for number in range(tutors):
                rows.writerow((f"Tutor {number + 1}", "", "tutor", ";".join(names[number::tutors])))
            for name in names:
                for number in range(1, size + 1):
                    rows.writerow((f"Person {number} of {name}", "", "participant", name))

    # --- what is there --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Ends with a slash."""
        return f"http://127.0.0.1:{self.port}/"

    def shown(self) -> str:
        """All that the terminal shows."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._shown.decode(errors="replace"))

    def rows(self) -> list[dict[str, str]]:
        """The file of links."""
        with (self.state_dir / "links.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def people(self) -> dict[str, Any]:
        """The file of people."""
        data: dict[str, Any] = json.loads((self.state_dir / "people.json").read_text())
        return data

    # --- what an organiser does ------------------------------------------------------------------------

    def start(self) -> None:
        """Type the command into a terminal of 120 columns; wait for its greeting."""
        ours, theirs = pty.openpty()
        environ = own_folders(self.home) | {"COLUMNS": "120", "TERM": "xterm-256color"}
        self._shown.clear()
        began = time.monotonic()
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "start", str(self.file), "--no-browser"],
                env=environ, cwd=self.home, stdin=subprocess.DEVNULL, stdout=theirs, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()
        eventually(self._greeted, timeout=START_TIMEOUT, what="a greeting")
        self.seconds_to_links = time.monotonic() - began

    def _read(self, terminal: int) -> None:
        try:
            while data := os.read(terminal, 65536):
                self._shown += data
        except OSError:
            pass  # how a terminal ends
        finally:
            os.close(terminal)

    def _greeted(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.shown() + self.said()
        return GREETED in self.shown()

    def said(self) -> str:
        """What the server logged."""
        return (self.home / "server.log").read_text(errors="replace")

    def command(self, *words: str) -> str:
        """What another command says, typed somewhere else while the server runs."""
        ended = subprocess.run(
            [PROGRAM, *words, "--root", str(self.root)], env=own_folders(self.home), cwd=self.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_TIMEOUT, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def stop(self) -> None:
        """Ctrl-C. Raises AssertionError when it does not end in time."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            interrupt(process)
        finally:
            assert self._reader is not None
            self._reader.join(STOP_TIMEOUT)

    def __enter__(self) -> StartedEvent:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
