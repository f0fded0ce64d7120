"""Who is here: awareness, stamped with the identity that the server knows (rule 22).

A connection speaks for one Yjs client id, the first it names that no other live connection owns; what
it says of others is dropped (a tab that wakes from sleep announces that everybody left). The same
person's newest connection takes an id over. The ``user`` field is the server's, whatever the client wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from notebook_sync.core.ids import ClientId, ConnectionId, NodeId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member
from notebook_sync.core.wire import AwarenessEntry


@dataclass(slots=True)
class _Present:
    clock: int
    state: str | None
    owner: ConnectionId | NodeId
    user: UserId | None
    seen_at: float


def stamp(state: str, member: Member) -> str:
    """``state`` with the member's own identity in ``user``."""
    fields = json.loads(state)
    if fields.get("user") == dict(member.identity):
        return state
    fields["user"] = dict(member.identity)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


class Presence:
    """Awareness of one room. Times are monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._present: dict[ClientId, _Present] = {}
        self._own: dict[ConnectionId, ClientId] = {}

    def said(
        self, connection: ConnectionId, member: Member, entries: Iterable[AwarenessEntry], now: float
    ) -> tuple[AwarenessEntry, ...]:
        """A client's awareness; returns what everybody should hear (also the sender)."""
        accepted: list[AwarenessEntry] = []
        for entry in entries:
            if not self._speaks_for(connection, member, entry):
                continue
            state = None if entry.state is None else stamp(entry.state, member)
            known = self._present.get(entry.client)
            if known is not None and not _newer(entry, known):
                known.owner, known.seen_at = connection, now
                continue
            self._present[entry.client] = _Present(entry.clock, state, connection, member.user, now)
            accepted.append(AwarenessEntry(entry.client, entry.clock, state))
        return tuple(accepted)

    def _speaks_for(self, connection: ConnectionId, member: Member, entry: AwarenessEntry) -> bool:
        own = self._own.get(connection)
        if own is not None:
            return own == entry.client
        known = self._present.get(entry.client)
        if entry.state is None and known is None:
            return False
        if known is not None and known.state is not None:
            if known.user is not None and known.user != member.user:
                return False
            if isinstance(known.owner, int):
                self._own.pop(known.owner, None)
        self._own[connection] = entry.client
        return True

    def heard(
        self, node: NodeId, entries: Iterable[AwarenessEntry], now: float
    ) -> tuple[AwarenessEntry, ...]:
        """Awareness from another node, stamped there; returns what is news here."""
        news: list[AwarenessEntry] = []
        for entry in entries:
            known = self._present.get(entry.client)
            if known is not None and isinstance(known.owner, int):
                continue
            if known is not None and not _newer(entry, known):
                known.seen_at = now
                continue
            self._present[entry.client] = _Present(entry.clock, entry.state, node, None, now)
            news.append(entry)
        return tuple(news)

    def left(self, connection: ConnectionId) -> tuple[AwarenessEntry, ...]:
        """The socket is gone: its client too, unless a newer socket speaks for it."""
        client = self._own.pop(connection, None)
        known = None if client is None else self._present.get(client)
        if client is None or known is None or known.owner != connection:
            return ()
        return self._remove([client])

    def expire(self, now: float) -> tuple[AwarenessEntry, ...]:
        """People of other nodes who were not heard of for ``presence_ttl`` are gone."""
        gone = [
            client
            for client, known in self._present.items()
            if (known.state is None or not isinstance(known.owner, int))
            and now - known.seen_at > self._limits.presence_ttl
        ]
        return self._remove(gone)

    def _remove(self, clients: Iterable[ClientId]) -> tuple[AwarenessEntry, ...]:
        removed: list[AwarenessEntry] = []
        for client in clients:
            known = self._present.pop(client)
            if known.state is not None:
                removed.append(AwarenessEntry(client, known.clock + 1, None))
        return tuple(removed)

    def everybody(self, connections_only: bool = False) -> tuple[AwarenessEntry, ...]:
        """All who are here; with ``connections_only`` those of this node, to tell the others."""
        return tuple(
            AwarenessEntry(client, known.clock, known.state)
            for client, known in self._present.items()
            if known.state is not None and (not connections_only or isinstance(known.owner, int))
        )

    def client_of(self, connection: ConnectionId) -> ClientId | None:
        """The Yjs client id a connection speaks for."""
        return self._own.get(connection)

    def states(self) -> list[Mapping[str, object]]:
        """What everybody says of themselves."""
        return [json.loads(known.state) for known in self._present.values() if known.state is not None]


def _newer(entry: AwarenessEntry, known: _Present) -> bool:
    """As y-protocols decides: a higher clock, or a removal at the same clock."""
    return entry.clock > known.clock or (
        entry.clock == known.clock and entry.state is None and known.state is not None
    )
