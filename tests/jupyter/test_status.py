"""What an organiser sees of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.jupyter_wait import read, refused


async def test_rooms_and_people(jp_fetch: Any, room: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb")
    await read(await room("work.ipynb"), lambda message: message[:2] == b"\x00\x00")
    status = json.loads((await jp_fetch("api/collaboration/status")).body)
    assert status["redis"] == "embedded"
    assert status["node"]
    assert status["people"] == 1
    (shown,) = status["rooms"]
    assert (shown["path"], shown["format"], shown["type"]) == ("work.ipynb", "json", "notebook")
    assert shown["state"] == "live"
    assert [person["role"] for person in shown["people"]] == ["organiser"]


async def test_without_login(jp_fetch: Any, server: Any) -> None:
    request = jp_fetch("api/collaboration/status", headers={"Authorization": "token wrong"})
    assert await refused(request) == 403


@pytest.mark.parametrize("role", ["tutor", "participant", "observer"])
async def test_only_who_manages_may_see_it(
    jp_fetch: Any, server: Any, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    from jupyter_collab_ext.rest import status
    from notebook_sync.core.ids import UserId
    from notebook_sync.core.roles import Member, Role

    monkeypatch.setattr(status, "member_of", lambda handler: Member(UserId("ann"), Role(role)))
    assert await refused(jp_fetch("api/collaboration/status")) == 403
