"""Write-ahead bookkeeping of one document on one node: what is applied, what is durable, what comes next.

Positions count what was applied on this node, from 1. A position is durable when the log in the store
has everything applied up to and including it; a frame that changed nothing waits for that too (rule 2).
At most one batch is in flight, and all that arrives meanwhile makes the next one (group commit).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from notebook_sync.core.ids import Generation, Lineage
from notebook_sync.core.limits import Limits


@dataclass(frozen=True, slots=True)
class _Unstored:
    update: bytes
    position: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch that was given to the store; sent again, it keeps its number (rule 21)."""

    number: int
    entries: tuple[_Unstored, ...]

    @property
    def updates(self) -> tuple[bytes, ...]:
        """What the batch carries, oldest first."""
        return tuple(entry.update for entry in self.entries)


class UpdateLog:
    """``seq`` and ``chain`` name the last entry up to which this node has every entry of the log.

    ``numbers`` gives rising numbers for batches that were never given to one of this node's before.
    """

    def __init__(self, limits: Limits, numbers: Iterator[int] | None = None) -> None:
        self._limits = limits
        self._pending: deque[_Unstored] = deque()
        self._numbers = numbers or itertools.count(1)
        self._ahead: dict[int, bytes] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self.lineage: Lineage | None = None
        self.generation: Generation | None = None
        self.seq = 0
        self.chain = bytes(8)
        self.applied = 0
        self.in_flight: InFlight | None = None
        self.window_bytes = 0
        """Size of all updates that the store has not acknowledged."""
        self._doubted = False
        self._dropped_to = 0
        """Up to here updates may have been forgotten that the store lacks."""

    # --- which log ----------------------------------------------------------------------------

    def begin(self, lineage: Lineage) -> None:
        """The document was opened without the store: which log it has, and what is in it, is not known."""
        self.lineage = lineage
        self.doubt()

    def follow(self, lineage: Lineage, generation: Generation, seq: int, chain: bytes) -> None:
        """From now on this is the log; a batch in flight for another generation waits again, as a new one."""
        if generation != self.generation:
            self._ahead.clear()
            self._requeue()
        self._recent.clear()
        self.lineage, self.generation = lineage, generation
        self.seq, self.chain = seq, chain
        self._ahead = {s: c for s, c in self._ahead.items() if s > seq}
        self._advance()

    def _requeue(self) -> None:
        if self.in_flight is not None:
            self._pending.extendleft(reversed(self.in_flight.entries))
            self.in_flight = None

    def refounded(self, position: int) -> None:
        """The store was seeded with everything applied up to ``position``. What was forgotten since then
        keeps it in doubt."""
        self._requeue()
        while self._pending and self._pending[0].position <= position:
            self.window_bytes -= len(self._pending.popleft().update)
        self._doubted = self._dropped_to > position

    # --- the window's bound -------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the window of updates that are not in the store has reached its bound."""
        return self.window_bytes >= self._limits.pending_window_bytes

    def drop_window(self) -> None:
        """Forget the waiting updates: the replica has them, and gives the store what it lacks, as one
        update, when it is back (rule 27)."""
        self._requeue()
        self._pending.clear()
        self.window_bytes = 0
        self._dropped_to = self.applied
        self.doubt()

    def doubt(self) -> None:
        """The store may lack anything: nothing counts as durable, and nothing is appended, until
        ``regained`` or ``refounded``."""
        self._doubted = True

    @property
    def doubted(self) -> bool:
        """Whether it is not known what the store has."""
        return self._doubted

    def regained(self, missing: bytes | None) -> None:
        """It is known again: the store lacks ``missing``, which comes before all that waits."""
        self._doubted = False
        self._dropped_to = 0
        if missing is not None:
            self._pending.appendleft(_Unstored(missing, 0))
            self.window_bytes += len(missing)

    # --- what is applied, what is durable -----------------------------------------------------

    def submit(self, update: bytes) -> int:
        """An update was applied and must be stored. Returns its position."""
        self.applied += 1
        self._pending.append(_Unstored(update, self.applied))
        self.window_bytes += len(update)
        return self.applied

    def submit_stored(self) -> int:
        """Something was applied that the store has already. Returns its position."""
        self.applied += 1
        return self.applied

    @property
    def durable(self) -> int:
        """The last position up to which everything is in the store."""
        if self._doubted:
            return -1
        first = [self._pending[0].position] if self._pending else []
        if self.in_flight is not None:
            first.append(self.in_flight.entries[0].position)
        return min(first) - 1 if first else self.applied

    @property
    def settled(self) -> bool:
        """Whether everything applied is durable."""
        return self.in_flight is None and not self._pending and not self._doubted

    def unstored(self) -> list[bytes]:
        """All updates that the store has not acknowledged, oldest first."""
        flight = self.in_flight.updates if self.in_flight is not None else ()
        return [*flight, *(entry.update for entry in self._pending)]

    # --- batches ------------------------------------------------------------------------------

    def next_batch(self) -> InFlight | None:
        """The next batch for the store, or None while one is in flight or nothing waits."""
        if self.in_flight is not None or not self._pending or self.generation is None or self._doubted:
            return None
        entries = [self._pending.popleft()]
        size = len(entries[0].update)
        while self._pending and len(entries) < self._limits.append_batch_updates:
            size += len(self._pending[0].update)
            if size > self._limits.append_batch_bytes:
                break
            entries.append(self._pending.popleft())
        self.in_flight = InFlight(next(self._numbers), tuple(entries))
        return self.in_flight

    def acknowledged(self, number: int, seq: int, chain: bytes) -> bool:
        """The store has batch ``number`` as entry ``seq``. False if that was not the batch in flight."""
        if self.in_flight is None or self.in_flight.number != number:
            return False
        self.window_bytes -= sum(map(len, self.in_flight.updates))
        self.in_flight = None
        self.seen(seq, chain)
        return True

    # --- the place in the log -----------------------------------------------------------------

    def seen(self, seq: int, chain: bytes) -> bool:
        """Entry ``seq`` is known here. False if it was known already."""
        if seq <= self.seq or seq in self._ahead:
            return False
        self._ahead[seq] = chain
        self._recent[seq] = chain
        if len(self._recent) > self._limits.recent_chain_values:
            self._recent.popitem(last=False)
        self._advance()
        return True

    def _advance(self) -> None:
        while self.seq + 1 in self._ahead:
            self.seq += 1
            self.chain = self._ahead.pop(self.seq)

    def contradicts(self, seq: int, chain: bytes) -> bool:
        """Whether an entry ``seq`` with another chain value is known: the log was rolled back (rule 3)."""
        return self._recent.get(seq, chain) != chain

    @property
    def gap(self) -> bool:
        """Whether an entry is known while an earlier one is missing."""
        return bool(self._ahead)
