"""Stock ways to save, to make checkpoints and to go back to them, for files that are shared documents.

Each writes a whole file by itself, and would roll back what others typed. So, for a file that somebody
ever opened as a shared document, a save is merged into the document with what this login last read or
wrote as the base, a checkpoint is a version, and going back to one is a restore that everybody is told
of. All other files are saved as before.

This is mixed over the contents manager, so that it holds for every route. Synchronous managers call
themselves without awaiting, so a coroutine is only returned to who can await one: Jupyter's handlers.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from jupyter_core.utils import ensure_async
from jupyter_server import CallContext
from jupyter_server.services.contents.checkpoints import GenericCheckpointsMixin
from jupyter_server.services.contents.filecheckpoints import FileCheckpoints
from jupyter_server.services.contents.handlers import (
    CheckpointsHandler,
    ContentsHandler,
    ModifyCheckpointsHandler,
)
from jupyter_server.services.contents.manager import AsyncContentsManager
from tornado import web

from jupyter_collab_ext.bases import login_of
from jupyter_collab_ext.identity import member_of
from jupyter_collab_ext.rest.versions import answered, kind_of, moment, open_at
from notebook_sync.app import NotRestored
from notebook_sync.core.errors import RoomError, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, UserId
from notebook_sync.core.roles import Action, Member, Role, may

if TYPE_CHECKING:
    from jupyter_collab_ext.service import Service
    from notebook_sync.app import NotebookSync, Restored
    from notebook_sync.ports import Version

log = logging.getLogger(__name__)

VERSION = re.compile(r"\d{13}-[0-9a-f]{8}")
SERVER_CODE = Member(UserId("server"), Role.ORGANISER, {"name": "The server", "display_name": "The server"})
"""Who saves when no request does."""
CHECKPOINTS = (CheckpointsHandler, ModifyCheckpointsHandler)
Method = Callable[..., Any]


class LiveDocuments:
    """Mixed over a contents manager class; ``collab_service`` is set on the made class."""

    collab_service: Callable[[], Service | None]

    def get(self, path: str, content: bool = True, *args: Any, **options: Any) -> Any:
        """As the manager's; what a login reads is the base of its next save."""
        stock = super().get  # type: ignore[misc]  # a mixin
        handler = _handler()
        reading = isinstance(handler, ContentsHandler) and handler.request.method == "GET"
        if not content or not reading:
            return stock(path, content, *args, **options)
        return self._get(stock(path, content, *args, **options), handler, path)

    async def _get(self, answer: Any, handler: Any, path: str) -> Any:
        model = await ensure_async(answer)
        service = self.collab_service()
        if service is not None and service.engine is not None:
            await _remember(service, service.engine, login_of(handler), path.strip("/"), model)
        return model

    def save(self, model: dict[str, Any], path: str = "") -> Any:
        """As the manager's, or, for a shared document, merged into it."""
        stock, service = super().save, self.collab_service()  # type: ignore[misc]  # a mixin
        if service is None or service.engine is None or not _about_a_file(model):
            return stock(model, path)
        manager: Any = self
        if not isinstance(self, AsyncContentsManager) and (
            not isinstance(_handler(), ContentsHandler) or not manager.file_exists(path)
        ):
            return stock(model, path)
        return self._save(stock, service, service.engine, model, path)

    async def _save(
        self, stock: Method, service: Service, engine: NotebookSync, model: dict[str, Any], path: str
    ) -> Any:
        manager: Any = self
        handler, clean = _handler(), path.strip("/")
        login = "" if handler is None else login_of(handler)
        key = await _shared(engine, clean) if await ensure_async(manager.file_exists(path)) else None
        by = SERVER_CODE if handler is None else member_of(handler)
        if key is None or not _whole(model):
            if key is not None and model["chunk"] == 1:
                # The rest comes from the file, as a change by another program.
                await answered(engine.versions.checkpoint)(key, by)
            saved = await ensure_async(stock(model, path))
        else:
            data = _file_content(key, model)
            base = service.bases.last(login, clean, key.kind)
            _done(await answered(engine.versions.put)(key, data, base, by))
            await _to_file(engine, key)
            saved = await ensure_async(manager.get(path, content=False))
            manager.emit(data={"action": "save", "path": clean})
        if login:
            await _remember(service, engine, login, clean, model)
        return saved

    # --- checkpoints --------------------------------------------------------------------------

    def create_checkpoint(self, path: str) -> Any:
        """As the manager's, or a version."""
        return self._checkpoints(super().create_checkpoint, self._create_checkpoint, path)  # type: ignore[misc]  # a mixin

    def list_checkpoints(self, path: str) -> Any:
        """As the manager's, and the versions; the newest last, which is the one that clients go back to."""
        return self._checkpoints(super().list_checkpoints, self._list_checkpoints, path)  # type: ignore[misc]  # a mixin

    def restore_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """As the manager's, or a restore that everybody is told of."""
        stock = super().restore_checkpoint  # type: ignore[misc]  # a mixin
        return self._checkpoints(stock, self._restore_checkpoint, checkpoint_id, path)

    def delete_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """As the manager's; versions can't be deleted."""
        stock = super().delete_checkpoint  # type: ignore[misc]  # a mixin
        return self._checkpoints(stock, self._delete_checkpoint, checkpoint_id, path)

    def _checkpoints(self, stock: Method, ours: Method, *args: str) -> Any:
        service, handler = self.collab_service(), _handler()
        # A manager that makes a checkpoint by itself, within a save, gets its own.
        if service is None or service.engine is None or not isinstance(handler, CHECKPOINTS):
            return stock(*args)
        return self._if_shared(stock, ours, service.engine, *args)

    async def _if_shared(self, stock: Method, ours: Method, engine: NotebookSync, *args: str) -> Any:
        key = await _shared(engine, args[-1].strip("/"))
        if key is None:
            return await ensure_async(stock(*args))
        return await ours(stock, engine, key, *args)

    async def _create_checkpoint(
        self, stock: Method, engine: NotebookSync, key: DocumentKey, path: str
    ) -> dict[str, Any]:
        return _checkpoint(await answered(engine.versions.checkpoint)(key, member_of(_handler())))

    async def _list_checkpoints(
        self, stock: Method, engine: NotebookSync, key: DocumentKey, path: str
    ) -> list[dict[str, Any]]:
        versions = [_checkpoint(version) for version in await answered(engine.versions.list)(key)]
        listed = [*await ensure_async(stock(path)), *versions]
        return sorted(listed, key=lambda checkpoint: checkpoint["last_modified"])

    async def _restore_checkpoint(
        self, stock: Method, engine: NotebookSync, key: DocumentKey, checkpoint_id: str, path: str
    ) -> None:
        by = member_of(_handler())
        if not may(by.role, Action.RESTORE):
            raise web.HTTPError(403, f"not for {by.role}s")
        if VERSION.fullmatch(checkpoint_id):
            outcome = await answered(engine.versions.restore)(key, checkpoint_id, by)
        else:
            data = await _stock_checkpoint(self, checkpoint_id, key)
            outcome = await answered(engine.versions.put)(key, data, None, by)
        _done(outcome)
        await _to_file(engine, key)

    async def _delete_checkpoint(
        self, stock: Method, engine: NotebookSync, key: DocumentKey, checkpoint_id: str, path: str
    ) -> Any:
        if VERSION.fullmatch(checkpoint_id):
            raise web.HTTPError(403, "versions of a shared document go by themselves, and by nobody's hand")
        return await ensure_async(stock(checkpoint_id, path))


def _handler() -> Any:
    """The request that is being handled, if any."""
    return CallContext.get(CallContext.JUPYTER_HANDLER)


def _about_a_file(model: dict[str, Any]) -> bool:
    """Whether a save brings a file or a part of one, not a folder."""
    return model.get("type") in ("notebook", "file") and model.get("content") is not None


def _whole(model: dict[str, Any]) -> bool:
    """Whether it brings all of it: large uploads come in parts."""
    return _about_a_file(model) and "chunk" not in model


async def _shared(engine: NotebookSync, path: str) -> DocumentKey | None:
    """The document that a file is, if it is open here or somebody ever opened it, here or elsewhere.

    A notebook before a text view of its file: only the notebook is written to the file.
    """
    usual = DocumentKey(kind_of(path), path)
    open_here = open_at(engine, path)
    try:
        if usual in open_here or await engine.versions.known(usual):
            return usual
    except StoreUnavailable as error:
        log.warning("whether %s is a shared document can't be asked: %s", path, error)
    return open_here[0] if open_here else None


def _file_content(key: DocumentKey, model: dict[str, Any]) -> bytes:
    """The bytes that the manager would write. Raises a 400."""
    content = model["content"]
    try:
        if model["type"] == "notebook":
            if key.kind == NOTEBOOK:
                return json.dumps(content, ensure_ascii=False).encode()
            written = nbformat.writes(nbformat.from_dict(content), version=nbformat.NO_CONVERT)
            return str(written).encode()
        return base64.b64decode(content) if model.get("format") == "base64" else str(content).encode()
    except (ValueError, TypeError, AttributeError) as error:
        raise web.HTTPError(400, f"the content can't be read: {error}") from None


async def _remember(
    service: Service, engine: NotebookSync, login: str, path: str, model: dict[str, Any]
) -> None:
    """Note what a login has. Without it the next save is taken as a whole, so a failure is no trouble."""
    if not _whole(model) or model.get("format") == "base64":
        return
    key = DocumentKey(kind_of(path), path)
    try:
        data = await asyncio.to_thread(_file_content, key, model)
        service.bases.remember(login, path, key.kind, await engine.versions.slim(key, data))
    except (RoomError, web.HTTPError) as error:
        log.debug("%s is no base for a later save: %s", path, error)


async def _to_file(engine: NotebookSync, key: DocumentKey) -> None:
    """Whoever saved looks at the file next. What is not in it in time follows: it is in the store."""
    try:
        async with asyncio.timeout(engine.settings.limits.restore_wait):
            saved = await engine.save(key)
    except TimeoutError:
        saved = False
    if not saved:
        log.warning("%s was saved into the shared document, and its file could not be written yet", key.path)


def _done(outcome: Restored | NotRestored) -> None:
    if isinstance(outcome, NotRestored):
        raise web.HTTPError(404 if outcome.missing else 409, outcome.sentence)


def _checkpoint(version: Version) -> dict[str, Any]:
    return {"id": version.id, "last_modified": moment(version)}


async def _stock_checkpoint(manager: Any, checkpoint_id: str, key: DocumentKey) -> bytes:
    """What a checkpoint of the manager's own holds. Raises a 404 if there is none."""
    checkpoints = manager.checkpoints
    if isinstance(checkpoints, GenericCheckpointsMixin):
        if key.kind == NOTEBOOK:
            model = await ensure_async(checkpoints.get_notebook_checkpoint(checkpoint_id, key.path))
        else:
            model = await ensure_async(checkpoints.get_file_checkpoint(checkpoint_id, key.path))
        return _file_content(key, model)
    if not isinstance(checkpoints, FileCheckpoints):
        raise web.HTTPError(501, f"checkpoints of {type(checkpoints).__name__} can't be read; open a version")
    kept = Path(checkpoints.checkpoint_path(checkpoint_id, key.path))
    try:
        return await asyncio.to_thread(kept.read_bytes)
    except OSError:
        raise web.HTTPError(404, f"{key.path} has no checkpoint {checkpoint_id[:40]}") from None
