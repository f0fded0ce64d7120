"""``PUT /api/collaboration/session/{path}``: the file's id, and the id of the document's history."""

from __future__ import annotations

import json

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_collab_ext.service import Refused, Service
from notebook_sync.core.errors import StoreUnavailable


class SessionHandler(APIHandler):
    """Answers exactly ``{format, type, fileId, sessionId}``: 201 the first time, then 200.

    201 also for a file that does not exist: the refusal comes on the socket (docs/protocol.md).
    """

    auth_resource = "contents"

    def initialize(self, service: Service) -> None:
        """``service`` is the extension's."""
        self._service = service

    @web.authenticated
    @authorized
    async def put(self, path: str) -> None:
        """Body: ``{"format": "json", "type": "notebook"}`` or another kind of document."""
        body = self.get_json_body()
        if not isinstance(body, dict):
            raise web.HTTPError(400, 'the body must be JSON like {"format": "json", "type": "notebook"}')
        sync = await self._service.sync()
        try:
            key = await self._service.key(body.get("format"), body.get("type"), path)
            session_id, _ = await sync.session_id(key)
        except Refused as refused:
            raise web.HTTPError(refused.status, str(refused)) from None
        except StoreUnavailable as error:
            raise web.HTTPError(503, f"the shared store is away; try again: {error}") from None
        file_ids = self._service.file_ids
        known = file_ids.get_id(key.path) is not None
        answer = {
            "format": key.kind.format,
            "type": key.kind.type,
            "fileId": file_ids.index(key.path),
            "sessionId": session_id,
        }
        self.set_status(200 if known else 201)
        self.finish(json.dumps(answer))
