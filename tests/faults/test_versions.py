"""Versions and restores on real servers: two that share folder and store, and one that is killed."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis_servers import redis_binary, running
from tests.support.servers import RealServer, real_server
from tests.support.typing_people import TypingPeople, onlooker, typing_people
from tests.support.waiting import wait_until

PATH = "work.ipynb"
ENDPOINT = f"api/collaboration/versions/{PATH}"
pytestmark = [pytest.mark.system, pytest.mark.slow]


async def ask(server: RealServer, method: str, path: str, body: object = None) -> Any:
    """The JSON of a successful answer, None for an empty one."""
    answer = await asyncio.to_thread(server.request, method, path, body)
    assert answer.status_code < 300, (answer.status_code, answer.text)
    return answer.json() if answer.content else None


async def versions(server: RealServer) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = (await ask(server, "GET", ENDPOINT))["versions"]
    return listed


async def texts(server: RealServer) -> list[str]:
    """All versions, each as one text."""
    models = [await ask(server, "GET", f"{ENDPOINT}?version={v['id']}") for v in await versions(server)]
    return ["\n".join(cell["source"] for cell in model["content"]["cells"]) for model in models]


async def first_version(server: RealServer) -> dict[str, str]:
    await wait_until(lambda: versions(server), what="a first version")
    return (await versions(server))[-1]


async def restore(server: RealServer, version: str) -> None:
    await ask(server, "POST", ENDPOINT, {"version": version})


async def all_is_found(people: TypingPeople, server: RealServer) -> None:
    async def found() -> bool:
        return not people.unfound(await texts(server))

    await wait_until(found, what="each word is in the notebook or in a version")
    assert people.doubled() == []


async def test_a_restore_survives_kill_9_of_server_and_store_and_so_does_what_was_there() -> None:
    with real_server() as server:
        server.write_notebook(PATH)
        async with typing_people(f"{server.url}/", server.token, PATH) as people:
            first = await first_version(server)
            beginning = people.shown()[1]
            await people.typed()
            await restore(server, first["id"])
            await asyncio.gather(asyncio.to_thread(server.kill), asyncio.to_thread(server.kill_valkey))
            await people.typed()
            await asyncio.to_thread(server.start)
            await people.stop()
            assert people.shown()[1] == beginning
            assert [v["reason"] for v in await versions(server)].count("restore") == 1
            await all_is_found(people, server)


@pytest.fixture
def two_servers() -> Iterator[tuple[RealServer, RealServer]]:
    """Two servers with state folders of their own on one folder and one Redis."""
    home = Path(tempfile.mkdtemp(prefix="two-"))
    for name in ("a", "b"):
        (home / name).mkdir()
    root = home / "root"
    with running(redis_binary()) as redis:
        here, there = (RealServer(home / name, redis_url=redis.url, root=root) for name in ("a", "b"))
        here.write_notebook(PATH)
        try:
            for server in (here, there):
                server.start()
            yield here, there
        finally:
            for server in (here, there):
                server.stop()
            shutil.rmtree(home, ignore_errors=True)


async def test_another_servers_restores_and_stock_saves_take_nothing_from_those_who_type(
    two_servers: tuple[RealServer, RealServer],
) -> None:
    here, there = two_servers

    async def opened_at_both() -> bool:
        return len(await versions(there)) >= 2

    async with (
        typing_people(f"{here.url}/", here.token, PATH) as people,
        onlooker(f"{there.url}/", there.token, PATH),
    ):
        first = await first_version(there)
        # Each server makes a version when it opens a notebook. The other one's must be there before: were it
        # made just before the restore, it would be what was there before the restore.
        await wait_until(opened_at_both, what="a version of each server")
        beginning = people.shown()[1:4]
        await people.typed()
        await restore(there, first["id"])
        content = (await ask(there, "GET", f"api/contents/{PATH}"))["content"]
        content["cells"][2]["source"] = "saved at the other server"
        body = {"type": "notebook", "format": "json", "content": content}
        await people.typed()
        await ask(there, "PUT", f"api/contents/{PATH}", body)
        after = len(people.words)
        await people.typed()
        await people.stop()
        assert people.shown()[1:4] == [beginning[0], "saved at the other server", beginning[2]]
        assert people.missing(after) == []
        await all_is_found(people, here)
        reasons = [version["reason"] for version in await versions(here)]
        assert reasons == [version["reason"] for version in await versions(there)]
        assert {"put", "restore", "schedule"} <= set(reasons)
        kept = json.loads((here.root / PATH).read_bytes())
        assert "".join(kept["cells"][2]["source"]) == "saved at the other server"
