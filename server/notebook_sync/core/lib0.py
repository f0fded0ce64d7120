"""The lib0 encoding that Yjs and y-protocols are written in: read strictly, within bounds.

Numbers are little endian in groups of seven bits; strings and byte arrays carry their length in
front. What lib0's JavaScript reads in one way and yrs in another is refused here, because a document
that two sides read differently never comes together again.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from notebook_sync.core.errors import ProtocolError

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest whole number that JavaScript holds exactly; lib0 refuses larger ones."""

_LONGEST_VARUINT: Final = 8
"""Bytes: 8 groups of 7 bits hold 53 bits."""

_FIXED_SIZES: Final = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
"""Bytes after the tag of an "any" value: undefined, null, float32, float64, bigint, false, true."""

_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
"""A string, also one that does not end (or this would be quadratic), or a bracket."""

_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Reader:
    """Reads one encoded message from its start to its end. Every method raises ``ProtocolError`` when
    the bytes left are not what it is asked for; then the reader is of no use any more."""

    __slots__ = ("_last_id", "_last_id_bytes", "data", "end", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.end = len(data)
        self._last_id = 0
        self._last_id_bytes = b"\x00"

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self.end - self.pos

    def byte(self) -> int:
        """One byte."""
        pos = self.pos
        if pos >= self.end:
            self._truncated()
        self.pos = pos + 1
        return self.data[pos]

    def varuint(self) -> int:
        """A whole number from 0 to 2^53 - 1."""
        pos = self.pos
        if pos < self.end:
            byte = self.data[pos]
            if byte < 0x80:
                self.pos = pos + 1
                return byte
        return self._long_varuint()

    def _long_varuint(self) -> int:
        value = shift = 0
        for byte in self.data[self.pos : self.pos + _LONGEST_VARUINT]:
            if byte < 0x80:
                value |= byte << shift
                if value > MAX_SAFE_INTEGER:
                    break
                self.pos += shift // 7 + 1
                return value
            value |= (byte & 0x7F) << shift
            shift += 7
        if self.end - self.pos < _LONGEST_VARUINT:
            self._truncated()
        raise ProtocolError("a number is larger than 2^53 - 1")

    def id(self) -> int:
        """A varuint that is likely the same as at the last call: a client id, five to eight bytes long."""
        pos = self.pos
        if self.data.startswith(self._last_id_bytes, pos):
            self.pos = pos + len(self._last_id_bytes)
            return self._last_id
        self._last_id = self.varuint()
        self._last_id_bytes = self.data[pos : self.pos]
        return self._last_id

    def varint(self) -> int:
        """A whole number of at most 53 bits with a sign."""
        first = self.byte()
        value, shift = first & 0x3F, 6
        more = first & 0x80
        while more:
            if shift > 7 * _LONGEST_VARUINT:
                raise ProtocolError("a number is larger than 2^53 - 1")
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            more = byte & 0x80
        if value > MAX_SAFE_INTEGER:
            raise ProtocolError("a number is larger than 2^53 - 1")
        return -value if first & 0x40 else value

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        if size > self.end - self.pos:
            self._truncated()
        self.pos += size

    def claim(self, least: int) -> int:
        """A count of entries that take at least ``least`` bytes each: refused if they can't all be there.

        What believes such a count and makes room for it can be killed by six bytes.
        """
        count = self.varuint()
        if count * least > self.end - self.pos:
            self._truncated()
        return count

    def varbytes(self) -> bytes:
        """A byte array, copied."""
        size = self.varuint()
        start = self.pos
        self.skip(size)
        return self.data[start : self.pos]

    def varstring(self) -> str:
        """A UTF-8 string."""
        return utf8(self.varbytes())

    def utf16_length(self) -> int:
        """Pass over a UTF-8 string; its length in UTF-16 code units, as JavaScript counts."""
        size = self.varuint()
        start = self.pos
        stop = start + size
        if stop > self.end:
            self._truncated()
        self.pos = stop
        chunk = self.data[start:stop]
        if chunk.isascii():
            return size
        # Four bytes of UTF-8 are two units of UTF-16; only they start with F0 to F4.
        return len(utf8(chunk)) + sum([chunk.count(lead) for lead in range(0xF0, 0xF5)])

    def skip_any(self, max_depth: int, max_values: int) -> int:
        """Pass over one "any" value: a scalar, a string, bytes, or a nested array or map.

        ``max_depth`` bounds how many containers are inside one another, ``max_values`` how many values
        there are in all. Returns how many there were. It does not recurse: who does dies of a frame of
        a hundred thousand opening brackets.
        """
        values = 0
        outer: list[tuple[int, bool]] = []
        left, keyed = 1, False
        while True:
            while not left:
                if not outer:
                    return values
                left, keyed = outer.pop()
            left -= 1
            if keyed:
                self.utf16_length()
            values += 1
            if values > max_values or len(outer) > max_depth:
                raise ProtocolError("a value is nested too deep or has too many entries")
            tag = self.byte()
            if tag not in (117, 118):
                self._skip_scalar(tag)
                continue
            outer.append((left, keyed))
            keyed = tag == 118
            left = self.claim(2 if keyed else 1)

    def _skip_scalar(self, tag: int) -> None:
        size = _FIXED_SIZES.get(tag)
        if size is not None:
            self.skip(size)
        elif tag == 119:
            self.utf16_length()
        elif tag == 125:
            self.varint()
        elif tag == 116:
            self.skip(self.varuint())
        else:
            raise ProtocolError(f"no value has the tag {tag}")

    def _truncated(self) -> NoReturn:
        raise ProtocolError("the data ends too early")


def utf8(data: bytes) -> str:
    """The string in ``data``. Raises ``ProtocolError`` when it is not valid UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a string is not valid UTF-8") from None


def parse_json(text: str, max_depth: int) -> object:
    """JSON as browsers, serde and Python all read it.

    Raises ``ProtocolError`` for what one of them does not: NaN, numbers beyond float64, halves of
    surrogate pairs, containers more than ``max_depth`` deep.
    """
    if text.count("[") + text.count("{") > max_depth and _depth(text) > max_depth:
        raise ProtocolError("a JSON text is nested too deep")
    try:
        value: object = json.loads(text, parse_constant=_not_json, parse_float=_finite)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        # UnicodeEncodeError is a ValueError too; so is a number of more than 4300 digits.
        raise ProtocolError("a JSON text can't be read") from None
    return value


def _depth(text: str) -> int:
    """How deep the containers of a JSON text are nested at most."""
    depth = deepest = 0
    for token in _JSON_TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
                deepest = max(deepest, depth)
            case "]" | "}":
                depth -= 1
    return deepest


def _not_json(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("beyond float64")
    return value


def encode_varuint(value: int) -> bytes:
    """``value`` (0 to 2^53 - 1) in groups of seven bits.

    Raises ``ValueError`` outside of that range.
    """
    if not 0 <= value <= MAX_SAFE_INTEGER:
        raise ValueError(f"{value} is not between 0 and 2^53 - 1")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_varbytes(data: bytes) -> bytes:
    """``data`` with its length in front."""
    return encode_varuint(len(data)) + data


def encode_varstring(text: str) -> bytes:
    """``text`` in UTF-8 with its length in bytes in front."""
    return encode_varbytes(text.encode())
