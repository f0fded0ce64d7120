"""The structs of a v1 update, walked without building any of them.

Layout (Yjs, ``readClientsStructRefs`` and ``readItemContent``): a struct starts with a byte whose low
five bits are its kind and whose high three bits say that a left origin, a right origin and a map key
follow. Without any origin its parent is named; with one it is the origin's.

Refused, although one of Yjs 13.6 and yrs 0.28 reads it, because the other one reads something else,
reads nothing or throws half way: JSON contents (made by Yjs before 13; yrs reads one string too many),
XML hooks (yrs does not read their name), type references that only yrs knows, flags on structs that have
no room for them, deleted structs without a length. Other empty structs do no harm (old versions of yrs
wrote some) and count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.lib0 import Reader, parse_json
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import MAX_CLOCK

Span = tuple[int, int]
"""Clocks of one client id: the first, and the first after the last."""

_GC, _SKIP = 0, 10
_KIND, _HAS_KEY, _HAS_RIGHT, _HAS_LEFT = 0x1F, 0x20, 0x40, 0x80
_NAMED_TYPES: Final = (3,)
"""XML elements carry their tag name."""
_PLAIN_TYPES: Final = (0, 1, 2, 4, 6)
"""Array, map, text, XML fragment, XML text."""


class StructReader:
    """Reads all structs of an update and notes which clocks they have and which they build on.

    ``spans``: client id -> its clocks, ascending, with a gap wherever there was a Skip.
    ``needs``: client id -> the first clock after the last one that a struct refers to.
    """

    def __init__(self, reader: Reader, limits: Limits) -> None:
        self._reader = reader
        self._limits = limits
        self._values_left = limits.max_values_per_update
        self.spans: dict[int, tuple[Span, ...]] = {}
        self.needs: dict[int, int] = {}

    def read(self) -> None:
        """Read up to the delete set. Raises ``ProtocolError`` for anything malformed."""
        reader = self._reader
        structs_left = self._limits.max_structs_per_update
        for _ in range(reader.claim(3)):
            count = reader.claim(2)
            structs_left -= count
            if structs_left < 0:
                raise ProtocolError("an update has too many structs")
            client = reader.varuint()
            if client in self.spans:
                raise ProtocolError("an update names a client twice")
            self.spans[client] = self._read_client(client, reader.varuint(), count)

    def _read_client(self, client: int, clock: int, count: int) -> tuple[Span, ...]:
        spans: list[Span] = []
        start = clock
        for _ in range(count):
            info = self._reader.byte()
            if info == _SKIP:
                if clock > start:
                    spans.append((start, clock))
                clock += self._reader.varuint()
                start = clock
            else:
                clock += self._reader.varuint() if info == _GC else self._item(info, client, clock)
            if clock > MAX_CLOCK:
                raise ProtocolError("a clock is out of range")
        if clock > start:
            spans.append((start, clock))
        return tuple(spans)

    def _item(self, info: int, client: int, clock: int) -> int:
        """An item and its content; returns its length in clocks."""
        read_content = _CONTENTS.get(info & _KIND)
        if read_content is None:
            raise ProtocolError(f"there is no struct of kind {info}")
        if info & _HAS_LEFT:
            self._reference(client, clock)
        if info & _HAS_RIGHT:
            self._reference(client, clock)
        if not info & (_HAS_LEFT | _HAS_RIGHT):
            self._parent(client, clock)
            if info & _HAS_KEY:
                self._reader.utf16_length()
        return read_content(self)

    def _reference(self, client: int, clock: int) -> None:
        """The id of a struct that must be there before."""
        reader = self._reader
        target, at = reader.id(), reader.varuint()
        if at >= self.needs.get(target, 0):
            if at >= MAX_CLOCK:
                raise ProtocolError("a clock is out of range")
            self.needs[target] = at + 1
        if target == client and at >= clock:
            raise ProtocolError("a struct refers to a later one of its own client")

    def _parent(self, client: int, clock: int) -> None:
        named = self._reader.varuint()
        if named == 1:
            self._reader.utf16_length()
        elif named == 0:
            self._reference(client, clock)
        else:
            raise ProtocolError("a parent is neither a name nor an id")

    def _json(self) -> int:
        raise ProtocolError(
            "JSON contents of Yjs before version 13 can't be kept; copy them into a new document"
        )

    def _deleted(self) -> int:
        length = self._reader.varuint()
        if not length:
            raise ProtocolError("a deleted struct has no length")
        return length

    def _string(self) -> int:
        return self._reader.utf16_length()

    def _binary(self) -> int:
        self._reader.skip(self._reader.varuint())
        return 1

    def _embed(self) -> int:
        parse_json(self._reader.varstring(), self._limits.max_value_depth)
        return 1

    def _format(self) -> int:
        self._reader.utf16_length()
        return self._embed()

    def _type(self) -> int:
        kind = self._reader.byte()
        if kind in _NAMED_TYPES:
            self._reader.utf16_length()
        elif kind not in _PLAIN_TYPES:
            raise ProtocolError(f"shared types of kind {kind} can't be kept")
        return 1

    def _any(self) -> int:
        count = self._reader.claim(1)
        for _ in range(count):
            self._value()
        return count

    def _subdocument(self) -> int:
        self._reader.utf16_length()
        if self._reader.data[self._reader.pos : self._reader.pos + 1] != b"\x76":
            raise ProtocolError("the options of a subdocument are not a map")
        self._value()
        return 1

    def _value(self) -> None:
        self._values_left -= self._reader.skip_any(self._limits.max_value_depth, self._values_left)


_CONTENTS: Final[dict[int, Callable[[StructReader], int]]] = {
    1: StructReader._deleted,
    2: StructReader._json,
    3: StructReader._binary,
    4: StructReader._string,
    5: StructReader._embed,
    6: StructReader._format,
    7: StructReader._type,
    8: StructReader._any,
    9: StructReader._subdocument,
}


def read_delete_set(reader: Reader, limits: Limits) -> dict[int, tuple[Span, ...]]:
    """Client id -> the clocks that are deleted, ascending, touching ones joined.

    Raises ``ProtocolError`` for anything malformed; also for ranges that overlap or descend, which yrs
    takes for sorted, and for empty ones, on which Yjs throws.
    """
    deletes: dict[int, tuple[Span, ...]] = {}
    left = limits.max_structs_per_update
    for _ in range(reader.claim(2)):
        client = reader.varuint()
        count = reader.claim(2)
        left -= count
        if left < 0:
            raise ProtocolError("an update has too many deletions")
        if client in deletes:
            raise ProtocolError("a delete set names a client twice")
        deletes[client] = _read_ranges(reader, count)
    return {client: spans for client, spans in deletes.items() if spans}


def _read_ranges(reader: Reader, count: int) -> tuple[Span, ...]:
    spans: list[Span] = []
    end = 0
    for _ in range(count):
        clock, length = reader.varuint(), reader.varuint()
        if clock < end or not length:
            raise ProtocolError("deleted ranges overlap, descend or are empty")
        if spans and clock == end:
            spans[-1] = (spans[-1][0], clock + length)
        else:
            spans.append((clock, clock + length))
        end = clock + length
        if end > MAX_CLOCK:
            raise ProtocolError("a clock is out of range")
    return tuple(spans)
