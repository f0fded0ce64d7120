"""``jupyter collab doctor``: what it says of a machine that is ready, and of each thing that is not."""

from __future__ import annotations

import importlib.metadata
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jupyter_collab_ext.cli import app
from jupyter_collab_ext.cli.doctor import (
    BAD,
    FRONT_END,
    GIB,
    GOOD,
    WARNING,
    Asked,
    folder,
    front_end,
    memory,
    reached,
    versions,
)
from jupyter_collab_ext.people import new_roster
from jupyter_collab_ext.people_file import save
from notebook_sync import checkup
from notebook_sync.core.roles import Role
from tests.support.stock_server import free_port


@pytest.fixture(autouse=True)
def nobody_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("JUPYTER_COLLAB_REDIS_URL", raising=False)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments], terminal_width=200)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_machine_that_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roster = new_roster().with_people("group-1", Role.PARTICIPANT, "Participant", 2)
    (tmp_path / ".collab").mkdir(mode=0o700)
    save(roster, tmp_path / ".collab")
    before = sorted(tmp_path.rglob("*"))
    code, output = run("--root", str(tmp_path), "--port", str(free_port()))
    assert code == 0, output
    for what in ("versions", "front end", "open files", "memory", "disk", "folder", "redis", "port"):
        assert what in output
    assert "the embedded Valkey answers" in output
    assert sorted(tmp_path.rglob("*")) == before, "looking leaves nothing behind"


def test_what_is_bad_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = run(
            "--root", str(tmp_path), "--port", str(port), "--redis-url", f"redis://:secret@127.0.0.1:{free_port()}"
        )  # fmt: skip
    assert code == 1
    assert f"port {port} of 127.0.0.1" in output
    assert "choose another with --port" in output
    assert "can't be reached" in output
    assert "secret" not in output


def test_a_damaged_roster(tmp_path: Path) -> None:
    (tmp_path / ".collab").mkdir()
    (tmp_path / ".collab" / "people.json").write_text("[]")
    code, output = run("--root", str(tmp_path))
    assert code == 1
    assert "restore it from a backup" in output


def asked(tmp_path: Path, **other: Any) -> Asked:
    given = {
        "root": tmp_path, "state_dir": tmp_path, "ip": "127.0.0.1", "port": free_port(), "public_url": None,
        "redis_url": None, "kernels": 1,
    }  # fmt: skip
    return Asked(**{**given, **other})


async def test_a_proxy_without_websockets(tmp_path: Path) -> None:
    from tests.support.reverse_proxy import ReverseProxy

    port = free_port()
    async with ReverseProxy(("127.0.0.1", port), drops={"upgrade"}) as proxy:
        found = await reached(asked(tmp_path, port=port, public_url=proxy.url))
        assert found.how == BAD
        assert "proxy_set_header Upgrade" in found.do
        proxy.drops.clear()
        assert (await reached(asked(tmp_path, port=port, public_url=proxy.url))).how == GOOD


@pytest.mark.parametrize(
    ("free", "kernels", "how"),
    [(8 * GIB, 10, GOOD), (4 * GIB, 10, WARNING), (1 * GIB, 10, BAD), (None, 1, WARNING)],
)
def test_memory(free: int | None, kernels: int, how: str) -> None:
    found = memory(free, kernels)
    assert found.how == how
    if how != GOOD:
        assert "take about" in found.do


def test_versions() -> None:
    assert versions(importlib.metadata.version).how == GOOD
    old = versions(lambda package: "0.1")
    assert (old.how, "jupyterlab>=4.6" in old.do) == (WARNING, True)

    def missing(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    assert versions(missing).do == "pip install jupyterlab"


def test_front_end(tmp_path: Path) -> None:
    assert front_end([str(tmp_path)]).how == BAD
    for name in FRONT_END:
        (tmp_path / name).mkdir(parents=True)
    assert front_end(["/nowhere", str(tmp_path)]).how == GOOD


@pytest.mark.parametrize(
    ("missing", "seconds", "how", "do"),
    [
        ([], 0.001, GOOD, ""),
        (["exchange"], 0.001, WARNING, "ext4"),
        (["locks"], 0.001, BAD, "NFS 4 with locks"),
        ([], 0.5, WARNING, "faster disk"),
    ],
)
def test_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str], seconds: float, how: str, do: str
) -> None:
    monkeypatch.setattr(checkup, "file_system", lambda there: (missing, seconds))
    _, found = folder(tmp_path / "not" / "yet", "folder")
    assert (found.how, do in found.do) == (how, True)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(there: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkup, "file_system", refuse)
    _, found = folder(tmp_path, "folder")
    assert (found.how, "choose another --root" in found.do) == (BAD, True)


def test_this_file_system_is_really_tried(tmp_path: Path) -> None:
    missing, seconds = checkup.file_system(tmp_path)
    assert "locks" not in missing
    assert "rename" not in missing
    assert seconds > 0
    assert list(tmp_path.iterdir()) == []
