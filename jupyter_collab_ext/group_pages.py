"""Jupyter's handlers that would show one group's things to another, and ours in their place."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from http.client import responses
from pathlib import Path
from typing import Any

from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.base.handlers import APIHandler, AuthenticatedFileHandler
from jupyter_server.services.events.handlers import SubscribeWebsocket
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from tornado import web
from tornado.web import RequestHandler

from jupyter_collab_ext import events
from jupyter_collab_ext.alias import ALIAS
from jupyter_collab_ext.asking import reach_for
from jupyter_collab_ext.flow import slowed
from jupyter_collab_ext.group_kernels import kernel_within
from jupyter_collab_ext.identity import may_hear
from jupyter_collab_ext.reach import Reach
from jupyter_collab_ext.rest.login import LoginPage

NO_LANGUAGE_SERVERS = {"version": 2, "sessions": {}, "specs": {}}
"""They would read any file of the server; the page only asks which there are."""


class FilesOfTheGroup(AuthenticatedFileHandler):
    """``/files/``: it reads the disk, past the contents manager."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """The path on disk, where all decoding is done. Raises a 404 for what is out of reach."""
        reach = reach_for(self)
        if not reach.everything:
            path = os.path.relpath(absolute_path, os.path.abspath(root)).replace(os.sep, "/")
            if not reach.sees(path) or not reach.really(Path(root), os.path.realpath(absolute_path)):
                raise web.HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)


class EventsOfTheGroup(SubscribeWebsocket):
    """``/api/events/subscribe``: of what happens, only what concerns the person's groups."""

    async def event_listener(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        """Pass on an event whose files and people are all in reach; one of an unknown kind is not."""
        reach = reach_for(self)
        if reach.everything or self._concerns(reach, schema_id, data):
            await super().event_listener(logger, schema_id, data)

    def _concerns(self, reach: Reach, schema_id: str, data: Mapping[str, Any]) -> bool:
        if schema_id == events.AWARENESS:
            return may_hear(self, str(data.get("username"))) and self._room(reach, str(data.get("roomid")))
        if schema_id == events.SESSION:
            return reach.sees(str(data.get("path")))
        if schema_id == events.FORK:
            return self._room(reach, str(data.get("root_roomid")))
        if "kernel_id" in data:
            return kernel_within(self.kernel_manager, str(data["kernel_id"]), reach)
        paths = [data[name] for name in ("path", "source_path") if data.get(name)]
        return bool(paths) and all(isinstance(path, str) and reach.sees(path) for path in paths)

    def _room(self, reach: Reach, room: str) -> bool:
        if room == events.LOBBY:
            return True
        path = self.settings["file_id_manager"].get_path(room.rpartition(":")[2])
        return isinstance(path, str) and reach.sees(path)


class PacedKernelSocket(KernelWebsocketHandler):
    """A kernel's socket, read as fast as one person works: see ``flow``."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Nobody is gone yet."""
        super().initialize(*args, **kwargs)
        self._gone = asyncio.Event()

    def on_message(self, ws_message: str | bytes) -> Any:
        """As Jupyter does; what is returned is waited for before the next message is read."""
        jupyters: Any = super()
        jupyters.on_message(ws_message)
        service = self.settings[ALIAS].service
        pause = service.flow.pause(self.current_user.username, len(ws_message), time.monotonic())
        return slowed(pause, self._gone) if pause is not None else None

    def on_close(self) -> None:
        """Nothing more is waited for."""
        self._gone.set()
        jupyters: Any = super()
        jupyters.on_close()


def _language_servers(base: Any) -> type[RequestHandler]:
    class NoLanguageServers(base):  # type: ignore[misc]  # the base is only known when it is installed
        """``/lsp/status``."""

        @web.authenticated
        async def get(self) -> None:
            """The servers, for an organiser; that there are none, for everybody else."""
            if reach_for(self).everything:
                await super().get()
            else:
                self.finish(NO_LANGUAGE_SERVERS)

    return NoLanguageServers


def _licences(base: Any) -> type[RequestHandler]:
    class LicencesThatRefuse(base):  # type: ignore[misc]  # as above
        """``/lab/api/licenses/``: JupyterLab's own never answers whom it refuses, and keeps the line."""

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            """The error in JSON, as all of the API says it."""
            self.set_header("Content-Type", "application/json")
            handler: Any = self
            answered: Any = super(APIHandler, handler)
            answered.finish(json.dumps({"message": responses.get(status_code, "error")}))

    return LicencesThatRefuse


def substitutes() -> dict[type[RequestHandler], type[RequestHandler]]:
    """Handlers of others, and ours in their place. More when called again, after all are loaded."""
    table: dict[type[RequestHandler], type[RequestHandler]] = {
        AuthenticatedFileHandler: FilesOfTheGroup,
        SubscribeWebsocket: EventsOfTheGroup,
        KernelWebsocketHandler: PacedKernelSocket,
        LoginFormHandler: LoginPage,
    }
    for module, name, substitute in (
        ("jupyter_lsp.handlers", "LanguageServersHandler", _language_servers),
        ("jupyterlab_server.licenses_handler", "LicensesHandler", _licences),
    ):
        # Not imported here: that costs time, and warnings, where it is not enabled.
        found = getattr(sys.modules.get(module), name, None)
        if found is not None:
            table[found] = substitute(found)
    return table
