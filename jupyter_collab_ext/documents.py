"""Shared documents for other server extensions, as jupyter-server-ydoc hands them out.

jupyterlab-chat and jupyter-server-nbmodel call ``get_document`` of the extension app;
jupyter-mcp-server calls ``ywebsocket_server.get_room(id)`` and takes its ``_document``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyter_ydoc import ydocs
from jupyter_ydoc.ybasedoc import YBaseDoc
from pycrdt import Doc

from jupyter_collab_ext.service import Refused
from notebook_sync.core.errors import RoomError
from notebook_sync.core.ids import DocumentKey

if TYPE_CHECKING:
    from jupyter_collab_ext.service import Service

WHICH = "Give either room_id, or all of path, content_type and file_format."
NO_FILE = 4404
"""The close code of a room without a file."""


class RoomNotFound(LookupError):
    """There is no open room of this name."""


class NoFile(ValueError):
    """A room's name means no file that is known."""


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """What those who look rooms up by name take from them."""

    room_id: str
    _document: YBaseDoc
    """The live document."""

    @property
    def file_type(self) -> str:
        """The document's type, as in the room's name."""
        return self.room_id.split(":", 2)[1]

    @property
    def ydoc(self) -> Doc[Any]:
        """The live document's ``Doc``."""
        return self._document.ydoc


class Documents:
    """Views of shared documents. A live one is made once for each ``Doc``, so that observers stay on it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._views: dict[DocumentKey, YBaseDoc] = {}

    async def get(
        self,
        *,
        path: str | None = None,
        content_type: str | None = None,
        file_format: str | None = None,
        room_id: str | None = None,
        copy: bool = True,
        create: bool = False,
    ) -> YBaseDoc | None:
        """A shared document, named by its room or by path, type and format.

        With ``copy`` the view is a copy, and what is written into it stays there; without, what is
        written is an edit that everybody sees. None if the document is not open; with ``create`` it is
        opened then. Without, None also for a room whose file is not known: others remember a room's name
        for longer than it lives, and then try the path. Raises ``ValueError`` for a wrong choice of
        arguments or a room that can't be.
        """
        try:
            key = await self._key(path, content_type, file_format, room_id)
        except NoFile:
            if create:
                raise
            return None
        if not create and not self._is_open(key):
            return None
        sync = await self._service.sync()
        try:
            doc = await sync.live_document(key)
        except RoomError:
            if create:
                raise
            return None
        return copied(key, doc) if copy else self._view(key, doc)

    async def _key(
        self, path: str | None, content_type: str | None, file_format: str | None, room_id: str | None
    ) -> DocumentKey:
        by_path = (path, content_type, file_format)
        try:
            if room_id is None:
                if path is None or content_type is None or file_format is None:
                    raise ValueError(WHICH)
                return await self._service.key(file_format, content_type, path)
            if by_path != (None, None, None):
                raise ValueError(WHICH)
            key, _ = await self._service.room(room_id)
        except Refused as refused:
            no_file = room_id is not None and refused.close_code == NO_FILE
            raise (NoFile if no_file else ValueError)(str(refused)) from None
        if key is None:
            raise ValueError("the global awareness has no document")
        return key

    def _is_open(self, key: DocumentKey) -> bool:
        engine = self._service.engine
        return engine is not None and any(status.key == key for status in engine.rooms())

    def _view(self, key: DocumentKey, doc: Doc[Any]) -> YBaseDoc:
        engine = self._service.engine
        still_open = {status.key for status in engine.rooms()} if engine is not None else set()
        self._views = {known: view for known, view in self._views.items() if known in still_open}
        view = self._views.get(key)
        if view is None or view.ydoc is not doc:
            view = self._views[key] = _document_class(key)(doc)
        return view


def _document_class(key: DocumentKey) -> Any:
    return ydocs.get(key.kind.type, ydocs["file"])


def copied(key: DocumentKey, doc: Doc[Any]) -> YBaseDoc:
    """A view of a copy of ``doc``, which writes under an id of its own (rule 14)."""
    fork: Doc[Any] = Doc()
    fork.apply_update(doc.get_update())
    view: YBaseDoc = _document_class(key)(fork)
    return view


class RoomsByName:
    """What other extensions know as ``ywebsocket_server``."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def get_room(self, name: str) -> OpenRoom:
        """An open room. Raises ``RoomNotFound`` if there is none; it is not opened for the caller."""
        try:
            document = await self._documents.get(room_id=name, copy=False)
        except ValueError as error:
            raise RoomNotFound(str(error)) from None
        if document is None:
            raise RoomNotFound(f"no room {name} is open")
        return OpenRoom(name, document)
