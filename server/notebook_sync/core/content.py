"""What this node has of a document: the replica, which clocks it has without a gap, what is parked.

A replica can't tell what it lacks, and leaves what is parked out of its diffs; so the updates
themselves are read and counted, and those with a gap are kept as they came (rules 1 and 6).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.limits import Limits
from notebook_sync.core.narrow_ids import NarrowIds
from notebook_sync.core.replica import DamagedReplica, Replica, merge
from notebook_sync.core.state_vector import decode_state_vector
from notebook_sync.core.update import Clocks, UpdateSummary, decode


class Taken(enum.Enum):
    """What became of an update."""

    CHANGED = "changed"  # applied, passed on, on its way to the log
    PARKED = "parked"  # as CHANGED, but nobody sees it until what it builds on has come
    KNOWN = "known"  # it brought nothing
    BROKEN = "broken"  # it could not be applied, and the replica must be rebuilt


class Content:
    """``new_replica`` makes an empty one; ``report`` takes sentences for the log."""

    def __init__(
        self, limits: Limits, new_replica: Callable[[], Replica], report: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._new_replica = new_replica
        self._report = report
        self.replica = new_replica()
        self.damaged = False
        """Whether an update was half applied: the replica is to be filled anew."""
        self._clocks = Clocks()
        self._narrow = NarrowIds()
        self._gapped: list[bytes] = []
        self._given_up: tuple[tuple[int, int, int], ...] = ()

    # --- one update ---------------------------------------------------------------------------

    def would_add(self, summary: UpdateSummary) -> list[int]:
        """The client ids of which the update brings structs that are new here."""
        return list(self._clocks.would_add(summary))

    def doubles(self, new_clients: list[int]) -> bool:
        """Whether this is the document's own content, come back under misread client ids."""
        if not self._narrow.suspect(new_clients):
            return False  # as nearly always: the look at all clocks is not for every key
        known = decode_state_vector(self._clocks.state_vector())
        return self._narrow.suspect(client for client in new_clients if client not in known)

    def take(self, update: bytes, summary: UpdateSummary) -> Taken:
        """Apply an update that was decoded."""
        try:
            changed = self.replica.apply(update)
        except DamagedReplica as error:
            self.damaged = True
            self._report(f"an update was half applied: {error}")
            return Taken.BROKEN
        added = self._clocks.add(summary)
        self._narrow.know(summary.structs)
        # Also what has all it builds on may be parked with what it builds on.
        if not self.whole and len(self._gapped) < self._limits.gapped_updates:
            self._gapped.append(update)
        if not (changed or added.new or added.gap):
            return Taken.KNOWN
        return Taken.PARKED if added.gap else Taken.CHANGED

    def made_here(self, update: bytes) -> None:
        """The replica has it already."""
        self._clocks.add(decode(update, self._limits))

    def unparked(self) -> list[bytes]:
        """If the last missing update has come: those that waited for it, to be shown again. yrs looks
        through what it parked only once for each update that it applies, so here and at clients built on
        it some can stay parked otherwise."""
        if not self._gapped or not self.whole:
            return []
        waited, self._gapped = self._gapped, []
        self.replica.unpark(waited)
        return waited

    # --- gaps ---------------------------------------------------------------------------------

    @property
    def whole(self) -> bool:
        """Whether no update is missing, so that this copy is what everybody sees (rule 1).

        What nobody could give for long, because it is lost or was never there, does not count: else one
        bad reference would keep the document from being saved for ever.
        """
        return not self._clocks.has_gap or self._clocks.missing() == self._given_up

    @property
    def gapped(self) -> list[bytes]:
        """Updates whose predecessors are missing; a replica leaves them out of its diffs."""
        return self._gapped if self._clocks.has_gap else []

    def look_again(self) -> None:
        """pycrdt may have filled a gap from a snapshot whose parked structs it does not show."""
        self._clocks.advance(self.replica.state_vector())

    def give_up(self) -> None:
        """Nobody has what is missing."""
        self._given_up = self._clocks.missing()
        self._report(f"missing updates that nobody has: {self._given_up}")

    # --- all of it ----------------------------------------------------------------------------

    def state(self, state_vector: bytes | None = None) -> bytes:
        """All that is here beyond ``state_vector``, as one v1 update, parked updates included (rule 6)."""
        diff = self.replica.diff(state_vector)
        return merge([diff, *self.gapped]) if self.gapped else diff

    def lacking(self, updates: Sequence[bytes]) -> bytes:
        """What is here and not in ``updates``, as one v1 update."""
        other = self._new_replica()
        other.apply(*updates)
        other.unpark(updates)
        return self.state(other.state_vector())

    def fill(self, updates: Sequence[bytes]) -> None:
        """A fresh replica from stored updates; one that can't be applied is left out and reported."""
        good = list(updates)
        while not self._filled(good):
            pass
        self.damaged = False
        self._clocks = Clocks(limits=self._limits)
        self._gapped = []
        self._read(good)
        self._narrow.know(decode_state_vector(self.replica.state_vector()))

    def _filled(self, updates: list[bytes]) -> bool:
        self.replica = self._new_replica()
        for index, update in enumerate(updates):
            try:
                self.replica.apply(update)
            except DamagedReplica as error:
                self._left_out(update, error)
                del updates[index]
                return False
        self.replica.unpark(updates)
        return True

    def merge_in(self, updates: Sequence[bytes]) -> bool | None:
        """Take stored updates of the same history in. Whether that changed anything; None if one could not
        be applied, and the replica is damaged."""
        try:
            changed = self.replica.apply(*updates)
            self.replica.unpark(updates)
        except DamagedReplica:
            self.damaged = True
            return None
        self._read(updates)
        return changed

    def _read(self, updates: Sequence[bytes]) -> None:
        """Count what is here and what is missing. A big update (a snapshot, mostly) is taken at the
        replica's word: reading it takes too long."""
        for update in updates:
            if len(update) > self._limits.decode_inline or (summary := self.summary(update)) is None:
                continue
            self._clocks.add(summary)
            if not self.whole:
                self._gapped.append(update)
        self._clocks.advance(self.replica.state_vector())

    def summary(self, update: bytes) -> UpdateSummary | None:
        """What is in a stored update; None, and a report, if it can't be read."""
        try:
            return decode(update, self._limits)
        except ProtocolError as error:
            self._left_out(update, error)
            return None

    def _left_out(self, update: bytes, error: Exception) -> None:
        self._report(f"a stored update of {len(update)} bytes is left out: {error}")
