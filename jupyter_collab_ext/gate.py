"""The door before all endpoints: what the Authorizer is never asked about is closed unless named here.

Jupyter asks its Authorizer only where a handler says so. The extension manager (which installs
packages), plugins, licences, language servers and others do not, and neither does whatever else is
installed; so people who are not organisers get through to the modules below only.
"""

from __future__ import annotations

from typing import Any

from notebook_sync.core.roles import Action, Role, may

READ_AND_WRITE = (
    "jupyter_collab_ext.",
    "jupyter_server.auth.",
    "jupyter_server.nbconvert.",
    "jupyter_server.services.api.",
    "jupyter_server.services.contents.",
    "jupyter_server.services.events.",
    "jupyter_server.services.kernels.",
    "jupyter_server.services.security.",
    "jupyter_server.services.sessions.",
    "jupyter_server_fileid.",
    "jupyterlab_server.settings_handler.",
    "jupyterlab_server.workspaces_handler.",
)
READ_ONLY = (
    "jupyter_server.base.",
    "jupyter_server.files.",
    "jupyter_server.kernelspecs.",
    "jupyter_server.services.config.",
    "jupyter_server.services.kernelspecs.",
    "jupyter_server.services.terminals.",
    "jupyter_server.view.",
    "jupyter_server_terminals.",
    "jupyterlab.",
    "jupyterlab_server.",
    "nbclassic.",
    "notebook_shim.",
    "tornado.web.",
)
CLOSED = (
    "jupyter_server.base.handlers.PrometheusMetricsHandler.",
    "jupyterlab.handlers.extension_manager_handler.",
    "jupyterlab.handlers.plugin_manager_handler.",
)
"""In the modules above, but about the server and not about notebooks."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def open_to(role: Role, handler: Any) -> bool:
    """Whether somebody of this role may get as far as the handler; what it then does, it asks by itself."""
    if may(role, Action.MANAGE):
        return True
    name = next(f"{c.__module__}.{c.__qualname__}." for c in type(handler).__mro__ if _names_an_endpoint(c))
    if name.startswith(CLOSED):
        return False
    if name.startswith(READ_AND_WRITE):
        return True
    upgrade = handler.request.headers.get("Upgrade", "").lower() == "websocket"
    return name.startswith(READ_ONLY) and handler.request.method in SAFE_METHODS and not upgrade


def needs_no_login(handler: Any) -> bool:
    """Whether Jupyter answers this request to anybody: static files, the login page."""
    method = getattr(handler, str(handler.request.method).lower(), None)
    return bool(getattr(method, "__allow_unauthenticated", False))


def _names_an_endpoint(cls: type) -> bool:
    """Leaves out classes that our substitutes or tornado's machinery put in front."""
    return not cls.__module__.startswith(("jupyter_collab_ext.pages", "jupyter_collab_ext.routing"))
