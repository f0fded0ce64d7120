"""Write-ahead bookkeeping of one document on one node: what is applied, what is durable, what comes next.

Positions count applied frames from 1 on this node. A frame is durable when the log in the store has
everything applied up to and including it; also a frame that changed nothing waits for that (rule 2).
At most one batch is in flight, and all that arrives meanwhile makes the next one (group commit).
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass

from notebook_sync.core.ids import Generation, Lineage
from notebook_sync.core.limits import Limits


@dataclass(frozen=True, slots=True)
class _Pending:
    update: bytes
    position: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch that was given to the store; ``position`` becomes durable with it."""

    number: int
    updates: tuple[bytes, ...]
    position: int


class UpdateLog:
    """``seq`` and ``chain`` name the last entry up to which this node has every entry of the log."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending: deque[_Pending] = deque()
        self._numbers = itertools.count(1)
        self._ahead: dict[int, bytes] = {}
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self.lineage: Lineage | None = None
        self.generation: Generation | None = None
        self.seq = 0
        self.chain = bytes(8)
        self.applied = 0
        self.durable = 0
        self.in_flight: InFlight | None = None
        self.window_bytes = 0

    def follow(self, lineage: Lineage, generation: Generation, seq: int, chain: bytes) -> None:
        """From now on this is the log; a batch in flight for another generation goes back to the front."""
        if generation != self.generation:
            self._ahead.clear()
            self._requeue()
        self._recent.clear()
        self.lineage, self.generation = lineage, generation
        self.seq, self.chain = seq, chain
        self._ahead = {s: c for s, c in self._ahead.items() if s > seq}
        self._advance()

    def _requeue(self) -> None:
        flight, self.in_flight = self.in_flight, None
        if flight is not None:
            self._pending.extendleft(_Pending(u, flight.position) for u in reversed(flight.updates))

    def submit(self, update: bytes | None) -> int:
        """A frame was applied; ``update`` is what it brought, None if nothing. Returns its position."""
        if update is None:
            return self.applied
        self.applied += 1
        self._pending.append(_Pending(update, self.applied))
        self.window_bytes += len(update)
        return self.applied

    def unstored(self) -> list[bytes]:
        """All updates that the store has not acknowledged, oldest first."""
        flight = list(self.in_flight.updates) if self.in_flight is not None else []
        return flight + [entry.update for entry in self._pending]

    @property
    def full(self) -> bool:
        """Whether the window of updates that are not in the store has reached its bound."""
        return self.window_bytes >= self._limits.pending_window_bytes

    @property
    def settled(self) -> bool:
        """Whether everything applied is durable."""
        return self.durable >= self.applied

    def next_batch(self) -> InFlight | None:
        """The next batch for the store, or None while one is in flight or nothing waits."""
        if self.in_flight is not None or not self._pending or self.generation is None:
            return None
        updates: list[bytes] = []
        size = 0
        while self._pending and len(updates) < self._limits.append_batch_updates:
            if updates and size + len(self._pending[0].update) > self._limits.append_batch_bytes:
                break
            entry = self._pending.popleft()
            updates.append(entry.update)
            size += len(entry.update)
        self.in_flight = InFlight(next(self._numbers), tuple(updates), entry.position)
        return self.in_flight

    def acknowledged(self, number: int, seq: int, chain: bytes) -> bool:
        """The store has batch ``number`` as entry ``seq``. False if that was not the batch in flight."""
        flight = self.in_flight
        if flight is None or flight.number != number:
            return False
        self.in_flight = None
        self.window_bytes -= sum(map(len, flight.updates))
        self.durable = flight.position
        self.seen(seq, chain)
        return True

    def refounded(self, position: int) -> None:
        """The store was seeded with everything applied up to ``position``."""
        self._requeue()
        while self._pending and self._pending[0].position <= position:
            self.window_bytes -= len(self._pending.popleft().update)
        self.durable = max(self.durable, position)

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
