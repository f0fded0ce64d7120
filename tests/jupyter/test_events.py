"""The events that jupyter-collaboration's clients listen to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from jupyter_collab_ext import events
from jupyter_collab_ext.extension import JupyterCollab
from notebook_sync.app import Told
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from tests.support.jupyter_wait import DEADLINE, until


@pytest.fixture
def heard(server: Any) -> list[dict[str, Any]]:
    """What listeners of our schemas hear."""
    got: list[dict[str, Any]] = []

    async def listener(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        got.append({"schema": schema_id, **data})

    for schema in (events.SESSION, events.AWARENESS, events.FORK):
        server.event_logger.add_listener(schema_id=schema, listener=listener)
    return got


def test_schemas_are_registered_once() -> None:
    logger = EventLogger()
    events.register(logger)
    events.register(logger)
    assert {events.SESSION, events.AWARENESS, events.FORK} <= set(logger.schemas.schema_ids)


async def test_join_and_leave_name_room_and_person(
    room: Any, session: Any, notebook: Callable[..., Path], heard: list[dict[str, Any]]
) -> None:
    notebook("work.ipynb")
    socket = await room("work.ipynb")
    _, names = await session("work.ipynb")
    name = f"json:notebook:{names['fileId']}"
    await until(lambda: any(event.get("action") == "join" for event in heard), "the join is heard")
    socket.close()
    await until(lambda: any(event.get("action") == "leave" for event in heard), "the leave is heard")
    people = [event for event in heard if event["schema"] == events.AWARENESS]
    assert [event["action"] for event in people] == ["join", "leave"]
    assert {event["roomid"] for event in people} == {name}
    assert len({event["username"] for event in people}) == 1
    assert all(event["username"] for event in people)


async def test_opening_is_initialize_then_load(
    room: Any, session: Any, notebook: Callable[..., Path], heard: list[dict[str, Any]]
) -> None:
    notebook("work.ipynb")
    await room("work.ipynb")
    _, names = await session("work.ipynb")
    await until(lambda: any(event.get("action") == "load" for event in heard), "the load is heard")
    life = [event for event in heard if event["schema"] == events.SESSION]
    assert [event["action"] for event in life if "action" in event][:2] == ["initialize", "load"]
    assert {event["room"] for event in life} == {f"json:notebook:{names['fileId']}"}
    assert {event["path"] for event in life} == {"work.ipynb"}
    assert {event["level"] for event in life} == {"INFO"}


async def test_a_person_is_in_the_lobby_once(dial: Any, heard: list[dict[str, Any]], cookie: str) -> None:
    headers = {"Authorization": "", "Cookie": cookie}
    tabs = [
        await dial("api/collaboration/room", "JupyterLab:globalAwareness", headers=dict(headers))
        for _ in range(2)
    ]
    await until(lambda: len(heard) == 1, "the join is heard")
    tabs[0].close()
    tabs[1].close()
    await until(lambda: len(heard) == 2, "the leave is heard")
    assert [event["action"] for event in heard] == ["join", "leave"]
    assert {event["roomid"] for event in heard} == {"JupyterLab:globalAwareness"}
    assert len({event["username"] for event in heard}) == 1


async def test_warnings_do_not_open_the_two_views_dialog(
    collab: JupyterCollab, heard: list[dict[str, Any]]
) -> None:
    assert collab.service is not None
    key = DocumentKey(NOTEBOOK, "work.ipynb")
    collab.service.events(Told("overwrite", key, "WARNING", "merged"))
    collab.service.events(Told("save", key, "ERROR", "disk full"))
    collab.service.events(Told("status", key, "INFO", "degraded"))
    await until(lambda: len(heard) == 3, "all are heard")
    assert [(event["level"], event.get("action")) for event in heard] == [
        ("INFO", "overwrite"),
        ("ERROR", "save"),
        ("INFO", None),
    ]


async def test_a_bad_event_does_not_reach_the_engine(collab: JupyterCollab) -> None:
    assert collab.service is not None
    collab.service.events(Told("save", DocumentKey(NOTEBOOK, "work.ipynb"), "NONSENSE", ""))


async def test_subscribers_of_jupyter_get_them(
    jp_ws_fetch: Any, room: Any, notebook: Callable[..., Path]
) -> None:
    import asyncio

    notebook("work.ipynb")
    subscriber = await jp_ws_fetch("api/events/subscribe")
    await room("work.ipynb")
    async with asyncio.timeout(DEADLINE):
        while True:
            event = json.loads(await subscriber.read_message())
            if event["schema_id"] == events.AWARENESS:
                break
    assert event["action"] == "join"
    subscriber.close()
    async with asyncio.timeout(DEADLINE):
        while await subscriber.read_message() is not None:
            pass
