"""Stock clients in the test's process, without a socket between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from pycrdt import Array, Doc, Text, TransactionEvent

from notebook_sync.app import Connection, NotebookSync
from notebook_sync.core import wire
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member, Role

WORK = DocumentKey(NOTEBOOK, "work.ipynb")


class Tab:
    """A stock client in this process: a Y.Doc behind a socket that never stalls."""

    def __init__(self, doc: Doc[Any] | None = None) -> None:
        self.doc: Doc[Any] = doc or Doc()
        self.closed: tuple[int, str] | None = None
        self.synced = False
        self.raw: list[dict[str, object]] = []
        self._connection: Connection | None = None
        self._receiving = False
        self._subscription = self.doc.observe(self._changed)

    def join(self, sync: NotebookSync, key: DocumentKey = WORK, session_id: str | None = None) -> Tab:
        member = Member(UserId(f"user{id(self)}"), Role.PARTICIPANT, {"name": "Somebody"})
        self.closed = None
        self._connection = sync.connect(key, self, member, session_id=session_id, wants=frozenset({"stored"}))
        self._connection.receive(wire.encode_sync_step1(self.doc.get_state()))
        return self

    def leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()

    def write(self, frame: bytes) -> None:
        if frame[0] == 2:
            self.raw.append(json.loads(frame[frame.index(b"{") :]))
            return
        match wire.parse(frame, Limits()):
            case wire.SyncStep1(state_vector=state_vector):
                answer = wire.encode_sync_step2(self.doc.get_update(state_vector))
                asyncio.get_running_loop().call_soon(self._answer, answer)
            case wire.SyncStep2(update=update):
                self._take(update)
                self.synced = True
            case wire.SyncUpdate(update=update):
                self._take(update)
            case _:
                pass

    def _answer(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.receive(frame)

    def _take(self, update: bytes) -> None:
        self._receiving = True
        self.doc.apply_update(update)
        self._receiving = False

    def _changed(self, event: TransactionEvent) -> None:
        if not self._receiving and self._connection is not None:
            self._connection.receive(wire.encode_update(event.update))

    @property
    def backlog(self) -> int:
        return 0

    def when_drained(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        asyncio.get_running_loop().call_soon(self.leave)

    def cells(self) -> list[str]:
        return [str(cell["source"]) for cell in self.doc.get("cells", type=Array)]

    def type(self, text: str) -> None:
        source: Text = self.doc.get("cells", type=Array)[0]["source"]
        source += text

    def cell(self, cell_id: str) -> Text:
        """The source of the cell with this id."""
        for cell in self.doc.get("cells", type=Array):
            if cell["id"] == cell_id:
                source: Text = cell["source"]
                return source
        raise AssertionError(f"there is no cell {cell_id}")

    @property
    def text(self) -> Text:
        """A text file's text."""
        text: Text = self.doc.get("source", type=Text)
        return text
