"""A document that is still being loaded: its people's messages wait, and may be what it is made of.

When the store has lost a document and no server has it, a client may give it back (rule 10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.effects import Disconnect, Effect, OfferSeed, Send
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ConnectionId
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import People
from notebook_sync.core.replica import DamagedReplica, Replica
from notebook_sync.core.roles import Action
from notebook_sync.core.state_vector import EMPTY_STATE_VECTOR
from notebook_sync.core.update import decode

CLOSE_TRY_LATER = 1013


class WaitingRoom:
    """Effects go to ``out``, which the room owns."""

    def __init__(
        self, people: People, limits: Limits, new_client_id: Callable[[], int], out: list[Effect]
    ) -> None:
        self._people = people
        self._limits = limits
        self._new_client_id = new_client_id
        self._out = out
        self._messages: deque[ev.MessageReceived] = deque()
        self._bytes = 0
        self._seeds_wanted = False

    def joined(self, connection: ConnectionId) -> None:
        """One more waits."""
        if self._seeds_wanted:
            self._ask_seed(connection)

    def left(self, connection: ConnectionId) -> None:
        """One waits no longer."""
        self._messages = deque(m for m in self._messages if m.connection != connection)

    def receive(self, event: ev.MessageReceived, connected: Connected) -> None:
        """A message waits, up to a bound; it may be what was asked for."""
        frames = self._limits.loading_queue_frames * len(self._people.connected)
        if self._bytes + event.size > self._limits.loading_queue_bytes or len(self._messages) >= frames:
            reason = "the document is still being loaded"
            self._out.append(Disconnect(event.connection, CLOSE_TRY_LATER, reason))
            return
        self._bytes += event.size
        self._messages.append(event)
        if self._seeds_wanted and isinstance(event.message, wire.SyncStep2):
            self._offer_seed(connected, event.message.update)

    def leave(self) -> deque[ev.MessageReceived]:
        """The document is there: all messages that waited, in order."""
        messages, self._messages, self._bytes = self._messages, deque(), 0
        return messages

    # --- a document that only clients still have ----------------------------------------------

    def want_seeds(self) -> None:
        """Ask the clients that say they hold a history of the document."""
        self._seeds_wanted = True
        for connection in self._people.connected:
            self._ask_seed(connection)

    def _ask_seed(self, connection: ConnectionId) -> None:
        connected = self._people.connected[connection]
        if connected.lineage is not None and connected.may(Action.EDIT):
            self._out.append(Send(connection, wire.encode_sync_step1(EMPTY_STATE_VECTOR)))

    def _offer_seed(self, connected: Connected, update: bytes) -> None:
        """Only a tab that has all of the first content may give it back: one that was still loading would
        found the document as a blank one."""
        if connected.lineage is None or not connected.may(Action.EDIT):
            return
        try:
            decode(update, self._limits)
            copy = Replica(self._new_client_id())
            copy.apply(update)
        except (ProtocolError, DamagedReplica):
            return
        if copy.covers_seed(connected.lineage):
            self._out.append(OfferSeed(connected.lineage, update))
