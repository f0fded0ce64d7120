"""The extension in a process of its own: how it ends, and how it refuses to start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pycrdt import Array, Doc, create_sync_message, create_update_message, handle_sync_message
from websockets.sync.client import connect

from tests.support.stock_server import JupyterProcess, free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
PASSWORD = "geheim-und-lang"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JupyterProcess]:
    """A server with a notebook, that saves by itself only after a minute."""
    process = JupyterProcess(
        tmp_path,
        app="tests.support.interruptible_server",
        arguments=["--JupyterCollab.document_save_delay=60"],
        environ={"PYTHONPATH": str(REPOSITORY)},
    )
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")]), process.root / "work.ipynb"
    )
    with process:
        yield process


def type_into(server: JupyterProcess, text: str) -> None:
    """Type into the notebook's first cell, and see that the server has taken it."""
    with connect(server.room_url("work.ipynb"), proxy=None) as socket:
        doc: Doc[Any] = Doc()
        socket.send(create_sync_message(doc))
        while True:
            frame = socket.recv(timeout=30)
            assert isinstance(frame, bytes)
            if frame[:2] == b"\x00\x01":
                handle_sync_message(frame[1:], doc)
                break
        state = doc.get_state()
        source = doc.get("cells", type=Array)[0]["source"]
        source += text
        socket.send(create_update_message(doc.get_update(state)))
        while text.encode() not in _answer(socket):
            pass


def _answer(socket: Any) -> bytes:
    socket.send(create_sync_message(Doc()))
    frame = socket.recv(timeout=30)
    assert isinstance(frame, bytes)
    return frame


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted without a terminal"]
)
def test_an_orderly_end_saves(server: JupyterProcess, how: signal.Signals) -> None:
    type_into(server, "  # last words")
    assert "# last words" not in (server.root / "work.ipynb").read_text()
    server._end(how)
    assert "# last words" in (server.root / "work.ipynb").read_text()


def test_a_second_signal_disturbs_nothing(server: JupyterProcess) -> None:
    type_into(server, "  # last words")
    assert server._process is not None
    server._process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in server.log_tail(20000), what="the first signal is handled")
    server._end(signal.SIGTERM)
    assert "# last words" in (server.root / "work.ipynb").read_text()


def test_the_log_is_quiet_about_a_password(tmp_path: Path) -> None:
    code, log = refused_start(tmp_path, redis_url=f"redis://ann:{PASSWORD}@127.0.0.1:{free_port()}/0")
    assert code == 1
    assert "can't be reached" in log
    assert PASSWORD not in log


@pytest.mark.parametrize("where", ["command line", "configuration file"])
def test_no_password_in_the_most_detailed_log(tmp_path: Path, where: str) -> None:
    url = f"redis://ann:{PASSWORD}@127.0.0.1:{free_port()}/0"
    if where == "command line":
        code, log = refused_start(tmp_path, "", f"--JupyterCollab.redis_url={url}")
    else:
        config = tmp_path / "config" / "jupyter_jupyter_collab_ext_config.json"
        config.parent.mkdir()
        config.write_text(json.dumps({"JupyterCollab": {"redis_url": url}}))
        code, log = refused_start(tmp_path, "")
    assert code == 1
    assert "can't be reached" in log
    assert "Config changed" in log
    assert PASSWORD not in log


def test_a_wrong_address_is_refused_at_once(tmp_path: Path) -> None:
    code, log = refused_start(tmp_path, redis_url=f"http://ann:{PASSWORD}@redis.example")
    assert code == 1
    assert "must begin with redis://" in log
    assert PASSWORD not in log
    assert "Jupyter Server" not in log, "it ends before it serves"


def refused_start(home: Path, redis_url: str, *arguments: str) -> tuple[int, str]:
    """Run a server that must not start: its exit code, and all it says, in full detail."""
    template = JupyterProcess(home)
    command = [
        sys.executable, "-m", "jupyter_server", "--debug", "--no-browser", "--allow-root",
        f"--ServerApp.port={template.port}", f"--ServerApp.root_dir={template.root}", *arguments,
    ]  # fmt: skip
    environment = template._environ | {"JUPYTER_COLLAB_REDIS_URL": redis_url}
    ended = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_it_loads_by_itself_and_reports_its_version(server: JupyterProcess) -> None:
    status = json.loads(server.request("GET", "api/collaboration/status").text)
    assert status["redis"] == "embedded"
    assert status["version"]
