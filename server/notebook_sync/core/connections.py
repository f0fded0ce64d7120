"""What a room knows of each connection: who it is, which frames it sent, what it was told of them."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field, replace

from notebook_sync.core.ids import ClientId, ConnectionId, Lineage, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Action, Member, Role, may

AWAITING_KEPT = 256
"""Frames of one connection that are remembered one by one while the store is away."""


@dataclass(slots=True)
class Connected:
    """One connection. Sync frames are numbered from 1 in order, refused ones too (rule 24)."""

    member: Member
    wants: frozenset[str]
    lineage: Lineage | None = None
    """The history the client says it holds."""
    frames: int = 0
    told: dict[str, int] = field(default_factory=dict)
    """The newest frame acknowledged, for each level."""
    awaiting: deque[tuple[int, int]] = field(default_factory=deque)
    """(frame number, position that must be durable), oldest first."""
    refused: list[int] = field(default_factory=list)
    parked: bool = False
    """It sent something that builds on what is missing: acknowledgements wait until that has come."""
    slow: bool = False
    """Its backlog was dropped: no updates until it is resynced."""
    client_ids: set[ClientId] = field(default_factory=set)
    """The Yjs client ids it typed under."""

    def may(self, action: Action) -> bool:
        """Whether this person's role allows the action."""
        return may(self.member.role, action)

    def of(self, lineage: Lineage | None) -> bool:
        """Whether the client holds this history, or none yet."""
        return self.lineage in (None, lineage)

    def change_role(self, role: Role) -> None:
        """The person may do more, or less, from now on."""
        self.member = replace(self.member, role=role)

    def counted(self, position: int) -> None:
        """A sync frame was handled; it is stored when ``position`` is durable (rule 2)."""
        self.frames += 1
        if "stored" in self.wants:
            self.awaiting.append((self.frames, position))

    def counted_refused(self, position: int) -> None:
        """A sync frame was refused by role or rule; the client is told its number."""
        self.counted(position)
        if "stored" in self.wants:
            self.refused.append(self.frames)

    def unparked(self, position: int) -> None:
        """What was missing has come, at the latest with ``position``: that must be durable first."""
        self.parked = False
        self.awaiting = deque((frame, max(needed, position)) for frame, needed in self.awaiting)

    def stored_message(self, durable: int, level: str, *, final: bool) -> str | None:
        """The JSON of a RAW ``stored`` message, or None when there is nothing new to tell.

        ``final``: no other level will be told of these frames later.
        """
        if not self.awaiting or self.awaiting[0][1] > durable:
            return None
        newest, before = self._newest(durable, final=final), self.told.get(level, 0)
        if newest <= before:
            return None
        self.told[level] = newest
        refused = [n for n in self.refused if before < n <= newest]
        if final:
            self.refused = [n for n in self.refused if n > newest]
        return json.dumps({"type": "stored", "n": newest, "level": level, "refused": refused})

    def _newest(self, durable: int, *, final: bool) -> int:
        """The newest frame that is safe; the first one is."""
        passed = 0
        while passed < len(self.awaiting) and self.awaiting[passed][1] <= durable:
            passed += 1
        last = self.awaiting[passed - 1]
        if final or passed > AWAITING_KEPT:
            for _ in range(passed):
                self.awaiting.popleft()
            if not final:
                self.awaiting.appendleft(last)  # one for all of them: acknowledgements are cumulative
        return last[0]


@dataclass(slots=True)
class _Challenge:
    challengers: list[ConnectionId]
    deadline: float


class ClientOwners:
    """Which connection writes under which Yjs client id (rule 13).

    An id belongs to the first user that typed under it. While that user's connection lives, another
    user's new clocks for it are refused and the owner is asked for its own. A connection that looks
    alive but says nothing in time (a half-open socket) loses the id to the challenger.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._owners: dict[ClientId, tuple[UserId, ConnectionId]] = {}
        self._challenges: dict[ConnectionId, _Challenge] = {}

    def owner(self, client: ClientId, asker: ConnectionId, user: UserId) -> ConnectionId | None:
        """The live connection of another user that owns ``client``; None if the asker may write under it."""
        known = self._owners.get(client)
        if known is None or known[0] == user or known[1] == asker:
            return None
        return known[1]

    def bind(self, client: ClientId, connection: ConnectionId, user: UserId) -> None:
        """``connection`` typed under ``client``."""
        self._owners[client] = (user, connection)

    def challenge(self, owner: ConnectionId, challenger: ConnectionId, now: float) -> None:
        """The owner must show a sign of life, and give its own edits."""
        known = self._challenges.setdefault(owner, _Challenge([], now + self._limits.repair_interval))
        if challenger not in known.challengers:
            known.challengers.append(challenger)

    def alive(self, connection: ConnectionId) -> None:
        """The connection sent something."""
        self._challenges.pop(connection, None)

    def left(self, connection: ConnectionId) -> None:
        """The connection is gone: its ids are free, and who wrote under them is asked again."""
        challenge = self._challenges.get(connection)
        if challenge is not None:
            challenge.deadline = -math.inf
        self._free(connection)

    def _free(self, connection: ConnectionId) -> None:
        self._owners = {c: o for c, o in self._owners.items() if o[1] != connection}

    def decided(self, now: float) -> list[ConnectionId]:
        """Frees the ids of owners that said nothing; returns the challengers of those and of owners that
        are gone, to be asked again."""
        late = [owner for owner, challenge in self._challenges.items() if challenge.deadline <= now]
        challengers: list[ConnectionId] = []
        for owner in late:
            challengers += self._challenges.pop(owner).challengers
            self._free(owner)
        return challengers

    def deadline(self) -> float | None:
        """When ``decided`` has something to say next."""
        return min((c.deadline for c in self._challenges.values()), default=None)
