"""What a room wants done: a closed union, carried out exhaustively by ``engine.runner``."""

from __future__ import annotations

from dataclasses import dataclass

from notebook_sync.core.ids import ConnectionId, Generation, Lineage
from notebook_sync.core.lifecycle import DocumentState


@dataclass(frozen=True, slots=True)
class Send:
    """One frame to one client. ``droppable``: a resync can replace it when the client is slow."""

    connection: ConnectionId
    frame: bytes
    droppable: bool = False


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The same frame to several clients, encoded once."""

    connections: tuple[ConnectionId, ...]
    frame: bytes
    droppable: bool = True


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close one socket."""

    connection: ConnectionId
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Append:
    """Add this batch to the log. At most one is under way for a room."""

    lineage: Lineage
    generation: Generation
    number: int
    updates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FetchEntries:
    """Ask the store for the entries after this place in the log."""

    generation: Generation
    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """Load the whole document again: the replica is damaged or its log has changed.

    ``state``: this replica's content (one v1 update) with which a lost document may be founded
    again; None when this replica must not be trusted. ``position``: what ``state`` covers.
    """

    lineage: Lineage
    state: bytes | None
    position: int


@dataclass(frozen=True, slots=True)
class PublishAwareness:
    """Tell the other nodes about people here."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Bring document and file together. ``state`` is the whole document as of ``position``."""

    position: int
    state: bytes
    generation: Generation
    seq: int


@dataclass(frozen=True, slots=True)
class SaveAnswered:
    """The answer to ``SaveAsked``."""

    token: int
    saved: bool


@dataclass(frozen=True, slots=True)
class Compact:
    """Fold the log into its snapshot."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The document is in another state of its life now; ``reason`` is for people."""

    state: DocumentState
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """Something an operator should read in the log."""

    message: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nobody is here, all is stored: the room can be freed."""


Effect = (
    Send
    | Broadcast
    | Disconnect
    | Append
    | FetchEntries
    | Load
    | PublishAwareness
    | Checkpoint
    | SaveAnswered
    | Compact
    | StateChanged
    | Report
    | Finish
)
