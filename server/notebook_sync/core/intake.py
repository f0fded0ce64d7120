"""What a client's sync messages are checked for before they change anything, and what becomes of them.

In order: role, decoding, doubled content, owner of the client id, quota; then it is applied, passed on
and logged (rules 1, 13). Everything is counted, for the acknowledgements (rules 2, 24).
"""

from __future__ import annotations

from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.content import Taken
from notebook_sync.core.document import Document
from notebook_sync.core.effects import Disconnect, Effect, Send
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ClientId, ConnectionId
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import People
from notebook_sync.core.roles import Action
from notebook_sync.core.state_vector import decode_state_vector, encode_state_vector
from notebook_sync.core.update import EMPTY_UPDATE, UpdateSummary, decode

CLOSE_PROTOCOL = 1007
CLOSE_POLICY = 1008


class Intake:
    """Effects go to ``out``, which the room owns. Times are monotonic seconds."""

    def __init__(self, document: Document, people: People, limits: Limits, out: list[Effect]) -> None:
        self._document = document
        self._people = people
        self._limits = limits
        self._out = out

    def answer_step1(self, connection: ConnectionId, state_vector: bytes) -> None:
        """What the client lacks."""
        try:
            diff = self._document.replica.diff(state_vector)
        except ValueError:
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, "the state vector can't be read"))
            return
        self._out.append(Send(connection, wire.encode_sync_step2(diff)))
        # A gapped replica leaves parked updates out of its diff, so they follow as they came (rule 1).
        for update in self._document.content.gapped:
            self._out.append(Send(connection, wire.encode_update(update), droppable=True))

    def update(
        self,
        connection: ConnectionId,
        connected: Connected,
        message: wire.SyncStep2 | wire.SyncUpdate,
        now: float,
    ) -> bool:
        """Take an update, or refuse it. True if the document changed."""
        log = self._document.log
        if not connected.may(Action.EDIT):
            connected.counted_refused(log.applied)
            return False
        if message.update == EMPTY_UPDATE:
            connected.counted(log.applied)
            return False
        try:
            summary = decode(message.update, self._limits)
        except ProtocolError as error:
            reason = f"a sync message can't be read: {error}"
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, reason))
            return False
        new_clients = self._document.content.would_add(summary)
        if self._document.content.doubles(new_clients):
            reason = "this client can't read client ids over 32 bits, and would double the content"
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, reason))
            return False
        if not self._writes_as_itself(connection, connected, summary, new_clients, now):
            connected.counted_refused(log.applied)
            return False
        typed = isinstance(message, wire.SyncUpdate)
        if typed and not self._binds(connection, connected, new_clients):
            return False
        return self._take(connection, connected, message.update, summary, now)

    def _writes_as_itself(
        self,
        connection: ConnectionId,
        connected: Connected,
        summary: UpdateSummary,
        clients: list[int],
        now: float,
    ) -> bool:
        """Whether all new structs are under ids that this person may write under (rule 13). If not, each
        is asked for its own: the owners of the others, and this one as if those of the others were here."""
        owners = self._people.owners
        here, user = self._people.connected, connected.member.user
        known = {client: owners.owner(ClientId(client), connection, user) for client in clients}
        others = {client: owner for client, owner in known.items() if owner is not None and owner in here}
        if not others:
            return True
        state_vector = self._document.replica.state_vector()
        for owner in dict.fromkeys(others.values()):
            self._out.append(Send(owner, wire.encode_sync_step1(state_vector)))
            owners.challenge(owner, connection, now)
        ends = {client: summary.structs[client][-1][1] for client in others}
        without_others = encode_state_vector(decode_state_vector(state_vector) | ends)
        self._out.append(Send(connection, wire.encode_sync_step1(without_others)))
        return False

    def _binds(self, connection: ConnectionId, connected: Connected, clients: list[int]) -> bool:
        """The ids are this person's from now on, up to a bound for each connection."""
        connected.client_ids.update(map(ClientId, clients))
        if len(connected.client_ids) > self._limits.max_client_ids_per_connection:
            reason = "one connection may not type under so many client ids"
            self._out.append(Disconnect(connection, CLOSE_POLICY, reason))
            return False
        for client in clients:
            self._people.owners.bind(ClientId(client), connection, connected.member.user)
        return True

    def _take(
        self,
        connection: ConnectionId,
        connected: Connected,
        update: bytes,
        summary: UpdateSummary,
        now: float,
    ) -> bool:
        taken = self._document.take(update, summary, connection, now)
        if taken is Taken.BROKEN:
            self._out.append(Disconnect(connection, CLOSE_PROTOCOL, "an update can't be applied"))
            return False
        # Stored, but of no use to anybody without what it builds on: acknowledged only with that.
        connected.parked |= taken is Taken.PARKED
        connected.counted(self._document.log.applied)
        return taken is not Taken.KNOWN
