"""What the engine needs from outside, as protocols. Each has a memory twin and a contract suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from notebook_sync.core.ids import DocumentId, DocumentKey, DocumentKind, Generation, Lineage, NodeId

# --- the update store (Redis): the truth ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a document's log.

    ``chain`` is 8 bytes: chain' = sha1(hex of chain ‖ node ‖ the batch's updates)[:8]; 8 zero bytes
    before the first (rule 3; sha1, because that is what Redis functions have).
    """

    generation: Generation
    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One appended batch: ``seq`` counts batches from 1, without gaps, within a generation."""

    seq: int
    node: NodeId
    updates: tuple[bytes, ...]
    chain: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document's whole stored state: ``snapshot`` (one v1 update) and the entries after it."""

    lineage: Lineage
    snapshot: bytes
    tail: tuple[LogEntry, ...]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class NotSeeded:
    """The document has a reserved lineage and no content yet."""

    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Batch:
    """What one append carries. ``number`` rises by one for each new batch of a node and document;
    a batch sent again keeps its number and is taken once (rule 21)."""

    lineage: Lineage
    generation: Generation
    node: NodeId
    number: int
    updates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """The batch is in the log, now or from an earlier try."""

    seq: int
    chain: bytes


@dataclass(frozen=True, slots=True)
class StaleHistory:
    """Redis holds another lineage or generation than the caller, or none: nothing was written."""

    lineage: Lineage | None
    generation: Generation | None


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The entry after the cursor is gone, or the cursor's chain is not the log's: load again."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The snapshot now covers all entries up to ``seq``."""

    seq: int


@dataclass(frozen=True, slots=True)
class NotCompacted:
    """Another node compacted first, the lease is not ours, or there is nothing to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Attendance:
    """Which store answers (rules 3 and 8).

    ``incarnation``: random, another one once everything was lost (FLUSHALL, a Redis that came back
    empty). ``run_id``: another one after each restart or failover, "" when the store does not say it.
    ``recovering``: seconds for which nobody may reserve or seed from a file, because servers that know
    more are still to say so; 0.0 when recovery is over.
    """

    incarnation: str
    run_id: str
    recovering: float


class UpdateStore(Protocol):
    """The log of each document. Raises ``StoreUnavailable`` when Redis is away or refuses for now,
    ``CorruptRecord`` when a record can't be read; the caller may repeat any call (all are idempotent)."""

    async def attend(self) -> Attendance:
        """Which store this is, and whether it recovers. Ask after each new connection, and before a
        document that the store does not have is reserved or seeded from its file."""
        ...

    async def document_id(self, key: DocumentKey, proposal: DocumentId | None = None) -> DocumentId:
        """The id of the document at ``key``, made if there is none.

        ``proposal``: the id that it had before the store lost it. It is taken if the path has none,
        that document has not ended, and it is not at another path; see what is returned.
        """
        ...

    async def find_document(self, key: DocumentKey) -> DocumentId | None:
        """The id of the document at ``key``, or None if nobody ever opened it."""
        ...

    async def rename(self, old: str, new: str) -> None:
        """The file or folder ``old`` is now ``new``: documents of all kinds at and below it follow;
        one that was at ``new`` ends, if there is one that follows."""
        ...

    async def forget(self, path: str) -> None:
        """The file or folder is deleted: its documents end. A file made there later is a new document.

        One that has ended is loaded as None, takes no appends (``StaleHistory``) and no seed.
        """
        ...

    async def reserve(self, document: DocumentId, proposal: Lineage) -> Lineage:
        """The document's lineage; ``proposal`` becomes it if there is none yet (rule 20).

        Raises ``DocumentEnded``.
        """
        ...

    async def load(self, document: DocumentId) -> Loaded | NotSeeded | None:
        """Everything stored; None if not even a lineage is reserved."""
        ...

    async def seed(
        self,
        document: DocumentId,
        lineage: Lineage,
        generation: Generation,
        snapshot: bytes,
        *,
        again: bool = False,
    ) -> bool:
        """Store the first content, atomically and once. False if the document has content already
        or its reserved lineage is another; then load. A repeat with the same generation is True.

        ``again``: the store had this document and lost it, so leases that it lost too are waited for
        before one is granted (rule 7).
        """
        ...

    async def append(self, document: DocumentId, batch: Batch) -> Appended | StaleHistory:
        """Add the batch to the log and publish it on the document's channel."""
        ...

    async def since(self, document: DocumentId, cursor: Cursor) -> tuple[LogEntry, ...] | Trimmed:
        """The entries after ``cursor``, in order, without a gap."""
        ...

    async def confirms(self, document: DocumentId, cursor: Cursor) -> bool:
        """Whether ``cursor`` is a place in the log as it is now; False exactly when ``since`` would answer
        ``Trimmed``: the log was lost, founded again or rolled back, or what follows the cursor is trimmed
        and only the snapshot has it (rule 3). Cheap: no entries are sent."""
        ...

    async def compact(self, document: DocumentId) -> Compacted | NotCompacted:
        """Fold the log into a new snapshot, only from the store's own bytes (rule 6)."""
        ...


# --- this server's own disk ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalHead:
    """What is kept of a document on this disk, without its content.

    ``path`` and ``kind`` as last known here. ``cursor``: the place in the store's log up to which the
    copy has everything; None while the store never had it. ``provisional``: opened while the store was
    away, so the store may turn out to have another history for this path (rule 9).
    """

    document: DocumentId
    lineage: Lineage
    key: DocumentKey
    cursor: Cursor | None
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """``updates``: the snapshots, then the journals, of all servers that used this disk; v1 updates in
    an order in which they can be applied. ``damaged``: sentences about what could not be read and was
    set aside, for the log."""

    head: LocalHead
    updates: tuple[bytes, ...]
    damaged: tuple[str, ...] = ()


class LocalCopies(Protocol):
    """A snapshot and a journal of each document on this server's disk (rules 8, 9, 15, 27), keyed by
    document and lineage, never by path (rule 19). Everything is fsynced when a call returns, files are
    0600, and snapshots and records carry checksums: a torn tail is cut off, never served.

    Several servers may share the directory: each writes its own files, and reads those of all.
    All calls raise ``LocalDiskFailed`` when the disk refuses (full, read-only, gone).
    """

    async def keep(self, head: LocalHead, state: bytes, upto: int) -> None:
        """Replace this server's snapshot by ``state`` (one v1 update), atomically; journal records with
        positions up to ``upto`` are in it and may go, and so may the files of servers that have ended
        and whose content ``find`` has returned to this server (``state`` has it)."""
        ...

    async def record(
        self, document: DocumentId, lineage: Lineage, records: Sequence[tuple[int, bytes]]
    ) -> None:
        """Append (position, update) records to this server's journal. Records of all documents that are
        waiting at the same moment share a turn of the writing thread."""
        ...

    async def journal_size(self, document: DocumentId, lineage: Lineage) -> int:
        """Bytes in this server's journal of the document."""
        ...

    async def find(self, document: DocumentId) -> LocalCopy | None:
        """What is kept of the document, of the lineage that was kept last; None if nothing is. The head's
        path and kind are empty when every snapshot is damaged so that nobody knows them."""
        ...

    async def left_over(self, document: DocumentId) -> bool:
        """Whether servers that have ended left records here, or a snapshot without a place in the store's
        log: something of it may be nowhere else."""
        ...

    async def find_path(self, key: DocumentKey) -> LocalHead | None:
        """The document that was last known at this path."""
        ...

    async def heads(self) -> tuple[LocalHead, ...]:
        """All documents of which something is kept."""
        ...

    async def renamed(self, old: str, new: str) -> None:
        """Documents at and below the path ``old`` are at ``new`` now; what was at ``new`` is forgotten, if
        there is one that follows (as in the store; two servers may tell of one rename)."""
        ...

    async def forget(self, document: DocumentId) -> None:
        """The document has ended: nothing of it is kept."""
        ...


# --- versions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """A restore point. ``id`` sorts by time; ``at`` is seconds since 1970; ``reason`` is one of the words
    schedule, merge, restore, checkpoint, put, lineage, shrink; ``by`` a person's display name or ""; ``note``
    a sentence for people; ``size`` of the content in bytes."""

    id: str
    at: float
    reason: str
    by: str
    note: str
    digest: str
    size: int


class VersionStore(Protocol):
    """Earlier contents of documents, as file content (for notebooks: ipynb), bounded by number and size
    and thinned by age. Raises ``LocalDiskFailed`` when the disk refuses."""

    async def add(
        self, document: DocumentId, path: str, data: bytes, *, reason: str, by: str = "", note: str = ""
    ) -> Version:
        """Keep ``data``. When the newest version has the same content, that one is returned, and no other is
        made. Old ones go by ``Limits``; one that a notice named (reason merge, lineage or shrink) goes
        last, also if it was there for another reason before."""
        ...

    async def list(self, document: DocumentId) -> tuple[Version, ...]:
        """Newest first."""
        ...

    async def read(self, document: DocumentId, version: str) -> bytes | None:
        """The content; None if there is no such version (any more)."""
        ...

    async def open_restore(self, document: DocumentId, record: bytes) -> str:
        """Remember that a restore is under way, until ``close_restore``, also over a crash: what people type
        into what it takes away is still to be looked for. Returns the record's name."""
        ...

    async def open_restores(self, document: DocumentId) -> tuple[tuple[str, bytes], ...]:
        """Names and records of the restores that nobody closed; those of an hour ago may be gone."""
        ...

    async def close_restore(self, document: DocumentId, name: str) -> bool:
        """Forget the record. False if somebody did already."""
        ...


# --- fan-out between nodes -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntryPublished:
    """A batch was appended by some node (also by this one). ``entry`` is None when it was too big
    for the channel: ask the store."""

    generation: Generation
    seq: int
    entry: LogEntry | None


@dataclass(frozen=True, slots=True)
class AwarenessPublished:
    """Awareness of people on another node: ``frame`` is an awareness update, never stored."""

    node: NodeId
    frame: bytes


@dataclass(frozen=True, slots=True)
class ChannelRestored:
    """The subscription was lost and is back: messages may have been missed."""


ChannelEvent = EntryPublished | AwarenessPublished | ChannelRestored


class Channel(Protocol):
    """Pub/sub between nodes: fast, at most once.

    ``listener`` is called on the event loop and must not block or raise.
    """

    async def subscribe(self, document: DocumentId, listener: Callable[[ChannelEvent], None]) -> None: ...

    async def unsubscribe(self, document: DocumentId) -> None: ...

    async def publish_awareness(self, document: DocumentId, node: NodeId, frame: bytes) -> None: ...


# --- leases --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """Held for ``ttl`` seconds from the moment the request was sent; a holder drops it at any reconnect.

    ``fence`` rises with each new owner within a ``generation`` of the document (None: it has no content
    yet); (generation, fence) is the fencing token, for numbers may come again in another generation.
    """

    fence: int
    generation: Generation | None = None


@dataclass(frozen=True, slots=True)
class LeaseRefused:
    """Another node holds it, or may: ``owner`` is "" while the store waits for leases that it may have
    forgotten in a restart, a failover or a loss (rule 7)."""

    owner: NodeId


class LeaseStore(Protocol):
    """Leases with fencing tokens for what does not commute: compaction, and writing a folder's file."""

    async def acquire(
        self, document: DocumentId, purpose: str, node: NodeId, ttl: float
    ) -> LeaseGranted | LeaseRefused:
        """Take or renew; a renewal by its holder keeps the fence."""
        ...

    async def release(self, document: DocumentId, purpose: str, node: NodeId) -> None: ...


# --- files ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells cheaply that a file may have changed; only its digest tells that it did. ``writable``: by
    its mode."""

    mtime_ns: int
    size: int
    inode: int
    writable: bool = True


@dataclass(frozen=True, slots=True)
class FileContent:
    """``digest`` is the sha256 of ``data`` in hex. ``trusted``: signed by this server's user (notebooks)."""

    data: bytes
    digest: str
    stamp: FileStamp
    writable: bool = True
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The file now holds what was asked."""

    digest: str
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class FileChanged:
    """The file was not the expected one and was left, or put back, as it was found."""

    content: FileContent | None
    """None: the file is gone."""


@dataclass(frozen=True, slots=True)
class LateWrite:
    """``data`` was written into a file of ``path`` just replaced, by a program that had it open (rule 16).

    ``replaced`` is the digest of the content that the file had when it was replaced: what the other
    program most likely started from, so the base to merge with; empty when that is unknown.
    """

    path: str
    data: bytes
    replaced: str


class FileStore(Protocol):
    """Files below one root; paths are relative, with forward slashes. Blocking work runs in threads.

    Raises ``FileMissing``, ``FileIsDirectory``, ``FileOutsideRoot`` or ``FileUnavailable``.
    """

    async def read(self, path: str) -> FileContent: ...

    async def stamp(self, path: str) -> FileStamp | None:
        """None when there is no such file."""
        ...

    async def write(
        self, path: str, data: bytes, expected: str, *, trusted: bool = False
    ) -> Written | FileChanged:
        """Replace the file atomically if its content still has the digest ``expected`` (rule 16).
        ``trusted``: every cell was trusted, so sign the new content."""
        ...

    def on_late_write(self, listener: Callable[[LateWrite], bool]) -> None:
        """``listener`` is called on the event loop for each late write, and must not block or raise. What
        it answers False to is kept as a file beside."""
        ...

    async def moved_to(self, path: str, stamp: FileStamp) -> str | None:
        """Where the file is that was at ``path`` with this stamp, when another program renamed it or moved
        it into another folder. None if it is not found, or was changed after that: then it may be another
        file that got the inode of a deleted one."""
        ...


@dataclass(frozen=True, slots=True)
class Intent:
    """A writer's note before it replaces a file: this content is ours, no outside edit (rule 4)."""

    digest: str
    node: NodeId
    generation: Generation
    seq: int
    fence: int


@dataclass(frozen=True, slots=True)
class FileEdit:
    """File content that another program wrote: its digest, its slim form (``Rendered.slim``), and the ids of
    its cells as the document knows them."""

    digest: str
    slim: bytes
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the document and a folder's file last had in common.

    ``base`` is the slim form (``Rendered.slim``) of the content with ``digest`` (rule 17); None when unknown.
    """

    digest: str | None = None
    base: bytes | None = None
    intents: tuple[Intent, ...] = field(default=())
    seen: tuple[str, ...] = ()
    """Ids of all cells that were ever common, oldest first: the graveyard, with the living (rule 28)."""
    taking: FileEdit | None = None
    """Content that was being taken in since: common if the document says that it has it
    (``Rendered.merged``)."""


class FileLedger(Protocol):
    """Per document and folder: the last common content, the intents of writers, and the ids of all cells
    that were ever common. Kept in Redis."""

    async def record(self, document: DocumentId, folder: str) -> FileRecord: ...

    async def intend(self, document: DocumentId, folder: str, intent: Intent) -> None:
        """Add an intent. The newest 16 are kept, and beyond them the newest of each other node, 64 in all:
        a server that was frozen for long must still be recognised when it goes on (rule 5)."""
        ...

    async def taking(self, document: DocumentId, folder: str, edit: FileEdit) -> None:
        """The document is about to be given what this content changes. To be called before: whoever goes on
        after a crash must know what was merged, also when the file has changed again meanwhile."""
        ...

    async def common(
        self, document: DocumentId, folder: str, digest: str, base: bytes, seen: Sequence[str] | None = None
    ) -> None:
        """The file and the document agree on this content; nothing is being taken in any more. ``seen``
        replaces ``FileRecord.seen``; None leaves it as it is. The caller bounds it
        (``Limits.cells_remembered``)."""
        ...


# --- document formats ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """How much a document is: cells (0 for what is no notebook), and bytes as a file."""

    cells: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document as file content. ``trusted``: all of its code cells are trusted."""

    data: bytes
    digest: str
    slim: bytes
    """The merge base: sources, ids, metadata and hashes of outputs, compressed."""
    trusted: bool = False
    cells: tuple[str, ...] = ()
    """The ids of its cells, in order; empty for what is no notebook."""
    untouched: bool = False
    """It has no content and never had any: not what people left behind by deleting (rule 10)."""
    merged: str | None = None
    """The digest of the file content that was merged into it last with ``once``."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Edits that bring a file's changes into the document.

    ``update``: a v1 update against the given state by a fresh client id; None if nothing changes.
    ``loser``: file content whose conflicting parts the document did not take; None without a conflict.
    ``conflicts``: for people, which cells ("cell 3 (id a1b2)").
    ``slim``: the slim form of the file's content, to be the base once the update is stored.
    ``theirs``: the ids of the file's cells, as the document knows them. ``size``: of the result.
    ``removed``: (id, source) of the document's cells that the update takes away or makes anew elsewhere:
    what somebody types into one of them meanwhile would go with it.
    """

    update: bytes | None
    loser: bytes | None
    conflicts: tuple[str, ...] = ()
    slim: bytes = b""
    theirs: tuple[str, ...] = ()
    size: Size = Size(0, 0)
    removed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ViewMerged:
    """What becomes of a notebook's text view and of its file.

    ``data``: what the file should hold; None: what it does. ``update``: edits of the view's document, a v1
    update by a fresh client id; None if nothing changes. ``slim``: the text that both then have in common.
    ``loser``, ``conflicts``: the view's text, if the file did not take all of it, and where, for people.
    ``valid``: False while the text is no valid notebook; then nothing is to be done.
    """

    data: bytes | None = None
    update: bytes | None = None
    slim: bytes = b""
    loser: bytes | None = None
    conflicts: tuple[str, ...] = ()
    valid: bool = True


class DocumentCodec(Protocol):
    """Turns files into documents and back. Long work: it runs in a worker process.

    Raises ``UnreadableDocument`` with a sentence for people; the worker's death raises ``RoomError``.
    """

    async def seed(self, kind: DocumentKind, data: bytes, *, trusted: bool, lineage: str = "") -> bytes:
        """A v1 update that holds the file's content, by a fresh random client id; the last thing in it
        is the mark of the ``lineage`` (``core.replica.SEED_MARK``)."""
        ...

    async def render(self, kind: DocumentKind, state: bytes) -> Rendered:
        """The file content of the document whose whole state is the v1 update ``state``."""
        ...

    async def slim(self, kind: DocumentKind, data: bytes) -> bytes:
        """The slim form of file content, to be kept as a merge base."""
        ...

    async def merge(
        self,
        kind: DocumentKind,
        state: bytes,
        base: bytes | None,
        theirs: bytes,
        seen: Sequence[str] = (),
        *,
        once: bool = False,
    ) -> Merged:
        """Three-way merge per cell of the document and a changed file. Without a ``base`` neither
        side's cells are deleted and the document wins per cell (rule 17). A cell whose id is in ``seen``
        and not in the document was deleted by people: the file does not bring it back (rule 28).
        ``once``: the document remembers ``theirs``, and if it is what was merged in last, nothing is done."""
        ...

    async def merge_view(self, state: bytes, base: bytes | None, file: bytes) -> ViewMerged:
        """Bring the text document ``state`` of a notebook's file and the ``file``'s content together, cell
        by cell; the file wins a conflict. ``base``: ``slim`` of what both last had in common."""
        ...


# --- the rest ------------------------------------------------------------------------------------


class Metrics(Protocol):
    """Counters and durations by name; never raises."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...
