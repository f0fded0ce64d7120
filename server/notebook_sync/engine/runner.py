"""One open room: events in one at a time, effects carried out in order.

There is no task and no queue in the path of a keystroke: a client's frame is handled, and sent to the
others, in the call that brought it. What takes time (store, file) runs in tasks of the supervisor and
comes back as an event.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core.errors import (
    RoomError,
)
from notebook_sync.core.ids import ConnectionId, DocumentId, DocumentKey, Lineage, UserId
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member
from notebook_sync.core.room import Room, RoomConfig
from notebook_sync.engine.checkpointer import Checkpointer
from notebook_sync.engine.connection import Connection, Transport
from notebook_sync.engine.journalist import Journalist
from notebook_sync.engine.log_work import LogWork
from notebook_sync.engine.opening import Opening
from notebook_sync.engine.workshop import CLOSE_OTHER, Told, Workshop, close_code
from notebook_sync.ports import (
    LateWrite,
)

log = logging.getLogger(__name__)


class RoomRunner:
    """Made by the registry; ``start`` begins to load, ``finished`` is called when it can be forgotten."""

    def __init__(
        self,
        key: DocumentKey,
        workshop: Workshop,
        *,
        file_id: str,
        tell: Callable[[Told], None],
        finished: Callable[[RoomRunner], None],
    ) -> None:
        self.key = key
        self._workshop = workshop
        self._tell = tell
        self._on_finished = finished
        self._connections: dict[ConnectionId, Connection] = {}
        self._queue: deque[ev.Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._savers: dict[int, asyncio.Future[bool]] = {}
        self._save_numbers = itertools.count()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the room is closed and nothing of it listens any more."""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room = Room(
            RoomConfig(
                node=workshop.node,
                limits=_limits_for(key, workshop.limits),
                new_client_id=workshop.new_client_id,
                on_server_edit=lambda update: self.post(ev.ServerEdited(update)),
                path=key.path,
                file_id=file_id,
                level=workshop.level(),
                batch_numbers=workshop.batch_numbers,
            )
        )
        self._log = LogWork(workshop, self.post)
        self._opening = Opening(self, workshop, self._named, self._log.heard, self.post)
        self._journalist = Journalist(workshop.copies, self.post)
        self._save_failure = ""
        """Why the last save failed, as people were told."""
        self.checkpointer = Checkpointer(workshop.saver, key.kind, key.path, self._notice)

    # --- for the outside ----------------------------------------------------------------------

    @property
    def room(self) -> Room:
        """The room, to be looked at only."""
        return self._room

    @property
    def document(self) -> DocumentId:
        """Empty until the document is loaded."""
        return self._log.document

    @property
    def people(self) -> list[Member]:
        """Who is connected, one entry for each socket."""
        return [connection.member for connection in self._connections.values()]

    def start(self, after: asyncio.Future[None] | None = None) -> None:
        """Begin to load the document, once the room that had it before is ``gone``."""
        self._tell(Told("initialize", self.key, "INFO", "Initializing the document"))
        self._workshop.supervisor.spawn(self._load(after), f"load {self.key}", self._load_failed)

    def connect(
        self, transport: Transport, member: Member, wants: frozenset[str], lineage: Lineage | None
    ) -> Connection:
        """A person's socket is open."""
        number = ConnectionId(next(self._workshop.connection_numbers))
        connection = Connection(number, member, transport, self, self._workshop.limits)
        self._connections[number] = connection
        self._tell(Told("join", self.key, "INFO", "", member))
        self.post(ev.Joined(number, member, wants, lineage))
        return connection

    def disconnect(self, user: UserId, code: int, reason: str) -> int:
        """Close a person's sockets and take nothing more from them; returns how many there were."""
        theirs = [each for each in self._connections.values() if each.member.user == user]
        for connection in theirs:
            connection.close(code, reason)
            self.post(ev.Left(connection.id))  # at once: their caret goes, whenever their end answers
        return len(theirs)

    def state_vector(self) -> bytes:
        """What people here can have been sent."""
        return self._room.shown_state_vector()

    async def opened(self) -> None:
        """Wait until the document is there. Raises ``RoomError`` with the reason if it can't be opened."""
        await self._opened

    async def save(self) -> bool:
        """Bring the file up to date now; False if it could not be written."""
        token = next(self._save_numbers)
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._savers[token] = waiting
        self.post(ev.SaveAsked(token))
        return await waiting

    def edit(self, update: bytes) -> None:
        """An edit that this server made under a client id of its own: seen once it is stored (rule 14), and
        logged as these bytes."""
        if self._room.replica.apply(update):
            self.post(ev.ServerEdited(update))

    def late(self, late: LateWrite) -> bool:
        """A program wrote into the file after it was replaced; False if this room can't take that in."""
        takes = not self.closed.done() and not self.key.is_text_of_notebook
        if not takes or not self.checkpointer.late(late):
            return False
        self.post(ev.FileTouched())
        return True

    def renamed(self, path: str) -> None:
        """The file is somewhere else now; the room stays."""
        self.key = DocumentKey(self.key.kind, path)
        self.checkpointer.path = path
        self.post(ev.PathChanged(path))

    def post(self, event: ev.Event) -> None:
        """Handle an event, or queue it when one is being handled."""
        self._queue.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._queue:
                self._handle(self._queue.popleft())
        finally:
            self._handling = False
        self._set_timer()

    # --- the loop -----------------------------------------------------------------------------

    def _handle(self, event: ev.Event) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(event, ev.Left):
            gone = self._connections.pop(event.connection, None)
            if gone is not None:
                self._tell(Told("leave", self.key, "INFO", "", gone.member))
        try:
            effects = self._room.handle(event, loop.time())
        except Exception as error:  # noqa: BLE001 - the radius of a bug in a room is that room
            self._broken(event, error)
            return
        for effect in effects:
            self._perform(effect)

    def _broken(self, event: ev.Event, error: Exception) -> None:
        """A bug, or a message that finds one: its sender goes, and if need be the room, never the server."""
        log.error("%s could not handle %s", self.key, type(event).__name__, exc_info=error)
        self._workshop.metrics.count("room_errors")
        if isinstance(event, ev.MessageReceived):
            connection = self._connections.get(event.connection)
            if connection is not None:
                connection.close(CLOSE_OTHER, f"this message could not be handled: {error}")
        elif not isinstance(event, ev.CloseAsked):
            self._queue.append(
                ev.CloseAsked(CLOSE_OTHER, "the document had to be closed after an internal error")
            )

    def _set_timer(self) -> None:
        """Wake up at the deadline. A timer that is earlier than needed stays: it finds nothing to do and
        is set again, which costs less than a new one for every key."""
        deadline = self._room.deadline()
        if deadline is None or self.closed.done():
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.post(ev.Tick())

    def _perform(self, effect: ef.Effect) -> None:  # noqa: C901, PLR0915 - one flat table of all effects
        spawn = self._workshop.supervisor.spawn
        match effect:
            case ef.Send():
                self._send(effect.connection, effect.frame, effect.droppable)
            case ef.Broadcast():
                for number in effect.connections:
                    self._send(number, effect.frame, effect.droppable)
            case ef.Disconnect():
                connection = self._connections.get(effect.connection)
                if connection is not None:
                    connection.close(effect.code, effect.reason)
            case ef.Append():
                spawn(self._log.append(effect), f"append {self.key}")
            case ef.FetchEntries():
                spawn(self._log.fetch(effect), f"fetch {self.key}")
            case ef.Load():
                spawn(self._opening.again(effect), f"reload {self.key}", self._load_failed)
            case ef.Refound():
                spawn(self._opening.refound(effect), f"found again {self.key}", self._load_failed)
            case ef.OfferSeed():
                self._opening.seeds.offer(effect)
            case ef.Record():
                spawn(self._journalist.record(self.document, effect), f"journal {self.key}")
            case ef.KeepCopy():
                provisional = self._room.provisional
                work = self._journalist.keep(self.document, self.key, effect, provisional=provisional)
                spawn(work, f"keep {self.key}")
            case ef.Outlived():
                spawn(self._opening.outlived(effect), f"keep what {self.key} was")
            case ef.PublishAwareness():
                spawn(self._log.publish(effect), f"awareness {self.key}")
            case ef.Checkpoint():
                spawn(self._checkpoint(effect), f"save {self.key}", self._checkpoint_failed)
            case ef.SaveAnswered():
                if (waiting := self._savers.pop(effect.token, None)) is not None and not waiting.done():
                    waiting.set_result(effect.saved)
            case ef.Compact():
                spawn(self._log.compact(self._room.seq), f"compact {self.key}")
            case ef.StateChanged():
                log.info("%s is %s%s", self.key, effect.state, f": {effect.reason}" if effect.reason else "")
                level = "WARNING" if effect.state is DocumentState.DEGRADED else "INFO"
                self._tell(Told("status", self.key, level, str(effect.state)))
            case ef.Report():
                log.warning("%s: %s", self.key, effect.message)
            case ef.Finish():
                self._finish()
            case _:
                assert_never(effect)

    def _send(self, number: ConnectionId, frame: bytes, droppable: bool) -> None:
        connection = self._connections.get(number)
        if connection is not None:
            connection.send(frame, droppable=droppable)

    def _finish(self) -> None:
        if self.closed.done():
            return
        self.closed.set_result(None)
        for waiting in self._savers.values():
            if not waiting.done():
                waiting.set_result(False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._workshop.supervisor.spawn(self._unsubscribe(), f"unsubscribe {self.key}") is None:
            self.gone.set_result(None)
        self._tell(Told("clean", self.key, "INFO", "Room deleted."))
        self._on_finished(self)

    async def _unsubscribe(self) -> None:
        try:
            if self.document:
                await self.checkpointer.close()
                await self._workshop.channel.unsubscribe(self.document)
        finally:
            self.gone.set_result(None)

    def _notice(self, level: str, sentence: str) -> None:
        self._tell(Told("overwrite", self.key, level.upper(), sentence))

    # --- what takes time ----------------------------------------------------------------------

    def _named(self, document: DocumentId) -> None:
        self._log.document = self.checkpointer.document = document

    def _load_failed(self, error: BaseException) -> None:
        if not self._opened.done():
            self._opened.set_exception(error if isinstance(error, Exception) else RoomError(str(error)))
            self._opened.exception()  # seen, also when nobody waits for it
        self.post(ev.OpenFailed(*close_code(error)))

    async def _load(self, after: asyncio.Future[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        try:
            event = await self._opening.first()
        except RoomError as error:
            log.info("%s can't be opened: %s", self.key, error)
            self._load_failed(error)
            return
        if event is not None:
            self._tell(Told("load", self.key, "INFO", "Content loaded"))
            self.post(event)
            self._opened.set_result(None)

    async def _checkpoint(self, checkpoint: ef.Checkpoint) -> None:
        started = asyncio.get_running_loop().time()
        outcome = await self.checkpointer.run(checkpoint)
        if isinstance(outcome, ev.Checkpointed):
            self._workshop.metrics.observe("checkpoint_seconds", asyncio.get_running_loop().time() - started)
            self._tell(Told("save", self.key, "INFO", "Content saved."))
            self._save_failure = ""
        elif isinstance(outcome, ev.CheckpointFailed) and outcome.reason != self._save_failure:
            # Once: it is tried again every few seconds.
            self._tell(Told("save", self.key, "ERROR", outcome.reason))
            self._save_failure = outcome.reason
        self.post(outcome)

    def _checkpoint_failed(self, error: BaseException) -> None:
        self.post(ev.CheckpointFailed(str(error)))


def _limits_for(key: DocumentKey, limits: Limits) -> Limits:
    """A text view of a notebook is brought together with the file only when nobody types in it."""
    if key.is_text_of_notebook:
        return replace(limits, save_delay=limits.text_view_idle, save_ceiling=math.inf)
    return limits
