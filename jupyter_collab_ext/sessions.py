"""Kernels of shared notebooks: one for each notebook and server, and none of our secrets in them."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.sessions.handlers import SessionHandler
from tornado import web
from tornado.web import RequestHandler

from jupyter_collab_ext.kernel_channels import ReadOnlyForObservers

SECRET_NAMES = (
    "JPY_API_TOKEN",
    "JUPYTER_TOKEN",
    "JUPYTER_TOKEN_FILE",
    "REDIS_URL",
    "REDISCLI_AUTH",
    "VALKEYCLI_AUTH",
)
SECRET_PREFIXES = ("JUPYTER_COLLAB_",)
PASSWORD_URLS = ("redis://", "rediss://", "unix://")

RANDOM_NAME = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def install(serverapp: ServerApp) -> None:
    """Choose the classes of sessions, kernels and their sockets, before they are made."""
    if getattr(serverapp, "gateway_config", None) is None:
        # The defaults of the class traits ask for it, and Jupyter sets it later only.
        serverapp.gateway_config = GatewayClient.instance(parent=serverapp)
    serverapp.session_manager_class = _mixed(OneKernelPerPath, serverapp.session_manager_class)
    serverapp.kernel_manager_class = _mixed(CleanKernelEnvironment, serverapp.kernel_manager_class)
    serverapp.kernel_websocket_connection_class = _mixed(
        ReadOnlyForObservers, serverapp.kernel_websocket_connection_class
    )


def _mixed(mixin: type, base: type) -> Any:
    """``base`` with ``mixin`` in front; named so that configuration for ``base`` still applies."""
    return type(base.__name__, (mixin, base), {"__module__": __name__})


def is_secret(name: str, value: str) -> bool:
    """Whether an environment variable must not reach a kernel or a terminal."""
    url_with_password = value.startswith(PASSWORD_URLS) and ("@" in value or "password=" in value)
    return name in SECRET_NAMES or name.startswith(SECRET_PREFIXES) or url_with_password


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for code that people run."""
    return {name: value for name, value in environment.items() if not is_secret(name, value)}


def path_meant(path: str, name: object) -> str:
    """The document that a session is asked for.

    JupyterLab asks under a random name in the document's folder, with the document's name beside it, and
    sets the path when it has the session: so each page seems to want a session of its own.
    """
    folder, _, last = path.rpartition("/")
    if not RANDOM_NAME.fullmatch(last) or not isinstance(name, str) or not name or "/" in name:
        return path
    return f"{folder}/{name}" if folder else name


def _answered_under(path: str, model: Mapping[str, Any]) -> dict[str, Any]:
    # JupyterLab shuts a session down whose path is not the one it asked for: that of everybody.
    answer = {**model, "path": path}
    if "notebook" in answer:
        answer["notebook"] = {**answer["notebook"], "path": path}
    return answer


class OneKernelPerPath:
    """Mixed over the session manager: however many open a notebook at once, one kernel is started.

    Jupyter looks for a session and starts a kernel in two steps with time in between, so seven people
    who open a notebook at the same moment get seven kernels, and nobody is told.
    """

    _opening: dict[str, tuple[asyncio.Lock, int]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opening = {}

    async def create_session(
        self,
        path: str | None = None,
        name: Any = None,
        type: Any = None,
        kernel_name: Any = None,
        kernel_id: Any = None,
    ) -> Any:
        """The document's session; made, with its kernel, only if there is none. Answered under ``path``."""
        if path is None:
            return await super().create_session(path, name, type, kernel_name, kernel_id)  # type: ignore[misc]  # mixin
        meant = path_meant(path, name).strip("/")
        model = await self._one_for(meant, name, type, kernel_name, kernel_id)
        return model if meant == path else _answered_under(path, model)

    async def _one_for(self, path: str, name: Any, type: Any, kernel_name: Any, kernel_id: Any) -> Any:
        manager: Any = self
        async with self._alone(path):
            if await manager.session_exists(path=path):
                return await manager.get_session(path=path)
            return await super().create_session(path, name, type, kernel_name, kernel_id)  # type: ignore[misc]  # mixin

    async def update_session(self, session_id: str, **changes: Any) -> None:
        """Two people who change one session do so one after the other."""
        async with self._alone(f"session {session_id}"):
            await super().update_session(session_id, **changes)  # type: ignore[misc]  # mixin

    async def delete_session(self, session_id: str) -> None:
        """Nobody is given a session whose kernel is being shut down."""
        manager: Any = self
        model = await manager.get_session(session_id=session_id)
        async with self._alone(str(model["path"])):
            await super().delete_session(session_id)  # type: ignore[misc]  # mixin

    def get_kernel_env(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        """A changed session also changes the environment that its kernel is restarted with."""
        return without_secrets(super().get_kernel_env(*args, **kwargs))  # type: ignore[misc]  # mixin

    def changing(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """Whoever holds it is the only one who changes this session's kernel."""
        return self._alone(f"change of {session_id}")

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        lock, users = self._opening.get(key, (asyncio.Lock(), 0))
        self._opening[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._opening[key][1] - 1
            if users:
                self._opening[key] = (lock, users)
            else:
                del self._opening[key]


class OneChangeAtATime(SessionHandler):
    """``PATCH /api/sessions/…``: two people who choose another kernel at once leave no kernel behind.

    Jupyter starts the new kernel, notes it, and shuts down the one that it saw before: done by two
    people at once, one of the new kernels is in no session, and the old one is shut down twice.
    """

    @web.authenticated
    async def patch(self, session_id: str) -> None:
        """Change the session; a kernel that somebody else just chose alike is taken as it is."""
        manager: Any = self.session_manager
        seen = await _kernel(manager, session_id)
        async with manager.changing(session_id):
            now = await _kernel(manager, session_id)
            if now != seen and _only_wants(self.get_json_body(), now[1]):
                model = await manager.get_session(session_id=session_id)
                self.finish(json.dumps(model, default=json_default))
                return
            answered: Any = super().patch(session_id)
            await answered


def _only_wants(asked: object, kernel_name: str) -> bool:
    wanted = asked.get("kernel") if isinstance(asked, dict) else None
    return isinstance(wanted, dict) and wanted.get("id") is None and wanted.get("name") == kernel_name


async def _kernel(manager: Any, session_id: str) -> tuple[str, str]:
    kernel = (await manager.get_session(session_id=session_id))["kernel"]
    return kernel["id"], kernel["name"]


def substitutes() -> dict[type[RequestHandler], type[RequestHandler]]:
    """Jupyter's handlers and ours in their place."""
    return {SessionHandler: OneChangeAtATime}


class CleanKernelEnvironment:
    """Mixed over the kernel manager: kernels don't inherit what only the server should know."""

    async def start_kernel(self, **options: Any) -> Any:
        """Start a kernel with the given environment, or the server's, less the secrets."""
        options["env"] = without_secrets(options.get("env") or os.environ)
        return await super().start_kernel(**options)  # type: ignore[misc]  # mixin


def clean_terminals(settings: Mapping[str, Any]) -> None:
    """Terminals don't inherit secrets either; ``settings`` are the web app's, after all are loaded."""
    manager = settings.get("terminal_manager")
    if manager is not None:
        # terminado removes a variable from the environment that it copies when its value here is None.
        removed = {name: None for name, value in os.environ.items() if is_secret(name, value)}
        manager.extra_env = {**(manager.extra_env or {}), **removed}
