"""``jupyter collab start`` as a program: its secrets stay its own, and it refuses in a sentence."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jupyter_collab_ext.people import GROUP
from jupyter_collab_ext.people_file import FORMAT
from jupyter_collab_ext.simulated import Browser
from tests.support.redis_servers import redis_binary, running
from tests.support.started_group import StartedGroup
from tests.support.stock_server import free_port, own_folders

pytestmark = pytest.mark.system

PASSWORD = "geheim-und-lang"


def refused(home: Path, *words: str, **environment: str) -> str:
    """What the program says on its way out with code 1."""
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("jupyter-collab")), "start", "--no-browser", *words],
        env=own_folders(home) | environment, cwd=home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1, said
    assert PASSWORD not in said
    return said


@pytest.mark.parametrize(
    ("address", "how"),
    [("http://x", "option"), (f"redis://:{PASSWORD}@127.0.0.1:{{port}}/0", "variable")],
    ids=["of no kind", "of nobody"],
)
def test_a_redis_that_is_none(tmp_path: Path, address: str, how: str) -> None:
    url = address.format(port=free_port())
    words = ("--root", str(tmp_path / "r"), "--port", str(free_port()))
    if how == "option":
        said = refused(tmp_path, *words, "--redis-url", url)
    else:
        said = refused(tmp_path, *words, JUPYTER_COLLAB_REDIS_URL=url)
    assert "redis_url" in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--root", str(tmp_path / "r"), "--port", str(port))
    assert said.startswith(f"jupyter collab: port {port} is taken: ")


def test_a_damaged_roster(tmp_path: Path) -> None:
    state = tmp_path / "r" / ".collab"
    state.mkdir(parents=True)
    (state / "people.json").write_text('{"format": 1}')
    said = refused(tmp_path, "--root", str(tmp_path / "r"))
    assert "people.json is damaged" in said
    assert (state / "people.json").read_text() == '{"format": 1}'


async def test_the_states_folder_and_the_redis_password_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(redis_binary(), "--requirepass", PASSWORD) as redis:
        group = StartedGroup(tmp_path, "--people", "1")
        address = f"unix://:{PASSWORD}@{redis.socket}"
        folders = own_folders(tmp_path) | {"JUPYTER_COLLAB_REDIS_URL": address}
        monkeypatch.setattr("tests.support.started_group.own_folders", lambda home: folders)
        with group:
            for process in (group_process := psutil.Process(pid_of(group))), *group_process.children(True):
                assert PASSWORD not in " ".join(process.cmdline())
            for file in (group.root / ".collab").iterdir():
                assert file.is_dir() or file.stat().st_mode & 0o077 == 0, file
            for link in group.links:
                await sees_no_state(group, link.url)
            said = group.stop()
        assert "To go on with the same links:" in said
        assert PASSWORD not in said + group.said()


def pid_of(group: StartedGroup) -> int:
    assert group._process is not None
    return group._process.pid


async def sees_no_state(group: StartedGroup, link: str) -> None:
    """Neither the key of links nor the roster can be read, copied, moved or replaced from a page."""
    browser = Browser(group.url)
    await browser.open_link(link)
    secrets = [
        (group.root / ".collab" / name).read_text(errors="replace")
        for name in os.listdir(group.root / ".collab")
        if name in ("people.json", "links.key")
    ]
    assert len(secrets) == 2
    before = sorted(os.listdir(group.folder))
    for name in (".collab", ".collab/people.json", ".collab/links.key"):
        tries = [
            ("GET", f"api/contents/{name}", None),
            ("GET", f"files/{name}", None),
            ("GET", f"nbconvert/html/{name}", None),
            ("POST", f"api/contents/{name}/checkpoints", None),
            ("POST", f"api/contents/{GROUP}", {"copy_from": name}),
            ("POST", f"api/contents/{GROUP}", {"copy_from": f"/{GROUP}/../{name}"}),
            ("PATCH", f"api/contents/{name}", {"path": f"{GROUP}/mine"}),
            ("PUT", f"api/contents/{name}", {"type": "file", "format": "text", "content": "{}"}),
            ("DELETE", f"api/contents/{name}", None),
            ("PUT", f"api/collaboration/session/{name}", {"format": "text", "type": "file"}),
        ]
        for method, path, body in tries:
            answer = await browser.request(method, path, body=body)
            assert answer.status >= 400, (method, path, body, answer.status, answer.body[:300])
            assert not any(secret.encode()[:20] in answer.body for secret in secrets)
    browser.close()
    assert sorted(os.listdir(group.folder)) == before
    assert json.loads((group.root / ".collab" / "people.json").read_text())["format"] == FORMAT
