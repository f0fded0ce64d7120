"""Frames of the y-protocols, as y-websocket and jupyter-collaboration put them on a socket.

One message per websocket frame, ``varuint type`` first: 0 sync (``varuint`` 0 step 1, 1 step 2,
2 update, then a byte array), 1 awareness (a byte array), 2 RAW (a string; ``"save"`` is followed by
``varuint id``), 3 awareness query. Bytes after a message are ignored, as clients do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ClientId
from notebook_sync.core.lib0 import (
    Reader,
    encode_varbytes,
    encode_varstring,
    encode_varuint,
    parse_json,
    utf8,
)
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import decode_state_vector

_SYNC: Final = 0
_AWARENESS: Final = 1
_RAW: Final = 2
_AWARENESS_QUERY: Final = 3
_STEP1, _STEP2, _UPDATE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The sender has what ``state_vector`` says (well formed) and wants the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer to ``SyncStep1``: a v1 update, not decoded yet."""

    update: bytes


@dataclass(frozen=True, slots=True)
class SyncUpdate:
    """A v1 update, not decoded yet."""

    update: bytes


@dataclass(frozen=True, slots=True)
class AwarenessEntry:
    """``state`` is the JSON text of an object; None: the client is gone."""

    client: ClientId
    clock: int
    state: str | None


@dataclass(frozen=True, slots=True)
class AwarenessUpdate:
    """What some clients say of themselves, in the frame's order."""

    entries: tuple[AwarenessEntry, ...]


@dataclass(frozen=True, slots=True)
class AwarenessQuery:
    """The sender wants to know who is here."""


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Save now and answer with ``request_id``."""

    request_id: int


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a kind that is not ours, of outer type ``type``: to be ignored."""

    type: int


Message = SyncStep1 | SyncStep2 | SyncUpdate | AwarenessUpdate | AwarenessQuery | SaveRequest | UnknownMessage


def parse(frame: bytes | str, limits: Limits) -> Message:
    """The message in one websocket frame.

    Raises ``ProtocolError`` for everything that is malformed or larger than ``limits`` allow: text
    and empty frames too. The updates inside of sync messages are left to ``update.decode``.
    """
    if isinstance(frame, str):
        raise ProtocolError("text frames are not part of the protocol; send binary ones")
    if len(frame) > limits.max_message_size:
        raise ProtocolError(f"a message is larger than {limits.max_message_size} bytes")
    reader = Reader(frame)
    kind = reader.varuint()
    if kind == _SYNC:
        return _parse_sync(reader)
    if kind == _AWARENESS:
        return _parse_awareness(reader.varbytes(), limits)
    if kind == _RAW:
        return _parse_raw(reader)
    if kind == _AWARENESS_QUERY:
        return AwarenessQuery()
    return UnknownMessage(kind)


def _parse_sync(reader: Reader) -> Message:
    step = reader.varuint()
    if step not in (_STEP1, _STEP2, _UPDATE):
        raise ProtocolError(f"there is no sync message {step}")
    payload = reader.varbytes()
    if step == _STEP2:
        return SyncStep2(payload)
    if step == _UPDATE:
        return SyncUpdate(payload)
    decode_state_vector(payload)
    return SyncStep1(payload)


def _parse_raw(reader: Reader) -> Message:
    if reader.varstring() == "save":
        return SaveRequest(reader.varuint())
    return UnknownMessage(_RAW)


def _parse_awareness(payload: bytes, limits: Limits) -> AwarenessUpdate:
    reader = Reader(payload)
    count = reader.claim(3)
    if count > limits.max_clients_per_awareness_frame:
        raise ProtocolError(f"awareness of more than {limits.max_clients_per_awareness_frame} clients")
    return AwarenessUpdate(tuple(_parse_entry(reader, limits) for _ in range(count)))


def _parse_entry(reader: Reader, limits: Limits) -> AwarenessEntry:
    client, clock = ClientId(reader.varuint()), reader.varuint()
    encoded = reader.varbytes()
    if len(encoded) > limits.max_awareness_size:
        raise ProtocolError(f"an awareness state is larger than {limits.max_awareness_size} bytes")
    text = utf8(encoded)
    state = parse_json(text, limits.max_value_depth)
    if state is None:
        return AwarenessEntry(client, clock, None)
    if not isinstance(state, dict):
        raise ProtocolError("an awareness state is neither an object nor null")
    return AwarenessEntry(client, clock, text)


def encode_sync_step1(state_vector: bytes) -> bytes:
    """A frame that asks for what ``state_vector`` lacks."""
    return bytes((_SYNC, _STEP1)) + encode_varbytes(state_vector)


def encode_sync_step2(update: bytes) -> bytes:
    """A frame that answers sync step 1 with a v1 update."""
    return bytes((_SYNC, _STEP2)) + encode_varbytes(update)


def encode_update(update: bytes) -> bytes:
    """A frame that carries a v1 update."""
    return bytes((_SYNC, _UPDATE)) + encode_varbytes(update)


def encode_awareness(entries: Iterable[AwarenessEntry]) -> bytes:
    """A frame with what is known of some clients."""
    encoded = [
        encode_varuint(entry.client)
        + encode_varuint(entry.clock)
        + encode_varstring("null" if entry.state is None else entry.state)
        for entry in entries
    ]
    payload = encode_varuint(len(encoded)) + b"".join(encoded)
    return bytes((_AWARENESS,)) + encode_varbytes(payload)


def encode_raw(json_text: str) -> bytes:
    """A RAW frame with a JSON text, for clients of Jupyter's providers.

    Raises ``ValueError`` for an empty text: y-websocket would take it for a refusal of its login.
    """
    if not json_text:
        raise ValueError("a RAW message must not be empty")
    return bytes((_RAW,)) + encode_varstring(json_text)


SaveStatus = Literal["success", "skipped", "failed"]


def encode_save_reply(request_id: int, status: SaveStatus) -> bytes:
    """The answer to ``SaveRequest``, for its sender only."""
    return encode_raw(f'{{"type":"save","responseTo":{request_id},"status":"{status}"}}')
