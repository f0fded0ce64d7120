"""Rooms built from events only, and what they said."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pycrdt import Array, Doc, Map, Text

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.ids import ConnectionId, Generation, Lineage, NodeId, UserId
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member, Role
from notebook_sync.core.room import Room, RoomConfig

LINEAGE, OTHER_LINEAGE = Lineage("a" * 32), Lineage("b" * 32)
GENERATION = Generation("c" * 32)
NODE, OTHER_NODE = NodeId("here"), NodeId("there")
ANNA, BEN, TUTOR = ConnectionId(1), ConnectionId(2), ConnectionId(3)

E = TypeVar("E", bound=ef.Effect)


def text_update(text: str, client_id: int = 500, after: Doc[Any] | None = None) -> bytes:
    """An update that types ``text`` at the end of the root text ``t``, by this client id."""
    doc: Doc[Any] = Doc(client_id=client_id)
    if after is not None:
        doc.apply_update(after.get_update())
    before = doc.get_state()
    content = doc.get("t", type=Text)
    content += text
    return doc.get_update(before)


def seed_update() -> bytes:
    """A document with one cell, as a file gives it."""
    doc: Doc[Any] = Doc(client_id=99)
    doc.get("cells", type=Array).append(Map({"id": "one", "source": Text("x = 1")}))
    return doc.get_update()


class RoomUnderTest:
    """A room, its clock, and everything it ever wanted. ``disk``: whether this server's disk takes what it
    is given, at once; without it the test answers for the disk."""

    def __init__(self, limits: Limits | None = None, open_now: bool = True, disk: bool = True) -> None:
        self.disk = disk
        limits = replace(limits or Limits(), journal_gather=0.0)
        ids = itertools.count(10_000)
        self.now = 100.0
        self.effects: list[ef.Effect] = []
        self.edits: list[bytes] = []
        self.room = Room(
            RoomConfig(NODE, limits, lambda: next(ids), self.edits.append, "work.ipynb", "file-1")
        )
        if open_now:
            self.open()

    def state(self) -> DocumentState:
        """Where the document is in its life."""
        return self.room.state

    def open(self, snapshot: bytes | None = None, lineage: Lineage = LINEAGE) -> None:
        snapshot = seed_update() if snapshot is None else snapshot
        self.tell(ev.Opened(lineage, GENERATION, snapshot, (), 0, bytes(8)))

    def tell(self, event: ev.Event, later: float = 0.0) -> list[ef.Effect]:
        """Handle one event; returns what it led to."""
        self.now += later
        effects = self.room.handle(event, self.now)
        for effect in effects if self.disk else ():
            match effect:
                case ef.Record():
                    effects += self.room.handle(ev.Recorded(), self.now)
                case ef.KeepCopy():
                    effects += self.room.handle(ev.CopyKept(), self.now)
                case _:
                    pass
        self.effects += effects
        return effects

    def join(
        self,
        connection: ConnectionId,
        role: Role = Role.PARTICIPANT,
        user: str | None = None,
        lineage: Lineage | None = None,
    ) -> list[ef.Effect]:
        name = user or f"user{connection}"
        member = Member(UserId(name), role, {"username": name, "name": name})
        return self.tell(ev.Joined(connection, member, frozenset({"stored"}), lineage))

    def sends(self, connection: ConnectionId, message: wire.Message) -> list[ef.Effect]:
        return self.tell(ev.MessageReceived(connection, message, 10))

    def types(self, connection: ConnectionId, update: bytes) -> list[ef.Effect]:
        return self.sends(connection, wire.SyncUpdate(update))

    def stored(self, effects: Sequence[ef.Effect] | None = None, seq: int | None = None) -> list[ef.Effect]:
        """Acknowledge the newest append."""
        (append,) = of(self.effects if effects is None else effects, ef.Append)[-1:]
        seq = self.room.seq + 1 if seq is None else seq
        return self.tell(ev.BatchAppended(append.number, seq, bytes([seq % 256]) * 8))

    def tick_until(self, moment: float) -> list[ef.Effect]:
        """Let time pass as the runner does: a tick at each deadline."""
        seen: list[ef.Effect] = []
        while (deadline := self.room.deadline()) is not None and deadline <= moment:
            self.now = max(self.now, deadline)
            seen += self.tell(ev.Tick())
        self.now = moment
        return seen


def of(effects: Sequence[ef.Effect], kind: type[E]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]


def frames_to(effects: Sequence[ef.Effect], connection: ConnectionId) -> list[bytes]:
    """The frames that these effects send to one connection, in order."""
    frames: list[bytes] = []
    for effect in effects:
        match effect:
            case ef.Send(connection=to, frame=frame):
                frames += [frame] * (to == connection)
            case ef.Broadcast(connections=several, frame=frame):
                frames += [frame] * (connection in several)
            case _:
                pass
    return frames


def messages_to(effects: Sequence[ef.Effect], connection: ConnectionId) -> list[wire.Message]:
    """The same, parsed; RAW messages left out."""
    return [wire.parse(f, Limits()) for f in frames_to(effects, connection) if f[0] != 2]


def raw_to(effects: Sequence[ef.Effect], connection: ConnectionId) -> list[dict[str, object]]:
    """The JSON of RAW messages to one connection."""
    return [json.loads(f[f.index(b"{") :]) for f in frames_to(effects, connection) if f[0] == 2]
