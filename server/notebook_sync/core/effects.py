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
    """Load the whole document again: the replica is damaged, its log has changed, or it was opened
    without the store."""

    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Refound:
    """The store has lost the document: found it again from this replica, whose whole content as of
    ``position`` is ``state`` (one v1 update)."""

    lineage: Lineage
    state: bytes
    position: int


@dataclass(frozen=True, slots=True)
class OfferSeed:
    """A client gave back a document that the store has lost; ``state`` (one v1 update) has all of the
    first content of ``lineage``."""

    lineage: Lineage
    state: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """Write (position, update) records to this server's journal. At most one is under way for a room."""

    lineage: Lineage
    records: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the store's log."""

    generation: Generation
    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class KeepCopy:
    """Keep a snapshot on this server's disk. ``state`` (one v1 update) is the whole document as of
    ``position``; ``place``: the log up to there has all of it, None while the store lacks some."""

    lineage: Lineage
    state: bytes
    position: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Outlived:
    """The store holds another history of this document. What this replica has, ``state`` (one v1
    update), must not get lost: it is kept as a version, or carried over if it was ``provisional``."""

    lineage: Lineage
    state: bytes
    provisional: bool


@dataclass(frozen=True, slots=True)
class PublishAwareness:
    """Tell the other nodes about people here."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Bring document and file together. ``state`` is the whole document as of ``position``; it has all of
    the store's log up to the entry ``seq``, whose chain value is ``chain``."""

    position: int
    state: bytes
    generation: Generation
    seq: int
    chain: bytes = bytes(8)


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
    | Refound
    | OfferSeed
    | Record
    | KeepCopy
    | Outlived
    | PublishAwareness
    | Checkpoint
    | SaveAnswered
    | Compact
    | StateChanged
    | Report
    | Finish
)
