"""A document on this node: its content, and its place in the store's log.

Keeps the two in step: what is applied here goes to the log and to this disk, what is in the log is
applied here, what is missing is asked for, from the store first and from clients then. Where the log
turns out to be another one than before (lost, rolled back), both histories of the one lineage are
merged; two lineages never are (P2).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from notebook_sync.core import events as ev
from notebook_sync.core.backoff import backoff
from notebook_sync.core.content import Content, Taken
from notebook_sync.core.effects import (
    Append,
    Compact,
    Effect,
    FetchEntries,
    KeepCopy,
    Load,
    Place,
    Record,
    Refound,
    Report,
    StateChanged,
)
from notebook_sync.core.errors import InvariantBroken
from notebook_sync.core.gap_repair import GapRepair
from notebook_sync.core.ids import ConnectionId, NodeId
from notebook_sync.core.journaling import Journaling
from notebook_sync.core.lifecycle import DocumentState, Lifecycle
from notebook_sync.core.limits import Limits
from notebook_sync.core.people import People
from notebook_sync.core.replica import Replica
from notebook_sync.core.state_vector import decode_state_vector, encode_state_vector
from notebook_sync.core.tail import Tail
from notebook_sync.core.update import EMPTY_UPDATE, UpdateSummary, decode
from notebook_sync.core.update_log import UpdateLog

NEW = (Taken.CHANGED, Taken.PARKED)
"""What becomes of an update that brought something."""


@dataclass(frozen=True, slots=True)
class DocumentConfig:
    """``new_client_id``: a random id that no document ever wrote under (rule 14)."""

    node: NodeId
    limits: Limits
    new_client_id: Callable[[], int]
    on_server_edit: Callable[[bytes], None]
    batch_numbers: Iterator[int]
    level: str = "redis"


class Document:
    """Effects go to ``out``, which the room owns. Times are monotonic seconds."""

    def __init__(
        self, config: DocumentConfig, lifecycle: Lifecycle, people: People, out: list[Effect]
    ) -> None:
        self._config = config
        self._limits = config.limits
        self._lifecycle = lifecycle
        self._people = people
        self._out = out
        self.content = Content(config.limits, self._new_replica, lambda text: out.append(Report(text)))
        self.log = UpdateLog(config.limits, config.batch_numbers)
        self.journal = Journaling(config.limits)
        self.provisional = False
        """Opened without the store, which may turn out to have another history for this path (rule 9)."""
        self.reason = ""
        """Why the document is in its state, for people."""
        self._gap = GapRepair(config.limits)
        self._tail = Tail(config.limits)
        self._held_back: deque[tuple[int, bytes]] = deque()
        self._append_failures = 0
        self._loading = False
        self._fetching = False
        self._founding = False
        self._retry_append_at: float | None = None
        self._fetch_at: float | None = None
        self._sweep_at: float | None = None

    def _new_replica(self) -> Replica:
        return Replica(self._config.new_client_id(), self._config.on_server_edit)

    @property
    def replica(self) -> Replica:
        """This node's copy; another one after it was damaged."""
        return self.content.replica

    # --- updates in ---------------------------------------------------------------------------

    def take(self, update: bytes, summary: UpdateSummary, source: ConnectionId | None, now: float) -> Taken:
        """An update from a client or the file: apply, pass on the bytes as they came, log them (rule 1)."""
        taken = self._apply(update, summary, source, now)
        if taken in NEW:
            self._submit(update)
        return taken

    def _apply(self, update: bytes, summary: UpdateSummary, source: ConnectionId | None, now: float) -> Taken:
        taken = self.content.take(update, summary)
        if taken is Taken.BROKEN:
            self.load_again("an update was half applied")
            return taken
        if not self.content.whole:
            self._gap.found(now)
        if taken is not Taken.KNOWN:
            self._people.pass_on(update, besides=source)
            for waited in self.content.unparked():
                self._people.pass_on(waited)
        return taken

    def _submit(self, update: bytes) -> int:
        position = self.log.submit(update)
        self.journal.submit(position, update)
        if self.log.full and self.log.lineage is not None:
            self._out.append(
                Report("too much waits for the store: it gets all as one update when it is back")
            )
            self.log.drop_window()
            self._ask_load()
        return position

    def edited_here(self, update: bytes) -> None:
        """Made in this replica already: log it, and show it once it is stored (rule 14)."""
        self.content.made_here(update)
        self._held_back.append((self._submit(update), update))

    def shown_state_vector(self) -> bytes:
        """What people here can have been sent: all but this server's own edits that are not stored yet."""
        if not self._held_back:
            return self.replica.state_vector()
        clocks = decode_state_vector(self.replica.state_vector())
        for _, update in self._held_back:
            for client, spans in decode(update, self._limits).structs.items():
                clocks[client] = min(clocks.get(client, 0), spans[0][0])
        return encode_state_vector(clocks)

    def write_state(self, values: dict[str, object]) -> None:
        """Set keys of the document's ``state`` map, as an edit of the server."""
        update = self.replica.write_state(values)
        if update is not None:
            self.edited_here(update)

    @property
    def savable_at(self) -> float:
        """When the file may be written: at once if nothing is missing, else after a while."""
        return -math.inf if self.content.whole else self._gap.savable_at

    # --- the stored document ------------------------------------------------------------------

    def opened(self, event: ev.Opened, now: float) -> None:
        """The stored document, whole: the first time, or after ``Load``."""
        self._loading = False
        updates = [event.snapshot, *(u for entry in event.entries for u in entry.updates)]
        if self.log.lineage is None:
            self.content.fill(updates)
            self._sweep_at = now + self._limits.sweep_interval
            self.log.follow(event.lineage, event.generation, event.seq, event.chain)
            if event.local:
                self._add_local(updates, event.local)
        else:
            self._merge_histories(event, updates)
        # The subscription may have begun to be heard after the load.
        self.fetch_soon(now)
        self._tail.loaded([entry.updates for entry in event.entries])
        self._in_the_store_again()

    def _in_the_store_again(self) -> None:
        self.provisional = False
        self.journal.want_snapshot()
        self.move(DocumentState.LIVE, "")

    def _add_local(self, stored: list[bytes], local: tuple[bytes, ...]) -> None:
        """This disk's copy of the same lineage: what the store lacks, for it was set back, or this server
        ended before it got there, goes to the store (rule 15): a record as it was made, since others may
        look for it there, and of a snapshot only what is missing."""
        content = self.content
        for update in local:
            if len(update) > self._limits.channel_inline:
                before = self.replica.state_vector()
                if content.merge_in((update,)):
                    self.log.submit(content.state(before))
            elif (summary := content.summary(update)) is not None and content.take(update, summary) in NEW:
                self.log.submit(update)
            if content.damaged:
                content.fill([*stored, *local])
                self.log.submit(content.lacking(stored))
                return
        content.unparked()
        if content.gapped:
            self.log.submit(content.lacking(stored))

    def opened_locally(self, event: ev.OpenedLocally, now: float) -> None:
        """Without the store, from this disk; what the store has is merged in when it is back (rule 9)."""
        self.content.fill(event.updates)
        self.log.begin(event.lineage)
        self.provisional = event.provisional
        self._sweep_at = now + self._limits.sweep_interval
        self.journal.want_snapshot()
        self.move(DocumentState.DEGRADED, "the shared store is away")
        self._ask_load()

    def _merge_histories(self, event: ev.Opened, updates: list[bytes]) -> None:
        """The same lineage, from another incarnation of the log: merge both ways, lose neither."""
        content, before = self.content, self.replica.state_vector()
        if content.damaged or content.merge_in(event.local) is None:
            content.fill([*updates, *event.local, *self.log.unstored()])
        missing = content.lacking(updates)
        content.merge_in(updates)
        # A batch that failed meanwhile keeps its time to be sent again: nobody else would send it.
        set_back = self.log.generation is not None
        self.log.follow(event.lineage, event.generation, event.seq, event.chain)
        self.log.regained(None if missing == EMPTY_UPDATE else missing)
        self._grew(sum(map(len, updates)))
        self._people.pass_on(self.replica.diff(before))
        if set_back:
            self._people.take_back(self._config.level, self.replica.state_vector())
        else:
            self._people.ask_editors(self.replica.state_vector())

    def _grew(self, size: int) -> None:
        """Something of ``size`` bytes was applied that the store has already."""
        self.journal.submit_stored(self.log.submit_stored(), size)

    def store_lost(self, local: tuple[bytes, ...]) -> None:
        """The store has nothing of this document any more: give it this copy's content, and what another
        server left on this disk (rule 8). A damaged copy has to be whole again first: clients are asked,
        and it is founded when it has all of its first content (rule 10)."""
        content, before = self.content, self.replica.state_vector()
        damaged = content.damaged or content.merge_in(local) is None
        if damaged:
            content.fill([*local, *self.log.unstored()])
        self._people.pass_on(self.replica.diff(before))
        self._founding = True
        if damaged and not self._covers_seed:
            self._people.ask_editors(self.replica.state_vector())
        else:
            self._refound()

    @property
    def _covers_seed(self) -> bool:
        return self.log.lineage is not None and self.replica.covers_seed(self.log.lineage)

    def _refound(self) -> None:
        if self.log.lineage is None:
            raise InvariantBroken("a document is founded again only by a replica that has it")
        self._founding = False
        self._out.append(Refound(self.log.lineage, self.content.state(), self.log.applied))

    def refounded(self, event: ev.Refounded) -> None:
        """The store has this replica's content again."""
        if self.log.lineage is None:
            raise InvariantBroken("a document is founded again only by a replica that has it")
        self._loading = False
        self.log.refounded(event.position)
        self.log.follow(self.log.lineage, event.generation, 0, bytes(8))
        self._people.take_back(self._config.level, self.replica.state_vector())
        self._in_the_store_again()
        if self.log.doubted:
            self.load_again("more was typed than can wait while the store was given the document")

    def load_again(self, reason: str) -> None:
        """Get the stored document anew and merge; people go on meanwhile."""
        if self._loading or self.log.lineage is None:
            return
        self._out.append(Report(reason))
        self.move(DocumentState.REJOINING, reason)
        self.log.doubt()
        self._ask_load()

    def _ask_load(self) -> None:
        if not self._loading and self.log.lineage is not None:
            self._loading = True
            self._out.append(Load(self.log.lineage))

    def move(self, target: DocumentState, reason: str) -> None:
        """Go to another state and say so."""
        if self._lifecycle.move(target):
            self.reason = reason
            self._out.append(StateChanged(target, reason))

    # --- the log ------------------------------------------------------------------------------

    def appended(self, event: ev.BatchAppended) -> None:
        """A batch of ours is in the log."""
        rolled_back = self.log.contradicts(event.seq, event.chain)
        flight = self.log.in_flight
        if flight is None or not self.log.acknowledged(event.number, event.seq, event.chain):
            return
        self._append_failures = 0
        self._retry_append_at = None
        self._tail.grew(flight.updates)
        if rolled_back:
            self.load_again("the store's log was rolled back")
        else:
            self._store_answers()

    def _store_answers(self) -> None:
        if self._lifecycle.state is DocumentState.DEGRADED and not self._loading:
            self.move(DocumentState.LIVE, "")

    def append_failed(self, event: ev.AppendFailed, now: float) -> None:
        """The store is away: the same batch goes again, later each time."""
        limits = self._limits
        self._append_failures += 1
        wait = backoff(self._append_failures, limits.append_retry_first, limits.append_retry_most)
        self._retry_append_at = now + wait
        if self._lifecycle.state is DocumentState.LIVE:
            self.move(DocumentState.DEGRADED, event.reason)

    def entries(self, entries: tuple[ev.EntryArrived, ...], now: float) -> bool:
        """Entries of the log, in any order, repeated or not. True if the document changed."""
        changed = False
        for entry in entries:
            if entry.generation != self.log.generation:
                continue
            if self.log.contradicts(entry.seq, entry.chain):
                self.load_again("the store's log was rolled back")
                break
            if self.log.seen(entry.seq, entry.chain) and entry.node != self._config.node:
                self._tail.grew(entry.updates)
                if any([self._stored_update(update, now) for update in entry.updates]):
                    self._grew(sum(map(len, entry.updates)))
                    changed = True
        if self.log.gap:
            self.fetch_soon(now)
        return changed

    def _stored_update(self, update: bytes, now: float) -> bool:
        """Another node's update: stored already, so it is applied and passed on, not logged again."""
        summary = self.content.summary(update)
        if summary is None:
            return False
        return self._apply(update, summary, None, now) in NEW

    def log_read(self, event: ev.LogRead, now: float) -> bool:
        """The answer to ``FetchEntries``. True if the document changed."""
        self._fetching = False
        if self.log.in_flight is None:
            self._store_answers()
        if event.trimmed:
            self.load_again("the log no longer has the entries this document lacks")
            return False
        return self.entries(event.entries, now)

    def log_unreadable(self, event: ev.LogUnreadable, now: float) -> None:
        """Asking failed: ask again with the next sweep."""
        self._fetching = False
        self._sweep_at = now + self._limits.sweep_interval
        if event.away and self._lifecycle.state is DocumentState.LIVE:
            self.move(DocumentState.DEGRADED, event.reason)

    def fetch_soon(self, now: float) -> None:
        """Something may be missing; it may also be on its way."""
        if self._fetch_at is None and not self._fetching:
            self._fetch_at = now + self._limits.gap_patience

    def compacted(self, seq: int) -> None:
        """The log up to ``seq`` is in the snapshot."""
        self._tail.folded(self.log.seq - seq)

    # --- what follows from where we are -------------------------------------------------------

    def settle(self, now: float) -> None:
        """Append what waits, show what is stored, ask for what is missing, compact what is long."""
        self._append(now)
        self._record(now)
        while self._held_back and self._held_back[0][0] <= self.log.durable:
            self._people.pass_on(self._held_back.popleft()[1])
        self._repair(now)
        self._fetch(now)
        self._compact()

    def _append(self, now: float) -> None:
        if self._lifecycle.state is DocumentState.REJOINING or self.log.lineage is None:
            return
        flight = self.log.in_flight
        if self._retry_append_at is None or flight is None:
            flight = self.log.next_batch()
        elif now < self._retry_append_at:
            return
        self._retry_append_at = None
        if flight is not None and self.log.generation is not None:
            self._out.append(Append(self.log.lineage, self.log.generation, flight.number, flight.updates))

    def _record(self, now: float) -> None:
        if self.log.lineage is None:
            return
        self.journal.tick(now)
        if self._lifecycle.state is not DocumentState.LIVE:
            self.journal.want_what_the_store_has()
        if self.journal.snapshot_due(now):
            self.keep_copy(self.content.state(), now)
        records = self.journal.next_records(now)
        if records:
            self._out.append(Record(self.log.lineage, records))

    def checkpointing(self, state: bytes, now: float) -> None:
        """The file is brought up to ``state``, the replica's whole content: a good moment for a snapshot."""
        self.journal.checkpoint(len(state))
        if self.journal.snapshot_due(now) and not self.content.gapped:
            self.keep_copy(state, now)

    @property
    def rejoining(self) -> bool:
        """Whether another incarnation of the log is being merged in."""
        return self._lifecycle.state is DocumentState.REJOINING

    def keep_copy(self, state: bytes, now: float) -> None:
        """Write ``state``, this copy's whole content, to this disk."""
        if self.log.lineage is None:
            return
        place = None
        if self.log.generation is not None and self.log.settled and not self.log.gap:
            place = Place(self.log.generation, self.log.seq, self.log.chain)
        self.journal.keeping(self.log.applied, now)
        self._out.append(KeepCopy(self.log.lineage, state, self.log.applied, place))

    def _repair(self, now: float) -> None:
        if self._founding and self._covers_seed:
            self._refound()
        if self.content.whole:
            self._gap.closed()
            return
        if not self._gap.due(now):
            return
        self.content.look_again()
        if self._gap.hopeless and not self.content.whole:
            self.content.give_up()
        if not self.content.whole:
            self._fetch_at = now
            self._people.ask_editors(self.replica.state_vector())

    def _fetch(self, now: float) -> None:
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep_at = now + self._limits.sweep_interval
            self._fetch_at = now
        if self._fetch_at is None or now < self._fetch_at:
            return
        self._fetch_at = None
        in_step = self._lifecycle.state in (DocumentState.LIVE, DocumentState.DEGRADED) and not self._loading
        if in_step and not self._fetching and self.log.generation is not None:
            self._fetching = True
            self._out.append(FetchEntries(self.log.generation, self.log.seq, self.log.chain))

    def _compact(self) -> None:
        if self._lifecycle.state is DocumentState.LIVE and self._tail.fold():
            self._out.append(Compact())

    def deadline(self) -> float | None:
        """When ``settle`` has something to do next."""
        rejoining = self._lifecycle.state is DocumentState.REJOINING
        moments = (
            None if rejoining else self._retry_append_at,
            self._fetch_at,
            self._gap.deadline(),
            self._sweep_at,
            self.journal.deadline(),
        )
        return min((moment for moment in moments if moment is not None), default=None)
