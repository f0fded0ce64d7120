"""The door before all endpoints: default deny, by the table in ``doors``.

It stands in the identity provider, which every handler of Jupyter's asks first. A handler that is not
one of Jupyter's never asks: the router answers 403 in its place (``shut_raw``).
"""

from __future__ import annotations

from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.web import RequestHandler

from jupyter_collab_ext.doors import DOORS, endpoint_of
from jupyter_collab_ext.reach import Reach
from notebook_sync.core.roles import Action, Role, may

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def open_to(role: Role, handler: Any) -> bool:
    """Whether somebody of this role may get as far as the handler; what it then does, it asks by itself."""
    if may(role, Action.MANAGE):
        return True
    door = DOORS.get(endpoint_of(type(handler)))
    if door is None:
        return False
    if is_socket(handler):
        needed = door.socket
    elif handler.request.method in SAFE_METHODS:
        # Asked without an upgrade, a websocket's endpoint says by itself that it needs one.
        needed = door.look or door.socket
    else:
        needed = door.change
    return needed is not None and may(role, needed)


async def in_reach(reach: Reach, handler: Any) -> bool:
    """Whether what the request is about lies within a person's reach; the person must be set."""
    if reach.everything:
        return True
    door = DOORS.get(endpoint_of(type(handler)))
    return door is not None and await door.scope(handler, reach)


def is_socket(handler: Any) -> bool:
    """Whether the request wants to become a websocket."""
    return str(handler.request.headers.get("Upgrade", "")).lower() == "websocket"


def needs_no_login(handler: Any) -> bool:
    """Whether Jupyter answers this request to anybody: static files, the login page."""
    method = getattr(handler, str(handler.request.method).lower(), None)
    return bool(getattr(method, "__allow_unauthenticated", False))


class Shut(JupyterHandler):
    """In the place of a handler that asks nobody who is there."""

    async def prepare(self) -> None:  # type: ignore[override]  # JupyterHandler's is asynchronous as well
        """Refuse."""
        raise web.HTTPError(403, "closed: this endpoint does not ask who is there")


def shut_raw(handler_class: type[RequestHandler]) -> type[RequestHandler]:
    """The class to serve: itself, or ``Shut`` for one that no identity provider is ever asked about."""
    if issubclass(handler_class, JupyterHandler) or endpoint_of(handler_class) in DOORS:
        return handler_class
    return Shut
