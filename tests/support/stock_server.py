"""A Jupyter server as a real process, whatever Python environment it lives in.

The extension under test is the one that the environment holds: ours (also with another server extension
beside it), or jupyter-collaboration's own, the peer that shows whether a test asks for what the ecosystem
really relies on.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from tests.support import orphans
from tests.support.waiting import eventually

START_TIMEOUT = 90.0
"""Seconds until a server must answer, on a busy machine."""
STOP_TIMEOUT = 25.0


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C. Raises AssertionError when the command does not end in time; then it is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"the command did not end within {STOP_TIMEOUT:.0f} s") from None


def free_port() -> int:
    """A TCP port that is free on the loopback address now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_folders(home: Path) -> dict[str, str]:
    """Environment variables that keep a Jupyter server's files below ``home``, and nothing of the caller's
    Jupyter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    folders = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTER_COLLAB_STATE_DIR": home / "state",
        "IPYTHONDIR": home / "ipython",
    }
    return kept | {name: str(folder) for name, folder in folders.items()} | {"JUPYTER_PLATFORM_DIRS": "1"}


class JupyterProcess:
    """One Jupyter server with folders of its own below ``home``; ``with`` starts and stops it.

    It can be killed and started again on the same port with the same folders.
    """

    def __init__(
        self,
        home: Path,
        *,
        python: Path | None = None,
        app: str = "jupyter_server",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        self.root = root or home / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self.log = home / "server.log"
        self._python = python or Path(sys.executable)
        self._app = app
        self._arguments = list(arguments)
        self._environ = own_folders(home) | dict(environ or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    @property
    def pid(self) -> int:
        """The process's id; it must have been started."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and neither stopped nor killed."""
        return self._process is not None

    def start(self) -> None:
        """Start the process and wait until it answers. Raises AssertionError with the end of its log."""
        command = [
            str(self._python), "-m", self._app, "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}", f"--IdentityProvider.token={self.token}", *self._arguments,
        ]  # fmt: skip
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.root
            )
        orphans.started(self._process.pid)
        eventually(self._answers, timeout=START_TIMEOUT, what=f"an answer from {self.url}")

    def stop(self) -> None:
        """End it as a user would, and wait. Raises AssertionError when it does not end in time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it without ending it, as a suspended machine is: sockets stay, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One request with the token; ``path`` starts after the server's address and a slash."""
        return httpx.request(method, f"{self.url}/{path}", headers=self.headers, json=body, timeout=30)

    def session(self, path: str, format: str = "json", type: str = "notebook") -> dict[str, str]:
        """What the session endpoint answers for a document: ``{format, type, fileId, sessionId}``."""
        answer = self.request("PUT", f"api/collaboration/session/{path}", {"format": format, "type": type})
        assert answer.status_code in (200, 201), (answer.status_code, answer.text[:400])
        session: dict[str, str] = answer.json()
        return session

    def room_url(self, path: str, format: str = "json", type: str = "notebook") -> str:
        """The websocket address of a document's room, session and token included."""
        session = self.session(path, format, type)
        room = f"{session['format']}:{session['type']}:{session['fileId']}"
        query = f"sessionId={session['sessionId']}&token={self.token}"
        return f"{self.ws_url}/api/collaboration/room/{room}?{query}"

    def notebook_on_disk(self, path: str) -> dict[str, object]:
        """The notebook as the file holds it now; ``{}`` while it cannot be read."""
        try:
            content: dict[str, object] = json.loads((self.root / path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content

    def log_tail(self, size: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def __enter__(self) -> JupyterProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the server ended with {self._process.returncode}:\n{self.log_tail()}")
        try:
            return self.request("GET", "api/status").status_code == 200
        except httpx.TransportError:
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a frozen one hears nothing else
        try:
            process.wait(STOP_TIMEOUT)
            orphans.ended(process.pid)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            orphans.ended(process.pid)
            raise AssertionError(
                f"the server did not end within {STOP_TIMEOUT:.0f} s:\n{self.log_tail()}"
            ) from None
