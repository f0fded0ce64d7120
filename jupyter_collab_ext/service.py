"""The engine's life inside a Jupyter server, and what handlers ask of it."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import weakref
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import ensure_async
from jupyter_server_fileid.manager import ArbitraryFileIdManager
from tornado import web

from jupyter_collab_ext import file_ids
from jupyter_collab_ext.bases import Bases
from jupyter_collab_ext.events import EventRelay
from jupyter_collab_ext.flow import Flow
from jupyter_collab_ext.transport import Framer, IdleWatch
from notebook_sync.app import NotebookSync, SyncSettings
from notebook_sync.core.errors import CollabError, ConfigError
from notebook_sync.core.ids import DocumentKey, DocumentKind

if TYPE_CHECKING:
    from jupyter_collab_ext.websocket import RoomHandler

log = logging.getLogger(__name__)

LOBBY = "JupyterLab:globalAwareness"
FORMATS = frozenset({"json", "text", "base64"})
TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
START_TIMEOUT = 60.0
"""Seconds a request waits for the engine to start."""
STOP_MARGIN = 5.0
"""Seconds that stopping may take beyond the engine's own limit."""


class Refused(Exception):
    """A document can't be opened: what the REST API and the socket say.

    Args:
        sentence: for people.
        status: of the REST answer.
        close_code: of the socket.
    """

    def __init__(self, sentence: str, status: int, close_code: int) -> None:
        super().__init__(sentence)
        self.status = status
        self.close_code = close_code


class Service:
    """One for each server. Starts nothing by itself.

    Args:
        serverapp: the Jupyter server.
        settings: the engine's.
        make: starts and stops the engine; its argument hears of the engine's events.
    """

    def __init__(
        self,
        serverapp: ServerApp,
        settings: SyncSettings,
        make: Callable[[EventRelay], AbstractAsyncContextManager[NotebookSync]],
    ) -> None:
        self.serverapp = serverapp
        self.settings = settings
        self.framer = Framer()
        self.idle_watch = IdleWatch(settings.limits.idle_timeout)
        self.flow = Flow(settings.limits)
        self.open_sockets: weakref.WeakSet[RoomHandler] = weakref.WeakSet()
        """The documents' sockets, to be told of files that move."""
        self.events = EventRelay(serverapp, self)
        self.bases = Bases(settings.limits)
        self.failure: str | None = None
        """Why the engine did not start, for people; None while it may or does run."""
        self._make = make
        self._stack = AsyncExitStack()
        self._engine: NotebookSync | None = None
        self._decided = asyncio.Event()
        self._starter: asyncio.Task[Any] | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- start and stop -----------------------------------------------------------------------

    @property
    def engine(self) -> NotebookSync | None:
        """The engine while it runs."""
        return self._engine

    async def start(self) -> None:
        """Start the engine. Never raises: a failure is logged, kept in ``failure``, and stops the server."""
        if self._stopped is not None or self._engine is not None:
            return
        self._starter = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        try:
            _ = self.file_ids
            self._engine = await self._stack.enter_async_context(self._make(self.events))
        except ConfigError as error:
            self._fail(str(error))
        except asyncio.CancelledError:
            if self._stopped is None:
                raise
            self.failure = "the server is shutting down"
        except Exception as error:
            log.exception("shared notebooks could not be started")
            self._fail(f"Shared notebooks could not be started: {error}")
        else:
            self.idle_watch.start()
        finally:
            self._starter = None
            self._decided.set()

    def _fail(self, sentence: str) -> None:
        self.failure = sentence
        log.critical("%s", sentence)
        self.serverapp.stop()

    async def stop(self) -> None:
        """Save and stop, once, within the engine's limit; further calls wait for the first."""
        if self._stopped is not None:
            await asyncio.shield(self._stopped)
            return
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self.settings.limits.shutdown_timeout + STOP_MARGIN):
                await self._stop()
        except TimeoutError:
            log.error("shared notebooks did not stop in time; what was acknowledged is in the store")
        except Exception:
            log.exception("shared notebooks did not stop cleanly; what was acknowledged is in the store")
        finally:
            self._stopped.set_result(None)

    async def _stop(self) -> None:
        self.idle_watch.stop()
        if self._starter is not None:
            self._starter.cancel()
            await self._decided.wait()
        self._decided.set()
        self._engine = None
        await self._stack.aclose()

    async def sync(self) -> NotebookSync:
        """The running engine. Raises a 503 if it is not there in time or will not be."""
        if self._engine is not None:
            return self._engine
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._decided.wait()
        except TimeoutError:
            raise web.HTTPError(503, "shared notebooks are still being started") from None
        if self._engine is None:
            raise web.HTTPError(503, self.failure or "shared notebooks are being stopped")
        return self._engine

    # --- names of documents -------------------------------------------------------------------

    @property
    def file_ids(self) -> Any:
        """The file id service, which loads after us. Raises ``ConfigError`` when it is not enabled."""
        manager = self.serverapp.web_app.settings.get("file_id_manager")
        if manager is None:
            raise ConfigError(
                "The server extension jupyter_server_fileid is not enabled; run: "
                "jupyter server extension enable jupyter_server_fileid"
            )
        return manager

    def room_name(self, key: DocumentKey) -> str:
        """``format:type:fileId`` of a document."""
        return f"{key.kind}:{self.file_ids.index(key.path)}"

    async def room(self, name: str) -> tuple[DocumentKey | None, str]:
        """The document that a room's name means, and its file id; ``(None, "")`` for the global awareness.

        Raises ``Refused``.
        """
        if name == LOBBY:
            return None, ""
        parts = name.split(":", 2)
        if len(parts) != 3:
            raise Refused(f"there is no room {name[:60]!r}", 404, 4404)
        form, kind, file_id = parts
        path = await file_ids.path_of(self.file_ids, file_id)
        if path is None:
            raise Refused("no file has this id; it may have been deleted", 404, 4404)
        return await self.key(form, kind, path), file_id

    async def key(self, form: object, kind: object, path: str) -> DocumentKey:
        """The document of a file. The file need not exist. Raises ``Refused``."""
        if not isinstance(form, str) or form not in FORMATS:
            raise Refused("format must be one of: json, text, base64", 400, 4400)
        if not isinstance(kind, str) or not TYPE.fullmatch(kind):
            raise Refused("type must be a short name like notebook or file", 400, 4400)
        return DocumentKey(DocumentKind(form, kind), await self.path(path))

    async def path(self, path: str) -> str:
        """``path`` as the contents API writes it, checked. Raises ``Refused``."""
        clean = path.strip("/")
        segments = clean.split("/")
        if not clean or "\0" in clean or "\\" in clean or {"", ".", ".."} & set(segments):
            raise Refused("this path is not in the server's folder", 404, 4404)
        contents: Any = self.serverapp.contents_manager
        try:
            if not contents.allow_hidden and await ensure_async(contents.is_hidden(clean)):
                raise Refused(f"{clean} does not exist", 404, 4404)
            if await ensure_async(contents.dir_exists(clean)):
                raise Refused(f"{clean} is a folder", 400, 4400)
        except web.HTTPError as error:
            raise Refused(error.log_message or "this path can't be used", error.status_code, 4404) from None
        return clean

    # --- what the contents API did ------------------------------------------------------------

    async def renamed(self, old: str, new: str) -> None:
        """A file or folder was renamed through Jupyter: file ids and open documents follow. Never raises."""
        try:
            for handler in list(self.open_sockets):
                handler.moved(old, new)
            if self._engine is not None:
                await self._engine.renamed(old, new)
        except CollabError as error:
            log.warning("%s was renamed to %s, but shared notebooks could not follow: %s", old, new, error)

    def move_file_id(self, old: str, new: str) -> None:
        """The file or folder is at ``new`` now: move its id, and those of all files below it. Never raises.

        The service's own listener does so later than a client may ask for the new path; it leaves the
        files of a folder behind that has no id itself, and fails when a file that was deleted behind
        Jupyter's back left its id at the new path.
        """
        try:
            ids = self.file_ids
            if isinstance(ids, ArbitraryFileIdManager):
                ids.index(old)
            if ids.get_id(old) is None:
                return
            if ids.get_id(new) is not None:
                ids.delete(new)
            ids.move(old, new)
        except (ConfigError, sqlite3.Error) as error:
            log.warning("the file id of %s could not follow it to %s: %s", old, new, error)

    def file_replaced(self, path: str, inode: int) -> None:
        """A save gave the file another inode; called in a thread. Its id stays."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._move_inode, path, inode)

    def _move_inode(self, path: str, inode: int) -> None:
        try:
            file_ids.replaced(self.file_ids, path, inode)
        except (ConfigError, sqlite3.Error) as error:
            log.warning("the file id of %s could not stay with it: %s", path, error)

    async def deleted(self, path: str) -> None:
        """A file or folder was deleted through Jupyter. Never raises."""
        try:
            if self._engine is not None:
                await self._engine.deleted(path)
        except CollabError as error:
            log.warning("%s was deleted, but shared notebooks could not follow: %s", path, error)
