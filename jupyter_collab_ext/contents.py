"""Renames and deletes through the contents API reach open documents within the same request.

A mixin goes over whatever contents manager is configured. Managers call themselves (``update`` calls
``rename``), so only the outermost call tells; and a synchronous manager must stay synchronous inside,
so the methods are plain functions that return a coroutine only to those who can await one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.manager import AsyncContentsManager
from tornado.ioloop import IOLoop

from jupyter_collab_ext.live_contents import LiveDocuments

if TYPE_CHECKING:
    from jupyter_collab_ext.service import Service

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file or folder has another path."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file or folder is gone."""

    path: str


Change = Renamed | Deleted

_changes: ContextVar[list[Change] | None] = ContextVar("jupyter_collab_changes", default=None)
"""What the outermost call has changed so far; None outside of one."""


class TellsChanges:
    """Mixed over a contents manager class; ``collab_service`` is set on the made class."""

    collab_service: Callable[[], Service | None]

    def rename(self, old_path: str, new_path: str) -> Any:
        """As the manager's, and tell."""
        change = Renamed(old_path.strip("/"), new_path.strip("/"))
        return self._telling(change, super().rename, old_path, new_path)  # type: ignore[misc]  # a mixin

    def rename_file(self, old_path: str, new_path: str) -> Any:
        """As the manager's; the file id follows at once, before the event of the rename is emitted."""
        result = super().rename_file(old_path, new_path)  # type: ignore[misc]  # a mixin
        if asyncio.iscoroutine(result):
            return self._then_move_id(result, old_path, new_path)
        self._move_id(old_path, new_path)
        return result

    async def _then_move_id(self, result: Coroutine[Any, Any, Any], old_path: str, new_path: str) -> Any:
        value = await result
        self._move_id(old_path, new_path)
        return value

    def _move_id(self, old_path: str, new_path: str) -> None:
        service, old, new = self.collab_service(), old_path.strip("/"), new_path.strip("/")
        if service is not None and old != new:
            service.move_file_id(old, new)

    def delete(self, path: str) -> Any:
        """As the manager's, and tell."""
        return self._telling(Deleted(path.strip("/")), super().delete, path)  # type: ignore[misc]  # a mixin

    def update(self, model: dict[str, Any], path: str) -> Any:
        """As the manager's; the rename inside is told."""
        return self._telling(None, super().update, model, path)  # type: ignore[misc]  # a mixin

    def _telling(self, change: Change | None, method: Callable[..., Any], *args: Any) -> Any:
        changes = _changes.get()
        if changes is not None:
            result = method(*args)
            if asyncio.iscoroutine(result):
                return _then_note(result, changes, change)
            _note(changes, change)
            return result
        if isinstance(self, AsyncContentsManager) or _in_request():
            return self._tell_after(change, method, *args)
        return self._tell_soon(change, method, *args)

    async def _tell_after(self, change: Change | None, method: Callable[..., Any], *args: Any) -> Any:
        changes: list[Change] = []
        token = _changes.set(changes)
        try:
            result = await ensure_async(method(*args))
            _note(changes, change)
            return result
        finally:
            _changes.reset(token)
            await tell(self.collab_service(), changes)

    def _tell_soon(self, change: Change | None, method: Callable[..., Any], *args: Any) -> Any:
        changes: list[Change] = []
        token = _changes.set(changes)
        try:
            result = method(*args)
            _note(changes, change)
            return result
        finally:
            _changes.reset(token)
            if changes:
                IOLoop.current().add_callback(tell, self.collab_service(), changes)


def _in_request() -> bool:
    from jupyter_server import CallContext

    return CallContext.get(CallContext.JUPYTER_HANDLER) is not None


def _note(changes: list[Change], change: Change | None) -> None:
    if change is not None:
        changes.append(change)


async def _then_note(result: Coroutine[Any, Any, Any], changes: list[Change], change: Change | None) -> Any:
    value = await result
    _note(changes, change)
    return value


async def tell(service: Service | None, changes: list[Change]) -> None:
    """Hand ``changes`` to the engine, in order."""
    if service is None:
        return
    for change in changes:
        match change:
            case Renamed():
                service.bases.forget(change.old)
                service.bases.forget(change.new)
                await service.renamed(change.old, change.new)
            case Deleted():
                service.bases.forget(change.path)
                await service.deleted(change.path)


def install(serverapp: ServerApp, service: Callable[[], Service | None]) -> None:
    """Put the mixins over the configured contents manager class; call before managers are made.

    Its configuration sections stay valid, since the made class inherits from it.
    """
    base: Any = serverapp.contents_manager_class
    if issubclass(base, TellsChanges):
        return
    serverapp.contents_manager_class = type(base)(
        f"Collab{base.__name__}",
        (TellsChanges, LiveDocuments, base),
        {"__module__": __name__, "__doc__": base.__doc__, "collab_service": staticmethod(service)},
    )
