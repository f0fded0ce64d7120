"""``GET /api/collaboration/status``: the open rooms, for people who manage the event."""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

import jupyter_collab_ext
from jupyter_collab_ext.identity import member_of
from jupyter_collab_ext.service import Service
from jupyter_collab_ext.settings import describe
from notebook_sync.app import RoomStatus
from notebook_sync.core.roles import Action, may


class StatusHandler(APIHandler):
    """Everything here is safe to show to an organiser; Redis's address comes without its password."""

    auth_resource = "contents"

    def initialize(self, service: Service) -> None:
        """``service`` is the extension's."""
        self._service = service

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Version, node, store and rooms."""
        if not may(member_of(self).role, Action.MANAGE):
            raise web.HTTPError(403, "only an organiser may see the server's status")
        sync = await self._service.sync()
        rooms = [_room(status) for status in sync.rooms()]
        answer = {
            "version": jupyter_collab_ext.__version__,
            "node": sync.node,
            **describe(self._service.settings),
            "people": len({person["username"] for room in rooms for person in room["people"]}),
            "rooms": rooms,
        }
        self.finish(json.dumps(answer))


def _room(status: RoomStatus) -> dict[str, Any]:
    return {
        "path": status.key.path,
        "format": status.key.kind.format,
        "type": status.key.kind.type,
        "document": status.document,
        "state": status.state,
        "reason": status.reason,
        "stored": status.stored,
        "stored_where": status.stored_where,
        "saved": status.saved,
        "file_trouble": status.file_trouble,
        "seq": status.seq,
        "people": [{"username": member.user, "role": str(member.role)} for member in status.people],
    }
