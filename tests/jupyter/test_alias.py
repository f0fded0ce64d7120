"""Answering to the name jupyter_server_ydoc, in the ways of those who look it up."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from jupyter_collab_ext.alias import ALIAS
from jupyter_collab_ext.extension import JupyterCollab


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A package under the stock extension's name, whose loading would show up in the list."""
    calls: list[str] = []
    stock = types.ModuleType(ALIAS)
    stock._jupyter_server_extension_points = lambda: [{"module": ALIAS}]  # type: ignore[attr-defined]  # a made-up module
    stock._link_jupyter_server_extension = lambda serverapp: calls.append("link")  # type: ignore[attr-defined]  # a made-up module
    stock._load_jupyter_server_extension = lambda serverapp: calls.append("load")  # type: ignore[attr-defined]  # a made-up module
    monkeypatch.setitem(sys.modules, ALIAS, stock)
    return calls


@pytest.fixture(params=[True, False], ids=["installed", "not installed"])
def extensions(request: pytest.FixtureRequest, loaded: list[str]) -> dict[str, bool]:
    """With and without the stock extension enabled."""
    found = {"jupyter_collab_ext": True, "jupyter_server_fileid": True, "jupyter_server_terminals": False}
    return {**found, ALIAS: True} if request.param else found


async def test_as_jupyterlab_chat_looks(server: Any, collab: JupyterCollab) -> None:
    manager = server.extension_manager
    assert manager.extensions.get(ALIAS).enabled
    assert next(iter(manager.extension_apps[ALIAS])) is collab
    assert collab.disable_rtc is False
    assert server.web_app.settings[ALIAS].get_document == collab.get_document


async def test_as_jupyter_mcp_server_looks(server: Any, collab: JupyterCollab) -> None:
    points = server.extension_manager.extension_points
    assert ALIAS in points
    assert points[ALIAS].app.ywebsocket_server is collab.ywebsocket_server


async def test_as_jupyter_server_nbmodel_looks(server: Any, collab: JupyterCollab) -> None:
    apps = server.extension_manager.extension_apps.get(ALIAS, set())
    assert apps == {collab}


async def test_our_own_name_stays(server: Any, collab: JupyterCollab) -> None:
    assert server.extension_manager.extension_points["jupyter_collab_ext"].app is collab
    assert server.web_app.settings["jupyter_collab_ext"] is collab


async def test_the_stock_extension_is_never_loaded(server: Any, loaded: list[str]) -> None:
    assert loaded == []


async def test_routes_are_there_once(server: Any) -> None:
    patterns = [
        rule.matcher.regex.pattern
        for group in server.web_app.default_router.rules
        if hasattr(group.target, "rules")
        for rule in group.target.rules
        if hasattr(rule.matcher, "regex")
    ]
    assert len([pattern for pattern in patterns if "collaboration/session" in pattern]) == 1


async def test_stopping_twice_at_once_stops_once(server: Any, collab: JupyterCollab) -> None:
    import asyncio

    service = collab.service
    assert service is not None
    stops: list[str] = []
    original = service._stop

    async def counting() -> None:
        stops.append("stop")
        await original()

    service._stop = counting  # type: ignore[method-assign]  # counted
    await asyncio.gather(server.extension_manager.stop_all_extensions(), collab.stop_extension())
    await collab.stop_extension()
    assert stops == ["stop"]
    assert service.engine is None
