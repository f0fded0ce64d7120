"""The session endpoint: its contract with the front ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from tests.support.jupyter_wait import refused


async def test_first_created_then_found(session: Any, notebook: Callable[..., Path]) -> None:
    notebook("folder/work.ipynb", "x = 1")
    first, created = await session("folder/work.ipynb")
    again, found = await session("folder/work.ipynb")
    assert (first, again) == (201, 200)
    assert created == found
    assert set(created) == {"format", "type", "fileId", "sessionId"}
    assert (created["format"], created["type"]) == ("json", "notebook")


async def test_file_id_is_the_service_s(session: Any, jp_fetch: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb")
    _, names = await session("work.ipynb")
    answer = await jp_fetch("api/fileid/id", params={"path": "work.ipynb"})
    assert json.loads(answer.body)["id"] == names["fileId"]


async def test_missing_file_is_created_too(session: Any) -> None:
    status, names = await session("nowhere.ipynb")
    assert status == 201
    assert names["sessionId"]


async def test_two_views_have_two_histories(session: Any, notebook: Callable[..., Path]) -> None:
    notebook("work.ipynb")
    _, as_notebook = await session("work.ipynb")
    _, as_text = await session("work.ipynb", "text", "file")
    assert as_text["fileId"] == as_notebook["fileId"]
    assert as_text["sessionId"] != as_notebook["sessionId"]


async def test_get_is_not_allowed(jp_fetch: Any, server: Any) -> None:
    assert await refused(jp_fetch("api/collaboration/session/work.ipynb")) == 405


async def test_without_login(jp_fetch: Any, server: Any) -> None:
    request = jp_fetch(
        "api/collaboration/session/work.ipynb",
        method="PUT",
        body="{}",
        headers={"Authorization": "token wrong"},
    )
    assert await refused(request) == 403


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the body must be JSON"),
        ("", "the body must be JSON"),
        ("{}", "format must be"),
        ('{"format": "json"}', "type must be"),
        ('{"format": "xml", "type": "notebook"}', "format must be"),
        ('{"format": "json", "type": "a b"}', "type must be"),
        ('{"format": 1, "type": "notebook"}', "format must be"),
    ],
)
async def test_bad_body_gets_a_sentence(jp_fetch: Any, server: Any, body: str, says: str) -> None:
    with pytest.raises(HTTPClientError) as error:
        await jp_fetch(
            "api/collaboration/session/work.ipynb", method="PUT", body=body, allow_nonstandard_methods=True
        )
    assert error.value.code == 400
    assert error.value.response is not None
    assert says in json.loads(error.value.response.body)["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("folder", 400),
        ("../outside.ipynb", 404),
        ("folder/../../outside.ipynb", 404),
        (".hidden/x.ipynb", 404),
    ],
)
async def test_not_a_document_s_path(
    jp_fetch: Any, server: Any, notebook: Callable[..., Path], path: str, status: int
) -> None:
    notebook("folder/work.ipynb")
    notebook(".hidden/x.ipynb")
    body = json.dumps({"format": "json", "type": "notebook"})
    assert await refused(jp_fetch("api/collaboration/session", path, method="PUT", body=body)) == status


@pytest.mark.parametrize("endpoint", ["fork", "timeline", "undo_redo"])
async def test_absent_endpoints_say_so(jp_fetch: Any, server: Any, endpoint: str) -> None:
    with pytest.raises(HTTPClientError) as error:
        await jp_fetch(f"api/collaboration/{endpoint}/some-room")
    assert error.value.response is not None
    answer = json.loads(error.value.response.body)
    assert (error.value.code, answer["code"]) == (404, 404)
    assert answer["error"]


@pytest.mark.parametrize("endpoint", ["fork", "timeline"])
async def test_absent_endpoints_want_a_login(jp_fetch: Any, server: Any, endpoint: str) -> None:
    request = jp_fetch(f"api/collaboration/{endpoint}/x", headers={"Authorization": "token wrong"})
    assert await refused(request) == 403
