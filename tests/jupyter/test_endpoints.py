"""All endpoints of a server with JupyterLab: which of them take changes from people."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.routing import Router, Rule
from tornado.web import RequestHandler

from jupyter_collab_ext import gate
from notebook_sync.core.roles import Role
from tests.support.people_here import ROLES, Event

# Jupyter says so of terminals' sockets, which ask for a login by themselves.
pytestmark = pytest.mark.filterwarnings("ignore::jupyter_server.utils.JupyterServerAuthWarning")


def request(handler_class: type[RequestHandler], method: str) -> Any:
    """A handler that was not run: the gate looks at its class and its request."""
    handler: Any = handler_class.__new__(handler_class)
    handler.request = SimpleNamespace(method=method, headers={})
    return handler


def endpoints(router: Router) -> Iterator[type[RequestHandler]]:
    """The handlers of all routes, those inside other routers too."""
    rules: list[Rule] = getattr(router, "rules", [])
    for rule in rules:
        if isinstance(rule.target, type) and issubclass(rule.target, RequestHandler):
            yield rule.target
        elif isinstance(rule.target, Router):
            yield from endpoints(rule.target)


# Endpoints of a server with JupyterLab that only organisers may write to, by what they do.
FOR_ORGANISERS = {
    "ConfigHandler", "ShutdownHandler", "BuildHandler", "ExtensionHandler", "PluginHandler", "TermSocket",
    "TerminalHandler", "TerminalRootHandler", "PrometheusMetricsHandler",
}  # fmt: skip
# Endpoints that the Authorizer is never asked about, and that people may write to all the same.
FOR_EACH_PERSON = {
    "SettingsHandler", "WorkspacesHandler", "CSPReportHandler", "IdentityHandler",
    "LoginFormHandler", "LogoutHandler", "JoinHandler",
    "TrailingSlashHandler",
}  # fmt: skip


async def test_of_all_endpoints_only_known_ones_take_changes(event: Event, jp_serverapp: Any) -> None:
    """A new version of Jupyter with a new endpoint makes this fail where the gate would let it through."""
    found = {handler for handler in endpoints(jp_serverapp.web_app.default_router)}
    assert len(found) > 40
    names = {handler.__name__ for handler in found}
    assert {*FOR_ORGANISERS, *FOR_EACH_PERSON} <= names
    open_for_changes = {
        handler.__name__
        for handler in found
        for method in ("POST", "PUT", "PATCH", "DELETE")
        if getattr(handler, method.lower()) is not RequestHandler._unimplemented_method
        and gate.open_to(Role.PARTICIPANT, request(handler, method))
    }
    assert open_for_changes.isdisjoint(FOR_ORGANISERS)
    asked_of_the_authorizer = {
        "ContentsHandler", "CheckpointsHandler", "ModifyCheckpointsHandler", "TrustNotebooksHandler",
        "NotebooksRedirectHandler", "NbconvertPostHandler", "EventHandler", "MainKernelHandler",
        "KernelHandler", "KernelActionHandler", "SessionHandler", "SessionRootHandler", "AbsentHandler",
        "VersionsHandler",
    }  # fmt: skip
    assert open_for_changes <= asked_of_the_authorizer | FOR_EACH_PERSON


@pytest.mark.parametrize("role", ROLES)
async def test_a_closed_page_says_no_and_does_not_send_people_round(event: Event, role: str) -> None:
    async with event.browser(ROLES[role]) as browser:
        assert (await browser.request("GET", "metrics")).status == 403
        answer = await browser.request("GET", "lab/api/plugins")
    assert answer.status == 403
    assert f"not for {role}s" in answer.body.decode()
