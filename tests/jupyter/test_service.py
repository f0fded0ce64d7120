"""The engine's life inside the server: late, failing, and stopped in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from jupyter_ydoc import YNotebook
from tornado.httpclient import HTTPClientError

from jupyter_collab_ext import service as service_module
from jupyter_collab_ext.extension import JupyterCollab
from jupyter_collab_ext.service import Service
from notebook_sync.core.errors import ConfigError
from tests.support.jupyter_wait import DEADLINE, until

BODY = '{"format": "json", "type": "notebook"}'


@pytest.fixture
def unstarted(jp_serverapp: Any, http_server: Any) -> Service:
    """The service of a server whose start hooks have not run."""
    app = jp_serverapp.extension_manager.extension_points["jupyter_collab_ext"].app
    assert isinstance(app, JupyterCollab)
    assert app.service is not None
    return app.service


def failing(error: Exception) -> Any:
    """An engine that does not start."""

    @contextlib.asynccontextmanager
    async def make(relay: Any) -> AsyncIterator[Any]:
        raise error
        yield

    return make


def put(jp_fetch: Any) -> Any:
    """A request that needs the engine."""
    return jp_fetch("api/collaboration/session", "work.ipynb", method="PUT", body=BODY)


async def test_requests_wait_for_the_start(unstarted: Service, jp_fetch: Any) -> None:
    request = put(jp_fetch)
    done, _ = await asyncio.wait([request], timeout=0.2)
    assert not done
    await unstarted.start()
    assert (await request).code == 201
    await unstarted.stop()


async def test_requests_do_not_wait_for_ever(
    unstarted: Service, jp_fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "START_TIMEOUT", 0.1)
    with pytest.raises(HTTPClientError) as error:
        await put(jp_fetch)
    assert error.value.code == 503


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConfigError("Redis is too old: install 7.0 or newer."), "Redis is too old"),
        (RuntimeError("boom"), "could not be started: boom"),
    ],
)
async def test_a_failed_start_stops_the_server_and_says_why(
    unstarted: Service,
    jp_serverapp: Any,
    jp_fetch: Any,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    says: str,
) -> None:
    stops: list[str] = []
    jp_serverapp.stop = lambda from_signal=False: stops.append("stop")
    unstarted._make = failing(error)
    with caplog.at_level(logging.CRITICAL):
        await unstarted.start()
    assert stops == ["stop"]
    assert any(record.levelno == logging.CRITICAL and says in record.message for record in caplog.records)
    with pytest.raises(HTTPClientError) as answer:
        await put(jp_fetch)
    assert answer.value.code == 503
    assert answer.value.response is not None
    assert says.encode() in answer.value.response.body


class TestWithoutFileIds:
    """With the file id service switched off by the user."""

    @pytest.fixture
    def extensions(self) -> dict[str, bool]:
        return {"jupyter_collab_ext": True, "jupyter_server_fileid": False, "jupyter_server_terminals": False}

    async def test_the_sentence_says_what_to_enable(self, unstarted: Service, jp_serverapp: Any) -> None:
        jp_serverapp.stop = lambda from_signal=False: None
        await unstarted.start()
        assert unstarted.failure is not None
        assert "jupyter server extension enable jupyter_server_fileid" in unstarted.failure


async def test_stopping_while_starting_ends_the_start(unstarted: Service) -> None:
    reached = asyncio.Event()
    cleaned = asyncio.Event()

    @contextlib.asynccontextmanager
    async def make(relay: Any) -> AsyncIterator[Any]:
        reached.set()
        try:
            await asyncio.Event().wait()
            yield
        finally:
            cleaned.set()

    unstarted._make = make
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        group.create_task(unstarted.start())  # noqa: TID251  # Jupyter's side
        await reached.wait()
        await unstarted.stop()
    assert cleaned.is_set()
    assert unstarted.engine is None


async def test_a_stop_that_hangs_has_an_end(unstarted: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def make(relay: Any) -> AsyncIterator[Any]:
        yield object()
        await asyncio.Event().wait()

    monkeypatch.setattr(service_module, "STOP_MARGIN", 0.2 - unstarted.settings.limits.shutdown_timeout)
    unstarted._make = make
    await unstarted.start()
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(unstarted.stop(), unstarted.stop(), unstarted.stop())


async def test_no_start_after_a_stop(unstarted: Service) -> None:
    await unstarted.stop()
    await unstarted.start()
    assert unstarted.engine is None


async def test_sockets_are_told_that_the_server_goes(room: Any, notebook: Any, collab: JupyterCollab) -> None:
    from tests.support.jupyter_wait import closed, read

    notebook("work.ipynb")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    await collab.stop_extension()
    code, _ = await closed(socket)
    assert code == 1001


async def test_what_was_typed_is_in_the_file_after_a_stop(
    room: Any, notebook: Any, collab: JupyterCollab
) -> None:
    from tests.support.jupyter_wait import read

    path = notebook("work.ipynb", "x = 1")
    socket = await room("work.ipynb")
    await read(socket, lambda message: message[:2] == b"\x00\x00")
    document = await collab.get_document(
        path="work.ipynb", content_type="notebook", file_format="json", copy=False
    )
    assert document is not None
    source = cast(YNotebook, document).ycells[0]["source"]
    source += "  # last words"
    await read(socket, lambda message: message[:2] == b"\x00\x02" and b"# last words" in message)
    await collab.stop_extension()
    assert "# last words" in path.read_text()


async def test_an_idle_room_is_no_activity(collab: JupyterCollab) -> None:
    assert collab.current_activity() == []
    await until(lambda: collab.current_activity() == [], "nobody is there")
