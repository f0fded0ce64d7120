"""A kernel's socket: who may only look gets outputs and answers, and nothing they send runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_collab_ext.kernel_channels import HARMLESS, V1, ReadOnlyForObservers
from notebook_sync.core.roles import Role
from tests.support.kernel_socket import FORMATS, encoded, kernel_socket, message, run
from tests.support.people_here import Event

REQUESTS = (
    "execute_request",
    "input_reply",
    "comm_open",
    "comm_msg",
    "comm_close",
    "complete_request",
    "inspect_request",
    "is_complete_request",
    "debug_request",
    "shutdown_request",
    "interrupt_request",
    "create_subshell_request",
)


class Passing:
    """In the place of Jupyter's connection: notes what would go to the kernel."""

    def __init__(self, person: Any, form: str) -> None:
        user = SimpleNamespace(
            username="x", name="x", display_name="x", initials="x", avatar_url=None, color="#000"
        )
        self.websocket_handler = SimpleNamespace(current_user=person or user, settings={})
        self.subprotocol = V1 if form == "v1" else None
        self.passed: list[bytes | str] = []

    def handle_incoming_message(self, incoming_msg: bytes | str) -> None:
        self.passed.append(incoming_msg)


class Channel(ReadOnlyForObservers, Passing):
    """The class under test over it."""


def channel(role: Role | None, form: str) -> Channel:
    from jupyter_collab_ext.identity import Guest
    from jupyter_collab_ext.people import Person

    person = None if role is None else Guest.of(Person("p", "P", "P", "#112233", role, ("group-1",)))
    return Channel(person, form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", [*REQUESTS, *sorted(HARMLESS)])
@pytest.mark.parametrize("where", ["shell", "control", "stdin"])
def test_what_goes_through(form: str, kind: str, where: str) -> None:
    wire = encoded(message(kind, run("1"), where), form)
    for role in (Role.ORGANISER, Role.TUTOR, Role.PARTICIPANT, None):
        able = channel(role, form)
        able.handle_incoming_message(wire)
        assert able.passed == [wire], role
    observer = channel(Role.OBSERVER, form)
    observer.handle_incoming_message(wire)
    assert observer.passed == ([wire] if kind in HARMLESS else [])


def swapped(wire: bytes) -> bytes:
    return wire.replace(b"execute_request", b"kernel_info_req")


@pytest.mark.parametrize(
    ("form", "wire"),
    [
        ("v1", ""),
        ("v1", "{}"),
        ("v1", b""),
        ("v1", b"\0" * 8),
        ("v1", b"\xff" * 64),
        ("v1", swapped(bytes(encoded(message("execute_request", {}), "v1")))),  # type: ignore[arg-type]  # bytes
        ("text", ""),
        ("text", "[]"),
        ("text", "{"),
        ("text", '{"header": "kernel_info_request"}'),
        ("text", '{"header": {"msg_type": ["kernel_info_request"]}}'),
        ("text", '{"msg_type": "kernel_info_request", "header": {"msg_type": "execute_request"}}'),
        (
            "text",
            '{"header": {"msg_type": "kernel_info_request"}, "header": {"msg_type": "execute_request"}}',
        ),
        ("text", "[" * 100_000),
        ("binary", b""),
        ("binary", b"\0\0\0\1"),
        ("binary", b"\xff" * 64),
    ],
)
def test_what_can_not_be_read_does_not_go_through(form: str, wire: bytes | str) -> None:
    observer = channel(Role.OBSERVER, form)
    observer.handle_incoming_message(wire)
    assert observer.passed == []


@pytest.mark.parametrize("form", ["v1", "binary"])
@pytest.mark.parametrize("count", [0, 16, 1 << 20, (1 << 32) - 1, 1 << 62])
def test_nobody_makes_the_server_count_to_infinity(form: str, count: int) -> None:
    start = count.to_bytes(8, "little") if form == "v1" else (count % (1 << 32)).to_bytes(4, "big")
    for role in Role:
        for size in (0, 8, 56):
            wild = channel(role, form)
            wild.handle_incoming_message(start + b"\0" * size)
            assert wild.passed == []


@pytest.mark.parametrize("form", FORMATS)
async def test_an_observer_looks_while_others_run(event: Event, form: str) -> None:
    async with event.browser("participant-1") as participant, event.browser("observer-1") as observer:
        opened = await participant.request(
            "POST",
            "api/sessions",
            body={"path": "group-1/work.ipynb", "type": "notebook", "name": "work.ipynb"},
        )
        session: Any = opened.json()
        kernel = session["kernel"]["id"]
        async with (
            kernel_socket(participant, kernel, form) as runs,
            kernel_socket(observer, kernel, form) as looks,
        ):
            first = await runs.send("kernel_info_request", {})
            await runs.answer("kernel_info_reply", first)
            tried = await looks.send("execute_request", run("tried = 1; print('from an observer')"))
            asked = await looks.send("kernel_info_request", {})
            # The kernel answers in order, so that what came before this was dropped.
            assert (await looks.answer("kernel_info_reply", asked))["status"] == "ok"
            assert await runs.text("print('tried' in globals(), 6 * 7)") == "False 42\n"
            [own] = [content for kind, _, content in runs.seen if kind == "execute_reply"]
            assert own["execution_count"] == 1
            [request] = [parent["msg_id"] for kind, parent, _ in runs.seen if kind == "execute_reply"]
            assert (await looks.answer("stream", request))["text"] == "False 42\n"
            assert not any(parent.get("msg_id") == tried for _, parent, _ in looks.seen)
        assert (await participant.request("DELETE", f"api/sessions/{session['id']}")).status == 204
