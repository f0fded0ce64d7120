"""Frames of a room's socket as a client sees them, written from the protocol's description.

On purpose independent of the engine's ``notebook_sync.core.wire``: two readings of one description
find each other's mistakes. Numbers are lib0 variable-length unsigned integers; strings and byte
arrays carry their length in front.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

SYNC, AWARENESS, RAW = 0, 1, 2
STEP1, STEP2, UPDATE = 0, 1, 2
EMPTY_UPDATE = b"\x00\x00"


class FrameError(ValueError):
    """A frame of the server can't be read."""


def encode_uint(value: int) -> bytes:
    """``value`` (not negative) as seven bits a byte, lowest first, the top bit set on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_bytes(value: bytes) -> bytes:
    """``value`` with its length in front."""
    return encode_uint(len(value)) + value


def encode_string(value: str) -> bytes:
    """``value`` as UTF-8 with its length in bytes in front."""
    return encode_bytes(value.encode())


class Reader:
    """Reads lib0 values one after the other; raises ``FrameError`` past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def uint(self) -> int:
        value = shift = 0
        while self._at < len(self._data):
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise FrameError(f"number cut off at byte {self._at}")

    def bytes(self) -> bytes:
        length = self.uint()
        if self._at + length > len(self._data):
            raise FrameError(f"{length} bytes announced at byte {self._at} of {len(self._data)}")
        value = self._data[self._at : self._at + length]
        self._at += length
        return value

    def string(self) -> str:
        try:
            return self.bytes().decode()
        except UnicodeDecodeError as error:
            raise FrameError(f"not UTF-8: {error}") from error


def sync_step1(state_vector: bytes) -> bytes:
    """ "This is what I have; send me the rest.\""""
    return bytes((SYNC, STEP1)) + encode_bytes(state_vector)


def sync_step2(update: bytes) -> bytes:
    """The answer to a step 1."""
    return bytes((SYNC, STEP2)) + encode_bytes(update)


def sync_update(update: bytes) -> bytes:
    """An edit."""
    return bytes((SYNC, UPDATE)) + encode_bytes(update)


def save_request(request: int) -> bytes:
    """Ask the server to save now; it answers ``{"type": "save", "responseTo": request, …}``."""
    return bytes((RAW,)) + encode_string("save") + encode_uint(request)


@dataclass(frozen=True, slots=True)
class PeerState:
    """One entry of an awareness frame; ``state`` is None when the client has left."""

    client: int
    clock: int
    state: dict[str, object] | None


def awareness_update(entries: Iterable[PeerState]) -> bytes:
    """An awareness frame with these entries."""
    body = [
        encode_uint(entry.client) + encode_uint(entry.clock) + encode_string(json.dumps(entry.state))
        for entry in entries
    ]
    return bytes((AWARENESS,)) + encode_bytes(encode_uint(len(body)) + b"".join(body))


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """What the server has; it wants the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer to a step 1: all that was missing."""

    update: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """An edit of somebody."""

    update: bytes


@dataclass(frozen=True, slots=True)
class AwarenessUpdate:
    """Who is there, and where."""

    entries: tuple[PeerState, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """A side message of the server: one JSON object with a ``type``."""

    message: dict[str, object]


Frame = SyncStep1 | SyncStep2 | SyncUpdate | AwarenessUpdate | Raw


def decode(frame: bytes) -> Frame:
    """Read one frame of the server; raises ``FrameError`` for anything a stock client can't read."""
    reader = Reader(frame)
    match reader.uint():
        case 0:
            return _decode_sync(reader)
        case 1:
            return _decode_awareness(Reader(reader.bytes()))
        case 2:
            message = _json(reader.string())
            if not isinstance(message, dict):
                raise FrameError("side message is no JSON object")
            return Raw(message)
        case other:
            raise FrameError(f"unknown message type {other}")


def _decode_sync(reader: Reader) -> Frame:
    kind = reader.uint()
    match kind:
        case 0:
            return SyncStep1(reader.bytes())
        case 1:
            return SyncStep2(reader.bytes())
        case 2:
            return SyncUpdate(reader.bytes())
        case _:
            raise FrameError(f"unknown sync message {kind}")


def _decode_awareness(reader: Reader) -> AwarenessUpdate:
    entries: list[PeerState] = []
    for _ in range(reader.uint()):
        client, clock = reader.uint(), reader.uint()
        state = _json(reader.string())
        if state is not None and not isinstance(state, dict):
            raise FrameError("awareness state is no JSON object")
        entries.append(PeerState(client, clock, state))
    return AwarenessUpdate(tuple(entries))


def _json(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise FrameError(f"not JSON: {error}") from error
    return value


def decode_state_vector(state_vector: bytes) -> dict[int, int]:
    """Client id to next clock, of an encoded Yjs state vector."""
    reader = Reader(state_vector)
    return {reader.uint(): reader.uint() for _ in range(reader.uint())}
