"""``jupyter collab demo`` as a program: five people really write, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from jupyter_collab_ext.simulated import Browser
from tests.support.stock_server import START_TIMEOUT, STOP_TIMEOUT, free_port, own_folders
from tests.support.waiting import eventually, wait_until

pytestmark = pytest.mark.system

LINK = re.compile(r"^http\S+/join\?key=\S+$", re.MULTILINE)


@dataclass
class Demo:
    """The running program."""

    process: subprocess.Popen[bytes]
    port: int
    temporary: Path
    output: Path

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def linked(self) -> list[str]:
        assert self.process.poll() is None, self.said()
        return LINK.findall(self.said())

    def notebook(self) -> Path:
        [path] = self.temporary.glob("collab-demo-*/group-1/*.ipynb")
        return path

    def writers(self) -> set[str]:
        """Numbers of the scripted people who have written something that is in the file."""
        cells = nbformat.read(self.notebook(), as_version=4).cells
        notes = [cell for cell in cells if cell.id.startswith("note-") and cell.source.strip()]
        return {cell.id.split("-")[1] for cell in notes}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    temporary = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))  # short: a socket's path has its limits
    port, output = free_port(), tmp_path / "output.txt"
    words = ["demo", "--no-browser", "--seconds", "120", "--port", str(port)]
    environment = own_folders(tmp_path) | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("jupyter-collab")), *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, cwd=tmp_path,
            start_new_session=True,
        )  # fmt: skip
    running = Demo(process, port, temporary, output)
    try:
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_TIMEOUT)
        shutil.rmtree(temporary, ignore_errors=True)


async def test_five_people_write_and_nothing_is_left(demo: Demo) -> None:
    [link] = eventually(demo.linked, timeout=START_TIMEOUT, what="a link")
    family = [psutil.Process(demo.process.pid), *psutil.Process(demo.process.pid).children(recursive=True)]

    browser = Browser(f"http://127.0.0.1:{demo.port}")
    await browser.open_link(link)
    me: Any = (await browser.request("GET", "api/me")).json()
    assert me["identity"]["role"] == "participant"
    browser.close()

    await wait_until(lambda: len(demo.writers()) == 5, START_TIMEOUT, "notes of five people in the file")
    family += psutil.Process(demo.process.pid).children(recursive=True)
    for process in family:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert "key=" not in " ".join(process.cmdline()), "links are in no list of processes"

    os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    assert demo.process.wait(STOP_TIMEOUT) == 0, demo.said()
    assert "The demonstration is over" in demo.said()
    assert "Traceback" not in demo.said()
    assert list(demo.temporary.glob("collab-demo-*")) == []
    _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT)
    assert alive == []
