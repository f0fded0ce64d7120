"""The server that other people's clients meet, notebooks for them to work in, and the clients themselves.

``COLLAB_INTEROP_PEER`` may name the python of an environment with jupyter-collaboration installed: then the
same tests run against that server, which shows that they ask for nothing it does not do.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop import environments
from tests.interop.driver import DRIVERS, Driver
from tests.interop.environments import PythonEnvironment
from tests.support.stock_server import JupyterProcess

StartServer = Callable[..., JupyterProcess]
OpenNotebook = Callable[..., Driver]
OpenNode = Callable[..., Driver]

PEER = Path(os.environ["COLLAB_INTEROP_PEER"]) if "COLLAB_INTEROP_PEER" in os.environ else None

BUILD_AND_RUN = 600
"""Seconds for a test that may have to build its client's environment first; it then takes under 60."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BUILD_AND_RUN))
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def server_with() -> Callable[[str], PythonEnvironment]:
    """The environment of a server with the named extension installed beside ours (or the peer's)."""
    return lambda name: environments.server_environment(name, PEER)


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts a server process: ours, or with ``environment=`` ours with another extension beside it."""
    with ExitStack() as running:

        def start(environment: PythonEnvironment | None = None, *arguments: str) -> JupyterProcess:
            python = environment.python if environment else PEER
            environ = environment.environ if environment else {}
            home = tmp_path_factory.mktemp("server")
            server = JupyterProcess(home, python=python, arguments=arguments, environ=environ)
            running.callback(lambda: print(f"--- log of {server.url}\n{server.log_tail()}"))
            return running.enter_context(server)

        yield start


@pytest.fixture
def server(start_server: StartServer) -> JupyterProcess:
    """A server with our extension and the embedded store, nothing configured."""
    return start_server()


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Ends the clients of a test, before its servers."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def open_notebook(clients: ExitStack, tmp_path: Path) -> OpenNotebook:
    """Opens a notebook of a server with jupyter-nbmodel-client, in a process of its own."""
    python = environments.client_environment("nbmodel").python

    def open_as(server: JupyterProcess, username: str, path: str = "work.ipynb") -> Driver:
        command = [str(python), str(DRIVERS / "nbmodel_client.py")]
        driver = clients.enter_context(Driver(command, tmp_path / f"{username}.log"))
        assert driver.call("open", server=server.url, path=path, token=server.token, username=username)
        clients.callback(driver.call, "close")
        return driver

    return open_as


@pytest.fixture
def open_node(clients: ExitStack, tmp_path: Path) -> OpenNode:
    """Opens a document of a server with y-websocket and yjs in node."""
    modules = environments.node_modules()
    script = tmp_path / "node" / "client.mjs"
    script.parent.mkdir()
    shutil.copy(environments.NODE_CLIENT / "client.mjs", script)
    # node looks for packages beside the script, wherever links lead, not beside the process's folder.
    (script.parent / "node_modules").symlink_to(modules)

    def open_as(
        server: JupyterProcess,
        name: str,
        path: str = "work.ipynb",
        format: str = "json",
        type: str = "notebook",
        **params: str,
    ) -> Driver:
        driver = clients.enter_context(
            Driver([str(environments.node()), str(script)], tmp_path / f"{name}.log")
        )
        session = server.session(path, format, type)
        driver.call(
            "connect",
            server=f"{server.ws_url}/api/collaboration/room",
            room=f"{session['format']}:{session['type']}:{session['fileId']}",
            params={"sessionId": session["sessionId"], "token": server.token, **params},
        )
        return driver

    return open_as


def write_notebook(server: JupyterProcess, path: str, *sources: str) -> None:
    """A notebook with a code cell per source, ids ``cell-0`` and on, in the server's root."""
    empty: dict[str, object] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "cells": [{**empty, "id": f"cell-{n}", "source": source} for n, source in enumerate(sources)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (server.root / path).write_text(json.dumps(notebook), encoding="utf-8")


def sources(cells: object) -> list[str]:
    """The sources of a list of cells in nbformat's JSON, in order."""
    assert isinstance(cells, list)
    return ["".join(cell["source"]) for cell in cells]


def cells_on_disk(server: JupyterProcess, path: str = "work.ipynb") -> list[dict[str, object]]:
    """The cells that the file holds now; ``[]`` while it cannot be read."""
    cells = server.notebook_on_disk(path).get("cells", [])
    assert isinstance(cells, list)
    return cells


def output_texts(cell: dict[str, object]) -> list[str]:
    """A code cell's outputs as text: streams, plain-text results, error names."""
    outputs = cell["outputs"]
    assert isinstance(outputs, list)
    return [
        "".join(output["text"])
        if output["output_type"] == "stream"
        else output["ename"]
        if output["output_type"] == "error"
        else "".join(output["data"]["text/plain"])
        for output in outputs
    ]
