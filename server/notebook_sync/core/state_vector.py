"""State vectors: for each client id, how many of its operations somebody has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.lib0 import Reader, encode_varuint

EMPTY_STATE_VECTOR: Final = b"\x00"
"""Of somebody who has nothing."""

MAX_CLOCK: Final = 2**31 - 1
"""The largest clock taken. Yjs counts to 2^53 - 1, but yrs wraps around at 2^32 without a word; and
two thousand million characters by one client id never happen."""


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Client id -> the first clock that is not had.

    Raises ``ProtocolError`` when it is malformed.
    """
    reader = Reader(data)
    clocks: dict[int, int] = {}
    for _ in range(reader.claim(2)):
        client, clock = reader.varuint(), reader.varuint()
        if clock > MAX_CLOCK:
            raise ProtocolError("a clock is out of range")
        if client in clocks:
            raise ProtocolError("a state vector names a client twice")
        clocks[client] = clock
    if reader.remaining:
        raise ProtocolError("there are bytes after the state vector")
    return clocks


def encode_state_vector(clocks: Mapping[int, int]) -> bytes:
    """The inverse of ``decode_state_vector``; clients without operations are left out."""
    entries = sorted(((client, clock) for client, clock in clocks.items() if clock), reverse=True)
    return encode_varuint(len(entries)) + b"".join(
        encode_varuint(client) + encode_varuint(clock) for client, clock in entries
    )
