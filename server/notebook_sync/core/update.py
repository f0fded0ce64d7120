"""What a v1 update brings, decoded without integrating it, and what a document has of it (rules 1, 13).

pycrdt integrates structs whose predecessors are missing, Yjs parks them, and pycrdt can't tell that
there is a gap. So the engine looks into every update itself, and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.lib0 import Reader
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import (
    EMPTY_STATE_VECTOR,
    decode_state_vector,
    encode_state_vector,
)
from notebook_sync.core.structs import Span, StructReader, read_delete_set

EMPTY_UPDATE = b"\x00\x00"
"""The v1 update that brings nothing."""


@dataclass(frozen=True, slots=True)
class UpdateSummary:
    """What is in an update. Spans are (first clock, first clock after), ascending and apart.

    ``structs``: client id -> the clocks it brings; what an update skips is a gap between spans.
    ``deletes``: client id -> the clocks it deletes.
    ``dependencies``: client id -> the first clock after the last one its structs refer to (as origin,
    right origin or parent) and it does not bring itself.
    """

    structs: Mapping[int, tuple[Span, ...]]
    deletes: Mapping[int, tuple[Span, ...]]
    dependencies: Mapping[int, int]

    @property
    def is_empty(self) -> bool:
        """Whether it neither brings nor deletes anything."""
        return not self.structs and not self.deletes


def decode(update: bytes, limits: Limits) -> UpdateSummary:
    """Read a v1 update to its last byte.

    Raises ``ProtocolError`` when it is malformed, claims more than it holds or more than ``limits``
    allow, or is something that Yjs and pycrdt would read differently. What it accepts may still fail
    to integrate (a parent that is not a type), after changing the document: see rule 13.
    """
    reader = Reader(update)
    structs = StructReader(reader, limits)
    structs.read()
    deletes = read_delete_set(reader, limits)
    if reader.remaining:
        raise ProtocolError("there are bytes after the update")
    spans = {client: own for client, own in structs.spans.items() if own}
    # A reference into a skipped range needs no note: the clocks after it are parked anyway.
    needs = {
        client: end
        for client, end in structs.needs.items()
        if client not in spans or end > spans[client][-1][1]
    }
    return UpdateSummary(spans, deletes, needs)


@dataclass(frozen=True, slots=True)
class AddResult:
    """``new``: the update brought clocks that were not there, or deletions of such (deletions of what
    is there are not counted: ask the replica). ``gap``: something that it builds on is missing, so
    Yjs does not show all of it."""

    new: bool
    gap: bool


class Clocks:
    """Which operations of each client id a document has: without a gap, and beyond one (rule 1).

    ``state_vector``: encoded, what is there without a gap at the start.
    """

    def __init__(self, state_vector: bytes = EMPTY_STATE_VECTOR, limits: Limits | None = None) -> None:
        self._max_parked = (limits or Limits()).max_parked_ranges
        self._ends = decode_state_vector(state_vector)
        self._parked: dict[int, list[Span]] = {}
        self._needed: dict[int, int] = {}
        self._pending_deletes: dict[int, list[Span]] = {}

    def would_add(self, summary: UpdateSummary) -> dict[int, Span]:
        """Client id -> (first, first after the last) of the clocks that would be new here."""
        added: dict[int, Span] = {}
        for client, spans in summary.structs.items():
            new = _subtract(spans, self._known(client))
            if new:
                added[client] = (new[0][0], new[-1][1])
        return added

    def add(self, summary: UpdateSummary) -> AddResult:
        """Count an update that was applied."""
        new = bool(self.would_add(summary))
        for client, spans in summary.structs.items():
            self._extend(client, spans)
        gap = any(spans[-1][1] > self._ends[client] for client, spans in summary.structs.items())
        for client, end in summary.dependencies.items():
            if end > self._ends.get(client, 0):
                self._needed[client] = max(end, self._needed.get(client, 0))
                gap = True
        for client, spans in summary.deletes.items():
            new |= self._park_deletes(client, spans)
        return AddResult(new, gap)

    def advance(self, state_vector: bytes) -> None:
        """The document has at least what this encoded state vector says.

        Raises ``ProtocolError`` when it is malformed.
        """
        for client, end in decode_state_vector(state_vector).items():
            self._extend(client, [(0, end)])

    @property
    def has_gap(self) -> bool:
        """Whether operations are missing without which Yjs does not show others."""
        return bool(self._parked or self._needed)

    @property
    def has_pending_deletes(self) -> bool:
        """Whether operations were deleted that are not there: ``Doc.get_update`` forgets that (rule 6)."""
        return bool(self._pending_deletes)

    def missing(self) -> tuple[tuple[int, int, int], ...]:
        """(client id, first clock, first clock after) of all that is known to exist and not there."""
        gaps: list[tuple[int, int, int]] = []
        for client in sorted(self._parked.keys() | self._needed.keys() | self._pending_deletes.keys()):
            wanted = [
                *self._parked.get(client, ()),
                *self._pending_deletes.get(client, ()),
                (0, self._needed.get(client, 0)),
            ]
            horizon = max(end for _, end in wanted)
            gaps += [(client, *span) for span in _subtract([(0, horizon)], self._known(client))]
        return tuple(gaps)

    def state_vector(self) -> bytes:
        """Encoded, what is there without a gap. Where a struct's origin is missing, Yjs's own state
        vector ends before that struct and this one does not: it is what need not be sent again."""
        return encode_state_vector(self._ends)

    def _known(self, client: int) -> list[Span]:
        return [(0, self._ends.get(client, 0)), *self._parked.get(client, ())]

    def _extend(self, client: int, spans: Sequence[Span]) -> None:
        (_, end), *parked = _union(self._known(client), spans)
        self._ends[client] = end
        if len(parked) > self._max_parked:
            # Forgetting that they are here costs sending them again, not losing them.
            self._needed[client] = max(parked[-1][1], self._needed.get(client, 0))
            parked = []
        _keep(self._parked, client, parked)
        if end >= self._needed.get(client, 0):
            self._needed.pop(client, None)
        _keep(self._pending_deletes, client, _subtract(self._pending_deletes.get(client, ()), [(0, end)]))

    def _park_deletes(self, client: int, spans: Sequence[Span]) -> bool:
        """Note deletions of what is not there; True if any of them is new."""
        pending = self._pending_deletes.get(client, [])
        known = _union([(0, self._ends.get(client, 0))], pending)
        new = _subtract(spans, known)
        if new:
            _keep(self._pending_deletes, client, _union(pending, new)[-self._max_parked :])
        return bool(new)


def _keep(table: dict[int, list[Span]], client: int, spans: list[Span]) -> None:
    if spans:
        table[client] = spans
    else:
        table.pop(client, None)


def _union(one: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """Both, ascending, touching ones joined."""
    joined: list[Span] = []
    for start, end in sorted((*one, *other)):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _subtract(spans: Iterable[Span], known: Sequence[Span]) -> list[Span]:
    """What of ``spans`` is not in ``known``; both ascending and apart."""
    rest: list[Span] = []
    index = 0
    for span in spans:
        start, end = span
        while index < len(known) and known[index][1] <= start:
            index += 1
        at = index
        while at < len(known) and known[at][0] < end:
            if known[at][0] > start:
                rest.append((start, known[at][0]))
            start = max(start, known[at][1])
            at += 1
        if start < end:
            rest.append((start, end))
    return rest
