"""What this server's own disk has of a document: bookkeeping of its journal and its snapshot.

What is applied here is recorded, also while the store is well: a store that comes back older, or
empty, costs nothing while this disk lives (rule 15). Positions are those of the update log. At most one
batch of records is under way, and one snapshot.
"""

from __future__ import annotations

import math
from collections import deque

from notebook_sync.core.backoff import backoff
from notebook_sync.core.limits import Limits


class Journaling:
    """``now`` is monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._writing: tuple[tuple[int, bytes], ...] = ()
        self._applied = 0
        self._failures = 0
        self._retry_at = -math.inf
        self._gather_until: float | None = None
        self._busy_since: float | None = None
        self._stalled = False
        self._keeping: int | None = None
        self._keep_at: float | None = None
        self._based = False
        self._needs = 0
        self._since_kept = 0
        self._store_only: tuple[int, int] | None = None
        """The first and last position that the store has and this disk has not; others in between it has."""

    # --- what is applied ----------------------------------------------------------------------

    def submit(self, position: int, update: bytes) -> None:
        """An update was applied here as ``position`` and must be recorded."""
        self._waiting.append((position, update))
        self._waiting_bytes += len(update)
        self._since_kept += len(update)
        self._applied = position
        if self._waiting_bytes > self._limits.pending_window_bytes:
            # The disk is too slow, or refuses: one snapshot replaces all that waits (rule 27).
            self._waiting.clear()
            self._waiting_bytes = 0
            self._based, self._needs = False, position
            self.want_snapshot()

    def submit_stored(self, position: int, size: int) -> None:
        """Something of ``size`` bytes was applied that the store has: the next snapshot will have it too."""
        self._applied = position
        self._since_kept += size
        self._store_only = (position if self._store_only is None else self._store_only[0], position)

    @property
    def recorded(self) -> int:
        """The last position up to which everything that was applied here is on this disk; -1 while
        there is no snapshot on it that the records could be added to."""
        if not self._based:
            return -1
        if self._writing:
            return self._writing[0][0] - 1
        return self._waiting[0][0] - 1 if self._waiting else self._applied

    @property
    def on_this_disk(self) -> int:
        """As ``recorded``, without what the store has and no snapshot yet: for when it may be lost there."""
        return self.recorded if self._store_only is None else min(self.recorded, self._store_only[0] - 1)

    @property
    def trusted(self) -> bool:
        """Whether acknowledgements wait for this disk: not for one that refuses, or does not answer."""
        return self._failures == 0 and not self._stalled

    def tick(self, now: float) -> None:
        """See whether the disk has answered in time."""
        if self._busy_since is not None and now >= self._busy_since + self._limits.journal_patience:
            self._stalled = True

    # --- records ------------------------------------------------------------------------------

    def next_records(self, now: float) -> tuple[tuple[int, bytes], ...]:
        """The next batch to be written; empty while one is under way or being gathered, or nothing waits.

        An fsync for every key would cost more than all that a key costs otherwise.
        """
        if self._writing or not self._waiting or not self._based or now < self._retry_at:
            return ()
        if self._gather_until is None:
            self._gather_until = now + self._limits.journal_gather
        if now < self._gather_until:
            return ()
        self._gather_until = None
        self._busy_since = now if self._busy_since is None else self._busy_since
        self._writing = tuple(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return self._writing

    def written(self) -> None:
        """The batch under way is on the disk."""
        self._writing = ()
        self._answered()

    def not_written(self, now: float) -> None:
        """The disk refused the batch: it waits for the next try, before all that came since."""
        self._waiting.extendleft(reversed(self._writing))
        self._waiting_bytes += sum(len(update) for _, update in self._writing)
        self._writing = ()
        self._failed(now)

    def _answered(self) -> None:
        self._failures = 0
        self._busy_since = None
        self._stalled = False

    def _failed(self, now: float) -> None:
        self._busy_since = None
        self._failures += 1
        wait = backoff(self._failures, self._limits.journal_retry_first, self._limits.journal_retry_most)
        self._retry_at = now + wait

    # --- snapshots ----------------------------------------------------------------------------

    def want_snapshot(self) -> None:
        """Write a snapshot as soon as may be."""
        self._keep_at = -math.inf

    def want_what_the_store_has(self) -> None:
        """The store is away: what only it has must get to this disk, unless that is under way."""
        if self._store_only is not None and self._keeping is None and self._keep_at is None:
            self.want_snapshot()

    def checkpoint(self, size: int) -> None:
        """A checkpoint of a document of ``size`` bytes begins: a good moment for a snapshot, unless it
        would write far more than was changed since the last."""
        if self._since_kept * self._limits.copy_write_factor >= size:
            self.want_snapshot()

    def snapshot_due(self, now: float) -> bool:
        """Whether to write one now."""
        return self._keeping is None and self._keep_at is not None and now >= self._keep_at

    def keeping(self, position: int, now: float) -> None:
        """A snapshot of everything up to ``position`` is under way."""
        self._busy_since = now if self._busy_since is None else self._busy_since
        self._keeping = position
        self._keep_at = None

    def kept(self) -> None:
        """It is on the disk: what it covers needs no record any more."""
        assert self._keeping is not None, "a snapshot was kept that nobody asked for"
        self._based = self._keeping >= self._needs
        if self._store_only is not None:
            first, last = self._store_only
            self._store_only = None if last <= self._keeping else (max(first, self._keeping + 1), last)
        self._applied = max(self._applied, self._keeping)  # what came from this disk has no record
        while self._waiting and self._waiting[0][0] <= self._keeping:
            self._waiting_bytes -= len(self._waiting.popleft()[1])
        self._since_kept = sum(len(u) for _, u in self._writing) + self._waiting_bytes
        self._keeping = None
        self._answered()

    def not_kept(self, now: float) -> None:
        """The disk refused the snapshot: try again later."""
        self._keeping = None
        self._failed(now)
        self._keep_at = self._retry_at

    def deadline(self) -> float | None:
        """When there is something to write that could not be written before."""
        moments = []
        if self._keep_at is not None and self._keeping is None:
            moments.append(self._keep_at)
        if self._waiting and not self._writing and self._based:
            moments.append(max(self._retry_at, self._gather_until or -math.inf))
        if self._busy_since is not None and not self._stalled:
            moments.append(self._busy_since + self._limits.journal_patience)
        return min(moments, default=None)
