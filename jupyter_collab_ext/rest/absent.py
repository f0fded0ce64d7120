"""Endpoints of jupyter-collaboration that this server does not have: a 404 in the form its clients read."""

from __future__ import annotations

import json

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web


class AbsentHandler(APIHandler):
    """Forks, timelines and undo by REST: 404 with ``{"code", "error"}``."""

    auth_resource = "contents"

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """List forks, or read a timeline."""
        self._absent()

    @web.authenticated
    @authorized
    async def put(self, name: str) -> None:
        """Make a fork, or undo."""
        self._absent()

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """End a fork."""
        self._absent()

    def _absent(self) -> None:
        self.set_status(404)
        self.finish(json.dumps({"code": 404, "error": "This server has no forks, timeline or undo by REST"}))
