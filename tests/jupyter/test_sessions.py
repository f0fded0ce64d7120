"""One kernel for each notebook, also the way JupyterLab asks for it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminado.management import NamedTermManager

from jupyter_collab_ext.sessions import clean_terminals, path_meant, without_secrets
from tests.support.jupyter_wait import refused
from tests.support.kernel_socket import kernel_socket
from tests.support.people_here import Event


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


async def test_a_slash_in_front_makes_no_second_kernel(
    server: Any, jp_fetch: Callable[..., Any], notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    one, other = await asyncio.gather(*(opened(jp_fetch, path) for path in ("work.ipynb", "/work.ipynb")))
    assert one["kernel"]["id"] == other["kernel"]["id"]
    assert (one["path"], other["path"]) == ("work.ipynb", "/work.ipynb")
    await jp_fetch("api", "sessions", one["id"], method="DELETE")


async def test_two_who_choose_a_kernel_at_once_get_one_and_leave_none_behind(
    server: Any, jp_fetch: Callable[..., Any], notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    session = await opened(jp_fetch, "work.ipynb")
    change = json.dumps({"kernel": {"name": "python3"}})
    changes = (jp_fetch("api", "sessions", session["id"], method="PATCH", body=change) for _ in range(2))
    answers = [json.loads(answer.body) for answer in await asyncio.gather(*changes)]
    kernels = {answer["kernel"]["id"] for answer in answers}
    assert len(kernels) == 1
    assert session["kernel"]["id"] not in kernels
    assert server.kernel_manager.list_kernel_ids() == list(kernels)
    # One who chooses later, and is alone, gets a fresh one as always.
    answer = await jp_fetch("api", "sessions", session["id"], method="PATCH", body=change)
    assert json.loads(answer.body)["kernel"]["id"] not in kernels
    assert len(server.kernel_manager.list_kernel_ids()) == 1
    await jp_fetch("api", "sessions", session["id"], method="DELETE")


async def test_a_change_without_a_login_is_refused(server: Any, jp_fetch: Callable[..., Any]) -> None:
    request = jp_fetch(
        "api", "sessions", str(uuid.uuid4()), method="PATCH", body="{}", headers={"Authorization": "none"}
    )
    assert await refused(request) == 403


async def test_who_opens_while_another_ends_it_gets_a_living_kernel(
    server: Any, jp_fetch: Callable[..., Any], notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    session = await opened(jp_fetch, "work.ipynb")
    _, again = await asyncio.gather(
        server.session_manager.delete_session(session["id"]),
        server.session_manager.create_session("work.ipynb", "work.ipynb", "notebook", "python3"),
    )
    assert again["kernel"]["id"] in server.kernel_manager.list_kernel_ids()
    await jp_fetch("api", "sessions", again["id"], method="DELETE")


async def test_a_kernel_that_does_not_start_blocks_nobody(
    server: Any, jp_fetch: Callable[..., Any], notebook: Callable[..., Path]
) -> None:
    notebook("work.ipynb")
    assert await refused(opened(jp_fetch, "work.ipynb", kernel="no-such-kernel")) == 501
    session = await opened(jp_fetch, "work.ipynb")
    assert server.session_manager._opening == {}
    await jp_fetch("api", "sessions", session["id"], method="DELETE")


async def opened(jp_fetch: Callable[..., Any], path: str, kernel: str = "python3") -> dict[str, Any]:
    asked = {"path": path, "type": "notebook", "name": "work.ipynb", "kernel": {"name": kernel}}
    answer = await jp_fetch("api", "sessions", method="POST", body=json.dumps(asked))
    session: dict[str, Any] = json.loads(answer.body)
    return session


# --- secrets -----------------------------------------------------------------------------------------

SECRETS = {
    "JUPYTER_COLLAB_REDIS_URL": "redis://:hunter2@127.0.0.1:6379",
    "JUPYTER_COLLAB_ANYTHING": "hunter2",
    "JUPYTER_TOKEN": "hunter2",
    "JUPYTER_TOKEN_FILE": "/hunter2",
    "REDISCLI_AUTH": "hunter2",
    "SOME_CACHE": "rediss://user:hunter2@example.org",
    "OTHER_CACHE": "unix:///run/redis?db=1&password=hunter2",
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_left_out(name: str) -> None:
    assert without_secrets({name: SECRETS[name], "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("value", ["redis://127.0.0.1:6379", "postgres://me:secret@127.0.0.1", "unix://x"])
def test_other_addresses_stay(value: str) -> None:
    assert without_secrets({"DATABASE": value}) == {"DATABASE": value}


async def test_a_kernel_has_no_secrets_also_when_it_is_restarted_after_a_rename(
    jp_fetch: Callable[..., Any],
    notebook: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    server: Any,
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INNOCENT", "stays")
    notebook("work.ipynb")
    session = await opened(jp_fetch, "work.ipynb")
    kernel = server.kernel_manager.get_kernel(session["kernel"]["id"])
    assert not hidden(kernel._launch_args["env"])
    change = json.dumps({"path": "renamed.ipynb"})
    await jp_fetch("api", "sessions", session["id"], method="PATCH", body=change)
    assert kernel._launch_args["env"]["JPY_SESSION_NAME"].endswith("work.ipynb"), "Jupyter passed it on"
    assert kernel._launch_args["env"]["INNOCENT"] == "stays"
    assert not hidden(kernel._launch_args["env"])
    await jp_fetch("api", "sessions", session["id"], method="DELETE")
    bare = json.loads((await jp_fetch("api", "kernels", method="POST", body="{}")).body)
    assert not hidden(server.kernel_manager.get_kernel(bare["id"])._launch_args["env"])
    await jp_fetch("api", "kernels", bare["id"], method="DELETE")


async def test_code_that_people_run_sees_no_secrets(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INNOCENT", "stays")
    async with event.browser("participant-1") as browser:
        asked = {"path": "group-1/work.ipynb", "type": "notebook", "name": "work.ipynb"}
        session: Any = (await browser.request("POST", "api/sessions", body=asked)).json()
        async with kernel_socket(browser, session["kernel"]["id"]) as kernel:
            seen = json.loads(await kernel.text("import json, os; print(json.dumps(dict(os.environ)))"))
            assert seen["INNOCENT"] == "stays"
            assert not hidden(seen)
            assert event.token not in str(seen)
            raw = await kernel.text("print(open(f'/proc/{os.getpid()}/environ').read())")
            assert "hunter2" not in raw
        await browser.request("DELETE", f"api/sessions/{session['id']}")


def hidden(environment: dict[str, str]) -> set[str]:
    """Secrets in ``environment``."""
    return {name for name, value in environment.items() if "hunter2" in value or name in SECRETS}


async def test_a_terminal_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    manager = NamedTermManager(shell_command=["true"], extra_env={"JUPYTER_SERVER_ROOT": "/"})
    clean_terminals({"terminal_manager": manager})
    environment = manager.make_term_env()
    assert environment["JUPYTER_SERVER_ROOT"] == "/"
    assert not hidden(environment)
