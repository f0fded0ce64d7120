"""A Jupyter server with the extension, in the test's own event loop (pytest-jupyter)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import pytest_asyncio
from pytest_jupyter.jupyter_server import *  # noqa: F403  # fixtures, only for the tests of this folder
from tornado.websocket import WebSocketClientConnection

from jupyter_collab_ext.extension import JupyterCollab
from tests.support import two_groups as two
from tests.support.jupyter_wait import closed
from tests.support.people_here import Event, prepared


@pytest_asyncio.fixture(autouse=True)  # type: ignore[no-redef]  # in place of pytest-jupyter's
async def jp_asyncio_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The server lives in the loop that pytest-asyncio runs the test in."""
    yield asyncio.get_running_loop()


@pytest.fixture
def extensions() -> dict[str, bool]:
    """Server extensions beside ours; a test may add to it before it asks for the server."""
    return {"jupyter_collab_ext": True, "jupyter_server_fileid": True, "jupyter_server_terminals": False}


@pytest.fixture
def collab_config() -> dict[str, Any]:
    """Traits of ours; a test module may override it."""
    return {}


@pytest.fixture
def server_options() -> dict[str, Any]:
    """Traits of ``ServerApp``; a fixture may add to it before it asks for the server."""
    return {}


@pytest.fixture  # type: ignore[no-redef]  # in place of pytest-jupyter's
def jp_server_config(
    extensions: dict[str, bool],
    collab_config: dict[str, Any],
    server_options: dict[str, Any],
    tmp_path: Path,
) -> dict[str, Any]:
    """pytest-jupyter's configuration of the server."""
    return {
        "ServerApp": {"jpserver_extensions": extensions, **server_options},
        "JupyterCollab": {"state_dir": str(tmp_path / "state"), **collab_config},
        "BaseFileIdManager": {"db_path": str(tmp_path / "fileid.db")},
    }


@pytest_asyncio.fixture
async def server(jp_serverapp: Any, http_server: Any) -> AsyncIterator[Any]:
    """A server whose start hooks have run and whose engine is up; it is stopped afterwards."""
    await jp_serverapp.extension_manager.start_all_extensions()
    yield jp_serverapp
    await jp_serverapp.extension_manager.stop_all_extensions()


@pytest.fixture
def collab(server: Any) -> JupyterCollab:
    """Our app."""
    app = server.extension_manager.extension_points["jupyter_collab_ext"].app
    assert isinstance(app, JupyterCollab)
    assert app.service is not None
    assert app.service.failure is None
    return app


@pytest.fixture
def notebook(jp_root_dir: Path) -> Callable[..., Path]:
    """Writes a notebook of code cells with the given sources; returns its path on disk."""

    def write(name: str, *sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        path = jp_root_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


Fetch = Callable[..., Awaitable[Any]]


@pytest.fixture
def session(jp_fetch: Fetch, server: Any) -> Callable[..., Awaitable[tuple[int, dict[str, str]]]]:
    """Calls the session endpoint: returns status and body."""

    async def put(path: str, form: str = "json", kind: str = "notebook") -> tuple[int, dict[str, str]]:
        answer = await jp_fetch(
            "api/collaboration/session", path, method="PUT", body=json.dumps({"format": form, "type": kind})
        )
        return answer.code, json.loads(answer.body)

    return put


@pytest_asyncio.fixture
async def cookie(jp_fetch: Fetch, jp_http_port: int, server: Any) -> str:
    """A ``Cookie`` header of somebody who logged in with the token, valid for ``dial``'s host name."""
    answer = await jp_fetch("api/me", headers={"Host": f"localhost:{jp_http_port}"})
    return str(answer.headers.get_list("Set-Cookie")[0].split(";")[0])


@pytest_asyncio.fixture
async def dial(jp_ws_fetch: Fetch, server: Any) -> AsyncIterator[Fetch]:
    """``jp_ws_fetch`` that hangs up by itself after the test."""
    opened: list[WebSocketClientConnection] = []

    async def connect(*parts: str, **options: Any) -> WebSocketClientConnection:
        socket: WebSocketClientConnection = await jp_ws_fetch(*parts, **options)
        opened.append(socket)
        return socket

    yield connect
    for socket in opened:
        socket.close()
        await closed(socket)


@pytest.fixture
def room(dial: Fetch, session: Any) -> Callable[..., Awaitable[WebSocketClientConnection]]:
    """Opens a document's socket as the stock front end does."""

    async def connect(path: str, form: str = "json", kind: str = "notebook") -> WebSocketClientConnection:
        _, names = await session(path, form, kind)
        socket = await dial(
            "api/collaboration/room",
            f"{form}:{kind}:{names['fileId']}",
            params={"sessionId": names["sessionId"]},
        )
        assert isinstance(socket, WebSocketClientConnection)
        return socket

    return connect


@pytest.fixture
def event(
    collab_config: dict[str, Any],
    extensions: dict[str, bool],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    jp_root_dir: Path,
) -> Event:
    """A group with links, its notebook, and the server for it."""
    collab_config["people"] = True
    extensions |= {"jupyterlab": True, "jupyter_server_terminals": True}
    roster = prepared(tmp_path / "state")
    request.getfixturevalue("notebook")("group-1/work.ipynb", "1 + 1")
    request.getfixturevalue("server")
    port, base = request.getfixturevalue("jp_http_port"), request.getfixturevalue("jp_base_url")
    app = request.getfixturevalue("jp_serverapp")
    url = f"http://127.0.0.1:{port}{base}"
    return Event(url, app.identity_provider.token, tmp_path / "state", roster, app.identity_provider)


@pytest.fixture
def two_groups(
    collab_config: dict[str, Any],
    extensions: dict[str, bool],
    server_options: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    jp_root_dir: Path,
) -> Event:
    """Two groups, a folder for all and people of every kind, on a server as ``jupyter lab`` starts it."""
    collab_config["people"] = True
    extensions |= {"jupyterlab": True, "jupyter_server_terminals": True, "jupyter_lsp": True}
    server_options["default_url"] = "/lab"
    roster = two.prepared(jp_root_dir, tmp_path / "state")
    request.getfixturevalue("server")
    port, base = request.getfixturevalue("jp_http_port"), request.getfixturevalue("jp_base_url")
    app = request.getfixturevalue("jp_serverapp")
    url = f"http://127.0.0.1:{port}{base}"
    return Event(url, app.identity_provider.token, tmp_path / "state", roster, app.identity_provider)
