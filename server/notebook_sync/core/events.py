"""What can happen to a room: a closed union, matched exhaustively by ``Room.handle``."""

from __future__ import annotations

from dataclasses import dataclass

from notebook_sync.core.ids import ConnectionId, Generation, Lineage, NodeId
from notebook_sync.core.roles import Member, Role
from notebook_sync.core.wire import AwarenessEntry, Message


@dataclass(frozen=True, slots=True)
class Joined:
    """A person's socket is open. ``wants``: the extra RAW messages its client asked for.
    ``lineage``: the history the client says it holds; None for a client that names none."""

    connection: ConnectionId
    member: Member
    wants: frozenset[str]
    lineage: Lineage | None


@dataclass(frozen=True, slots=True)
class Left:
    """The socket is gone."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """The person behind a connection may now do more, or less."""

    connection: ConnectionId
    role: Role


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """One well-formed message of a client; ``size`` is its frame's length in bytes."""

    connection: ConnectionId
    message: Message
    size: int


@dataclass(frozen=True, slots=True)
class Overflowed:
    """A slow client's backlog was dropped; it gets no more updates until it has ``Drained``."""

    connection: ConnectionId


@dataclass(frozen=True, slots=True)
class Drained:
    """A slow client has read what it was sent. ``state_vector`` is what it can have."""

    connection: ConnectionId
    state_vector: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """The stored document, whole: the first time, or the answer to a ``Load``.

    ``seq``: the last appended batch, 0 when there is only the snapshot. ``local``: what this server's
    disk has of the same lineage; the store may lack some of it (rule 15).
    """

    lineage: Lineage
    generation: Generation
    snapshot: bytes
    entries: tuple[EntryArrived, ...]
    seq: int
    chain: bytes
    local: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedLocally:
    """The store is away, and this is what this server's disk has (rule 9). ``provisional``: the store may
    have another history for this path."""

    lineage: Lineage
    updates: tuple[bytes, ...]
    provisional: bool


@dataclass(frozen=True, slots=True)
class SeedsWanted:
    """The store may have lost the document, and nobody but a client may still have it."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The answer to ``Load``: the store has nothing of this document any more. ``local``: what this
    server's disk has."""

    local: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenFailed:
    """The document can't be opened; everybody is told with this close code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class LineageEnded:
    """The store holds another history of this document: this replica must never be merged into it."""

    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Refounded:
    """The store had lost the document and now has this replica's content as of ``position``."""

    generation: Generation
    position: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The batch of records is on this server's disk."""


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """This server's disk refused the records."""

    reason: str


@dataclass(frozen=True, slots=True)
class CopyKept:
    """The snapshot is on this server's disk."""


@dataclass(frozen=True, slots=True)
class CopyFailed:
    """This server's disk refused the snapshot."""

    reason: str


@dataclass(frozen=True, slots=True)
class BatchAppended:
    """Batch ``number`` of this node is in the log."""

    number: int
    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """The store is away or refuses for now; whether the batch was taken is unknown (send it again)."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class HistoryChanged:
    """The store's log is not the one the batch was for; nothing was written."""


@dataclass(frozen=True, slots=True)
class EntryArrived:
    """One batch of the log, from the channel or asked for."""

    generation: Generation
    seq: int
    node: NodeId
    updates: tuple[bytes, ...]
    chain: bytes


@dataclass(frozen=True, slots=True)
class LogAhead:
    """The log may have entries that were not heard: one too big for the channel, a lost subscription."""


@dataclass(frozen=True, slots=True)
class LogUnreadable:
    """Asking for missing entries failed for now. ``away``: because the store does not answer."""

    reason: str
    away: bool = False


@dataclass(frozen=True, slots=True)
class LogRead:
    """The answer to ``FetchEntries``: all entries after the cursor.

    ``trimmed``: the cursor is not in the log any more.
    """

    entries: tuple[EntryArrived, ...]
    trimmed: bool


@dataclass(frozen=True, slots=True)
class PeerAwareness:
    """Awareness of people on another node."""

    node: NodeId
    entries: tuple[AwarenessEntry, ...]


@dataclass(frozen=True, slots=True)
class ServerEdited:
    """Code of this server wrote into the replica's document: the transaction's own update."""

    update: bytes


@dataclass(frozen=True, slots=True)
class FileMerged:
    """Changes of the file, as edits of this document (rule 4). ``removed``: (id, source) of the cells that
    they take away, as the merge knew them."""

    update: bytes
    removed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """The file holds the document as of ``position``; ``digest`` is the file's sha256."""

    position: int
    digest: str


@dataclass(frozen=True, slots=True)
class CheckpointDeferred:
    """The file was not brought up to date yet: look again in ``wait`` seconds. ``behind``: the store's log
    has entries that this node lacks."""

    wait: float = 0.0
    behind: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointSkipped:
    """There is nothing to write of the document as of ``position``, and that is no error: a text view of a
    notebook does not make one while it is being edited."""

    position: int


@dataclass(frozen=True, slots=True)
class CheckpointFailed:
    """The file can't be written; the document is safe in the store."""

    reason: str


@dataclass(frozen=True, slots=True)
class FileTouched:
    """The file may have been changed by another program."""


@dataclass(frozen=True, slots=True)
class SaveAsked:
    """Somebody wants the file written now; ``token`` names the asker in ``SaveAnswered``."""

    token: int


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The document's file has another name now."""

    path: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """The log up to ``seq`` is in the snapshot."""

    seq: int


@dataclass(frozen=True, slots=True)
class CloseAsked:
    """The room must end now; everybody is told with this close code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    Joined
    | Left
    | RoleChanged
    | MessageReceived
    | Overflowed
    | Drained
    | Opened
    | OpenFailed
    | OpenedLocally
    | SeedsWanted
    | StoreLost
    | Recorded
    | RecordFailed
    | CopyKept
    | CopyFailed
    | LineageEnded
    | Refounded
    | BatchAppended
    | AppendFailed
    | HistoryChanged
    | EntryArrived
    | LogAhead
    | LogUnreadable
    | LogRead
    | PeerAwareness
    | ServerEdited
    | FileMerged
    | Checkpointed
    | CheckpointDeferred
    | CheckpointSkipped
    | CheckpointFailed
    | FileTouched
    | SaveAsked
    | PathChanged
    | Compacted
    | CloseAsked
    | Tick
)
