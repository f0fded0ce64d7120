"""A real Jupyter server with our extension and its embedded Valkey, to be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from pycrdt import Doc

from jupyter_collab_ext.simulated import Browser, Group, Report, judge
from jupyter_collab_ext.simulated.notebook_edits import read_document, read_notebook
from notebook_sync.adapters.embedded_valkey import EmbeddedValkey
from notebook_sync.adapters.redis_connection import connect
from notebook_sync.adapters.redis_store import RedisUpdateStore
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from notebook_sync.core.limits import Limits
from notebook_sync.ports import Loaded
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import wait_until

FILE_WITHIN = 30.0
"""Seconds of quiet until a file must hold everything, on a busy machine."""


class RealServer(JupyterProcess):
    """Our server as people run it. ``home`` should be short: a unix socket's name may not be long."""

    def __init__(self, home: Path, *arguments: str, redis_url: str = "", root: Path | None = None) -> None:
        environ = {"JUPYTER_COLLAB_REDIS_URL": redis_url} if redis_url else {}
        super().__init__(home, arguments=arguments, environ=environ, root=root)
        self.state_dir = home / "state"
        self.store_url = redis_url or EmbeddedValkey(self.state_dir, Limits()).url
        """Where tests look at the store, whatever lies between it and the server."""

    def browser(self) -> Browser:
        """A new profile that logs in with the server's token."""
        return Browser(self.url, token=self.token)

    def write_notebook(self, path: str, cells: int = 6) -> Path:
        """Put a notebook with ``cells`` cells at ``path`` and return its file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        notebook = {
            "cells": [_cell(number) for number in range(cells)],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        file.write_text(json.dumps(notebook, indent=1) + "\n")
        return file

    async def restart_after_kill(self) -> None:
        """kill -9, and start again on the same port with the same folders; others go on meanwhile."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)

    def valkey(self) -> psutil.Process | None:
        """The embedded Valkey's process, if one is alive."""
        home = str(self.state_dir / "valkey")
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"].startswith("valkey-server") and process.cwd() == home:
                    return process if process.status() != psutil.STATUS_ZOMBIE else None
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return None

    def kill_valkey(self) -> int:
        """kill -9 of the embedded Valkey; returns the id it had."""
        process = self.valkey()
        assert process is not None, f"no Valkey below {self.state_dir}"
        os.kill(process.pid, signal.SIGKILL)
        return int(process.pid)

    async def replayed(self, path: str) -> Doc[Any]:
        """The notebook's document, made only of what Redis has: snapshot and log in a fresh document."""
        limits = Limits()
        redis = await connect(self.store_url, limits)
        try:
            with ThreadPoolExecutor(1) as executor:
                store = RedisUpdateStore(redis, "default", limits, executor)
                document = await store.find_document(DocumentKey(NOTEBOOK, path))
                assert document is not None, f"Redis knows no document at {path}"
                loaded = await store.load(document)
        finally:
            await redis.aclose()
        assert isinstance(loaded, Loaded), loaded
        doc: Doc[Any] = Doc()
        doc.apply_update(loaded.snapshot)
        for entry in loaded.tail:
            for update in entry.updates:
                doc.apply_update(update)
        return doc


def _cell(number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"seed-{number}", "metadata": {}}
    if number % 3:
        source = [f"value_{number} = {number}\n", f"print(value_{number})"]
        return cell | {"cell_type": "code", "source": source, "outputs": [], "execution_count": None}
    return cell | {"cell_type": "markdown", "source": [f"# Step {number}\n", "What we found."]}


@contextmanager
def real_server(
    *arguments: str, prepare: Callable[[RealServer], None] = lambda server: None
) -> Iterator[RealServer]:
    """A running server in a folder of its own, stopped and removed at the end. ``prepare`` is called
    before it starts. Its log goes to standard output, which pytest shows when a test fails."""
    home = Path(tempfile.mkdtemp(prefix="collab-"))
    server = RealServer(home, *arguments)
    try:
        prepare(server)
        server.start()
        yield server
    finally:
        print(f"--- log of {server.url}\n{server.log_tail(8000)}")
        try:
            server.stop()
        finally:
            shutil.rmtree(home, ignore_errors=True)


async def judged(server: RealServer, group: Group) -> Report:
    """Let the group settle, and judge every copy there is: all clients, a fresh joiner, what Redis has
    replayed from nothing, and the file."""
    await group.until_settled(60)
    joiner = await group.join(server.browser())
    documents = {f"client {number}": client.doc for number, client in enumerate(group.clients[:-1])}
    documents["fresh joiner"] = joiner.doc
    file = server.root / group.path
    expected = read_document(group.clients[0].doc)

    def file_is_there() -> bool:
        return read_notebook(json.loads(file.read_bytes())) == expected

    await wait_until(file_is_there, FILE_WITHIN, f"{group.path} holds what the document holds")
    documents["Redis replayed"] = await server.replayed(group.path)
    return judge(group.log, documents, {"file": file.read_bytes()})
