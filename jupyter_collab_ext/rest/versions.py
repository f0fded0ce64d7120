"""``api/collaboration/versions/{path}``: the earlier contents of a document, and bringing one back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar

import nbformat
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from jupyter_collab_ext.identity import member_of
from jupyter_collab_ext.service import Refused, Service
from notebook_sync.app import NotebookSync, NotRestored
from notebook_sync.core.errors import CorruptRecord, LocalDiskFailed, RoomError, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, DocumentKind
from notebook_sync.core.roles import Action, may
from notebook_sync.ports import Version

TEXT = DocumentKind("text", "file")
T = TypeVar("T")


class VersionsHandler(APIHandler):
    """GET lists, or reads the one named by ``?version=``; POST ``{"version": id}`` restores.

    ``?format=`` and ``?type=`` name another kind of document than the path says.
    """

    auth_resource = "contents"

    def initialize(self, service: Service) -> None:
        """``service`` is the extension's."""
        self._service = service

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        """The versions, newest first, or one of them as a contents model."""
        self._need(Action.READ)
        key = await self._key(path)
        versions = (await self._service.sync()).versions
        wanted = self.get_query_argument("version", None)
        listed = await answered(versions.list)(key)
        if wanted is None:
            self.finish(json.dumps({"path": key.path, "versions": [described(v) for v in listed]}))
            return
        version = next((version for version in listed if version.id == wanted), None)
        data = None if version is None else await answered(versions.read)(key, version.id)
        if version is None or data is None:
            raise web.HTTPError(404, f"{key.path} has no version {wanted[:40]}; it may have been thinned out")
        self.finish(json.dumps(model(key, version, data)))

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Bring a version back: everybody sees it as ordinary edits, and what was there becomes a version."""
        self._need(Action.RESTORE)
        key = await self._key(path)
        body = self.get_json_body()
        wanted = body.get("version") if isinstance(body, dict) else None
        if not isinstance(wanted, str):
            raise web.HTTPError(400, 'the body must be JSON like {"version": "1800000000000-0123abcd"}')
        versions = (await self._service.sync()).versions
        outcome = await answered(versions.restore)(key, wanted, member_of(self))
        if isinstance(outcome, NotRestored):
            raise web.HTTPError(404 if outcome.missing else 409, outcome.sentence)
        before = None if outcome.before is None else described(outcome.before)
        self.finish(json.dumps({"path": key.path, "version": wanted, "before": before}))

    def _need(self, action: Action) -> None:
        if not may(role := member_of(self).role, action):
            raise web.HTTPError(403, f"not for {role}s")

    async def _key(self, path: str) -> DocumentKey:
        try:
            clean = await self._service.path(path)
            kind = kind_of(clean)
            open_here = open_at(await self._service.sync(), clean)
            if open_here and DocumentKey(kind, clean) not in open_here:
                kind = open_here[0].kind
            form = self.get_query_argument("format", kind.format)
            return await self._service.key(form, self.get_query_argument("type", kind.type), clean)
        except Refused as refused:
            raise web.HTTPError(refused.status, str(refused)) from None


def kind_of(path: str) -> DocumentKind:
    """How a file is opened when nobody says otherwise."""
    return NOTEBOOK if path.endswith(".ipynb") else TEXT


def open_at(engine: NotebookSync, path: str) -> list[DocumentKey]:
    """The documents of a file that are open here."""
    return [status.key for status in engine.rooms() if status.key.path == path]


def answered(call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """``call`` with the engine's errors as HTTP errors, each with a sentence."""

    @wraps(call)
    async def calling(*args: Any) -> T:
        try:
            return await call(*args)
        except StoreUnavailable as error:
            raise web.HTTPError(503, f"the shared store is away; try again: {error}") from None
        except LocalDiskFailed as error:
            raise web.HTTPError(507, f"nothing was changed, since no version can be kept: {error}") from None
        except CorruptRecord as error:
            raise web.HTTPError(500, str(error)) from None
        except RoomError as error:
            raise web.HTTPError(400, str(error)) from None

    return calling


def described(version: Version) -> dict[str, Any]:
    """A version for people: ``at`` as ISO 8601 in UTC."""
    return {
        "id": version.id,
        "at": moment(version).isoformat().replace("+00:00", "Z"),
        "reason": version.reason,
        "by": version.by,
        "note": version.note,
        "size": version.size,
    }


def moment(version: Version) -> datetime:
    """When it was kept."""
    return datetime.fromtimestamp(version.at, UTC)


def model(key: DocumentKey, version: Version, data: bytes) -> dict[str, Any]:
    """A version as the contents API shows a file. Raises a 500 for one that is not what its kind says."""
    notebook = key.kind.type == "notebook"
    try:
        text = data.decode()
        content = nbformat.reads(text, as_version=nbformat.NO_CONVERT) if notebook else text
    except (ValueError, nbformat.ValidationError):
        raise web.HTTPError(500, f"the version {version.id} can't be shown as {key.kind}") from None
    when = described(version)["at"]
    return {
        "name": key.path.rpartition("/")[2],
        "path": key.path,
        "type": "notebook" if notebook else "file",
        "format": "json" if notebook else "text",
        "mimetype": None if notebook else "text/plain",
        "content": content,
        "created": when,
        "last_modified": when,
        "size": version.size,
        "writable": False,
        "version": described(version),
    }
