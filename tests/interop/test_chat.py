"""jupyterlab-chat 0.25.3: its server extension beside ours, its documents by jupyter-ydoc's entry point."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.interop.conftest import StartServer
from tests.interop.driver import DRIVERS, Driver
from tests.interop.environments import PythonEnvironment
from tests.support.stock_server import JupyterProcess
from tests.support.waiting import eventually

CHAT_EVENTS = "https://schema.jupyter.org/jupyterlab_chat/room/v1"


@pytest.fixture
def chat_server(server_with: Callable[[str], PythonEnvironment], start_server: StartServer) -> JupyterProcess:
    return start_server(server_with("chat"))


def test_it_takes_collaboration_for_on(chat_server: JupyterProcess) -> None:
    page = chat_server.request("GET", "lab").text

    config = page.split('<script id="jupyter-config-data" type="application/json">')[1].split("</script>")[0]
    rtc = json.loads(config)["serverSessionRtcInfo"]
    assert rtc["enabled"] is True
    assert rtc["provider"] == "jupyter_server_ydoc"
    assert rtc["providerDetails"]["enabledByTrait"] == ["jupyter_server_documents", "jupyter_server_ydoc"]


def test_two_people_chat_and_its_server_side_takes_part(
    chat_server: JupyterProcess, clients: ExitStack, tmp_path: Path
) -> None:
    (chat_server.root / "team.chat").write_text("{}", encoding="utf-8")

    def join(name: str) -> Driver:
        command = [sys.executable, str(DRIVERS / "chat_client.py")]
        driver = clients.enter_context(Driver(command, tmp_path / f"{name}.log"))
        driver.call("connect", url=chat_server.room_url("team.chat", "text", "chat"))
        return driver

    with chat_events(chat_server) as events:
        ada, grace = join("ada"), join("grace")
        opened = next_event(events, "opened")
        assert opened["path"] == "team.chat"

        ada.call("say", username="ada", text="Does the loss go down? 🙂")
        eventually(lambda: bodies(grace) == ["Does the loss go down? 🙂"], what="ada's message at grace")
        # The chat's model leaves alone what comes before a document counts as loaded: not dirty, once.
        eventually(lambda: grace.call("state").get("dirty") is False, what="the chat to be saved")
        grace.call("say", username="grace", text="It does.")

        # A client writes its own clock and says so; only the model that lives on the server replaces both, in
        # the document it got from us, and that must reach every client.
        eventually(lambda: times_are_raw(ada)[1:] == [False], what="the server's time at ada")
        eventually(lambda: times_are_raw(grace)[1:] == [False], what="the server's time at grace")
        assert bodies(ada) == bodies(grace) == ["Does the loss go down? 🙂", "It does."]
        assert ada.call("users") == ["ada", "grace"]

    def on_disk() -> list[str]:
        content = json.loads((chat_server.root / "team.chat").read_text(encoding="utf-8"))
        return [message["body"] for message in content.get("messages", [])]

    eventually(lambda: on_disk() == bodies(ada), what="the chat's file to follow")


def bodies(client: Driver) -> list[str]:
    return [message["body"] for message in client.call("messages")]


def times_are_raw(client: Driver) -> list[bool]:
    return [message["raw_time"] for message in client.call("messages")]


@contextmanager
def chat_events(server: JupyterProcess) -> Iterator[ClientConnection]:
    url = f"{server.ws_url}/api/events/subscribe?token={server.token}"
    with connect(url, max_size=None) as socket:
        yield socket


def next_event(socket: ClientConnection, action: str) -> dict[str, Any]:
    """The next chat event with this action. Raises TimeoutError when nothing more comes for 30 s."""
    while True:
        event: dict[str, Any] = json.loads(socket.recv(timeout=30))
        if event["schema_id"] == CHAT_EVENTS and event["action"] == action:
            return event
