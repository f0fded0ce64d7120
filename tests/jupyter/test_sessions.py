"""One kernel for each notebook, also the way JupyterLab asks for it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_collab_ext.sessions import path_meant


@pytest.mark.parametrize(
    ("path", "name", "meant"),
    [
        ("a/5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10", "work.ipynb", "a/work.ipynb"),
        ("5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10", "work.ipynb", "work.ipynb"),
        ("a/work.ipynb", "work.ipynb", "a/work.ipynb"),
        ("a/work.ipynb", "other", "a/work.ipynb"),
        ("a/5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10", "", "a/5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10"),
        ("a/5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10", "../x", "a/5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10"),
        ("x-5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10", "C", "x-5f0c2b64-6c1e-4f5e-9d1a-0c7f6f3b2a10"),
    ],
)  # fmt: skip
def test_the_document_behind_a_random_name(path: str, name: str, meant: str) -> None:
    assert path_meant(path, name) == meant


async def test_pages_that_open_a_notebook_together_get_one_kernel(
    server: Any, jp_fetch: Callable[..., Any], notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")

    async def as_jupyterlab() -> dict[str, Any]:
        path = str(uuid.uuid4())
        asked = {"path": path, "type": "notebook", "name": "work.ipynb", "kernel": {"name": "python3"}}
        answer = await jp_fetch("api", "sessions", method="POST", body=json.dumps(asked))
        session: dict[str, Any] = json.loads(answer.body)
        # With any other answer JupyterLab would shut the session down, and with it everybody's kernel.
        assert session["path"] == session["notebook"]["path"] == path
        change = json.dumps({"id": session["id"], "path": "work.ipynb"})
        await jp_fetch("api", "sessions", session["id"], method="PATCH", body=change)
        return session

    sessions = await asyncio.gather(*(as_jupyterlab() for _ in range(7)))

    assert len({(session["id"], session["kernel"]["id"]) for session in sessions}) == 1
    [listed] = json.loads((await jp_fetch("api", "sessions")).body)
    assert listed["path"] == "work.ipynb"
    assert len(json.loads((await jp_fetch("api", "kernels")).body)) == 1
    await jp_fetch("api", "sessions", sessions[0]["id"], method="DELETE")
