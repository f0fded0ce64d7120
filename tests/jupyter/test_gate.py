"""The door before all endpoints: handlers nobody thought of, and sockets of every kind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_server.base.handlers import FileFindHandler, JupyterHandler
from jupyter_server.base.handlers import PrometheusMetricsHandler as Metrics
from jupyter_server.services.contents.handlers import ContentsHandler
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from jupyterlab.handlers.extension_manager_handler import ExtensionHandler
from jupyterlab.handlers.plugin_manager_handler import PluginHandler
from jupyterlab_server.licenses_handler import LicensesHandler
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import RequestHandler
from tornado.websocket import websocket_connect

from jupyter_collab_ext import gate
from jupyter_collab_ext.simulated import Browser
from notebook_sync.core.roles import Role
from tests.support.jupyter_wait import closed
from tests.support.people_here import ROLES, Event

pytestmark = pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning")

GUESTS = (Role.TUTOR, Role.PARTICIPANT, Role.OBSERVER)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND")


class SomebodysHandler(JupyterHandler):
    """As any other extension has one."""

    @web.authenticated
    def get(self) -> None:
        self.finish("secret")

    post = get


class OverContents(ContentsHandler):
    """An extension's, that looks like Jupyter's own by what it inherits."""


def asked(handler: type[RequestHandler], method: str = "GET", **headers: str) -> Any:
    made = handler.__new__(handler)
    made.request = SimpleNamespace(method=method, headers=headers)  # type: ignore[assignment]  # what is looked at
    return made


def named(cls: type[RequestHandler], module: str) -> type[RequestHandler]:
    """A class of that module over it."""
    return type(cls.__name__, (cls,), {"__module__": module})


@pytest.mark.parametrize("method", METHODS)
def test_organisers_go_everywhere(method: str) -> None:
    for handler in (SomebodysHandler, Metrics, ExtensionHandler, RequestHandler):
        assert gate.open_to(Role.ORGANISER, asked(handler, method))


@pytest.mark.parametrize("role", GUESTS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "handler", [SomebodysHandler, OverContents, RequestHandler, Metrics, ExtensionHandler, PluginHandler]
)
def test_what_nobody_named_is_closed(role: Role, method: str, handler: type[RequestHandler]) -> None:
    if handler is RequestHandler:
        handler = named(RequestHandler, "jupyter_server_somebody.handlers")
    assert not gate.open_to(role, asked(handler, method))


@pytest.mark.parametrize("role", GUESTS)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_for_looking_is_closed_to_writes(role: Role, method: str) -> None:
    safe = method in ("GET", "HEAD", "OPTIONS")
    for handler in (LicensesHandler, FileFindHandler):
        assert gate.open_to(role, asked(handler, method)) is safe
        assert not gate.open_to(role, asked(handler, method, Upgrade="WebSocket"))


@pytest.mark.parametrize("role", GUESTS)
@pytest.mark.parametrize("handler", [Metrics, ExtensionHandler, PluginHandler, SomebodysHandler])
def test_a_substitute_of_ours_opens_nothing(role: Role, handler: type[RequestHandler]) -> None:
    for module in ("jupyter_collab_ext.pages", "jupyter_collab_ext.routing"):
        assert not gate.open_to(role, asked(named(handler, module)))


@pytest.mark.parametrize("role", GUESTS)
def test_kernels_are_reached(role: Role) -> None:
    assert gate.open_to(role, asked(KernelWebsocketHandler, Upgrade="websocket"))


# --- in a server -------------------------------------------------------------------------------------


async def handshake(browser: Browser, path: str) -> int:
    """101, or the status of the refusal."""
    request = HTTPRequest(browser.socket_url(path, {}), headers=browser.socket_headers())
    try:
        socket = await websocket_connect(request)
    except HTTPClientError as error:
        return int(error.code)
    async with asyncio.timeout(20):
        socket.close()
        await closed(socket)
    return 101


async def sockets(browser: Browser, kernel: str) -> dict[str, int]:
    paths = {
        "kernel": f"api/kernels/{kernel}/channels",
        "events": "api/events/subscribe",
        "presence": "api/collaboration/room/JupyterLab:globalAwareness",
        "terminal": "terminals/websocket/1",
        "another extension": "somebody",
    }
    return {name: await handshake(browser, path) for name, path in paths.items()}


async def test_every_socket(event: Event, jp_serverapp: Any) -> None:
    from jupyter_server.services.events.handlers import SubscribeWebsocket

    app = jp_serverapp.web_app
    app.add_handlers(".*", [(rf"{jp_serverapp.base_url}somebody", named(SubscribeWebsocket, "somebody"))])
    app.add_handlers(".*", [(rf"{jp_serverapp.base_url}anything", SomebodysHandler)])
    async with event.browser("organiser") as organiser:
        session: Any = (
            await organiser.request(
                "POST",
                "api/sessions",
                body={"path": "group-1/work.ipynb", "type": "notebook", "name": "work.ipynb"},
            )
        ).json()
        kernel = session["kernel"]["id"]
        await organiser.request("POST", "api/terminals")
        assert set((await sockets(organiser, kernel)).values()) == {101}
        assert (await organiser.request("GET", "anything")).status == 200
        for person in ROLES.values():
            async with event.browser(person) as browser:
                assert await sockets(browser, kernel) == {
                    "kernel": 101,
                    "events": 101,
                    "presence": 101,
                    "terminal": 403,
                    "another extension": 403,
                }, person
                assert (await browser.request("GET", "anything")).status == 403
                assert (await browser.request("POST", "anything", body={})).status == 403
        async with event.browser("nobody") as nobody:
            # 302: to the login page, from those of Jupyter's sockets that do not know better
            assert set((await sockets(nobody, kernel)).values()) <= {302, 403}
        await organiser.request("DELETE", "api/terminals/1")
        await organiser.request("DELETE", f"api/sessions/{session['id']}")
