from __future__ import annotations

import contextlib
import json
import random

from hypothesis import given
from hypothesis import strategies as st

from notebook_sync.core import wire
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ClientId
from notebook_sync.core.lib0 import (
    MAX_SAFE_INTEGER,
    Reader,
    encode_varbytes,
    encode_varstring,
    encode_varuint,
)
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import MAX_CLOCK, decode_state_vector, encode_state_vector

LIMITS = Limits()
numbers = st.integers(0, MAX_SAFE_INTEGER)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
states = st.dictionaries(
    texts, st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts
)
entries = st.builds(
    wire.AwarenessEntry,
    numbers.map(ClientId),
    numbers,
    st.none() | states.map(lambda state: json.dumps(state, ensure_ascii=False)),
)
vectors = st.dictionaries(numbers, st.integers(1, MAX_CLOCK), max_size=8)
frames = st.one_of(
    vectors.map(lambda vector: wire.encode_sync_step1(encode_state_vector(vector))),
    st.binary(max_size=40).map(wire.encode_sync_step2),
    st.binary(max_size=40).map(wire.encode_update),
    st.lists(entries, max_size=4).map(wire.encode_awareness),
    texts.filter(bool).map(wire.encode_raw),
    numbers.map(lambda number: b"\x02\x04save" + encode_varuint(number)),
    st.just(b"\x03"),
)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_message_or_a_protocol_error(frame: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        wire.parse(frame, LIMITS)


@given(st.sampled_from([b"\x00\x00", b"\x00\x01", b"\x00\x02", b"\x01", b"\x02"]), st.binary(max_size=200))
def test_random_payloads_are_a_message_or_a_protocol_error(head: bytes, payload: bytes) -> None:
    for frame in (head + payload, head + encode_varbytes(payload)):
        with contextlib.suppress(ProtocolError):
            wire.parse(frame, LIMITS)


@given(frames, st.randoms(use_true_random=False))
def test_damaged_frames_are_a_message_or_a_protocol_error(frame: bytes, rng: random.Random) -> None:
    damaged = bytearray(frame)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(damaged) + 1)
        damaged[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
    with contextlib.suppress(ProtocolError):
        wire.parse(bytes(damaged), LIMITS)


@given(frames, st.binary(max_size=8))
def test_what_follows_a_message_is_ignored(frame: bytes, tail: bytes) -> None:
    assert wire.parse(frame + tail, LIMITS) == wire.parse(frame, LIMITS)


@given(frames)
def test_a_frame_cut_off_is_a_protocol_error(frame: bytes) -> None:
    # A RAW string may be cut to a whole shorter one only if its length says so: never.
    for size in range(len(frame)):
        with contextlib.suppress(ProtocolError):
            raise AssertionError(f"{wire.parse(frame[:size], LIMITS)} was read from a part")


@given(st.lists(entries, max_size=6))
def test_awareness_survives_the_way(those: list[wire.AwarenessEntry]) -> None:
    assert wire.parse(wire.encode_awareness(those), LIMITS) == wire.AwarenessUpdate(tuple(those))


@given(st.binary(max_size=300), vectors)
def test_sync_messages_survive_the_way(payload: bytes, vector: dict[int, int]) -> None:
    assert wire.parse(wire.encode_sync_step2(payload), LIMITS) == wire.SyncStep2(payload)
    assert wire.parse(wire.encode_update(payload), LIMITS) == wire.SyncUpdate(payload)
    encoded = encode_state_vector(vector)
    assert wire.parse(wire.encode_sync_step1(encoded), LIMITS) == wire.SyncStep1(encoded)
    assert decode_state_vector(encoded) == vector


@given(numbers, st.binary(max_size=200), texts)
def test_primitives_survive_the_way(number: int, data: bytes, text: str) -> None:
    reader = Reader(encode_varuint(number) * 3 + encode_varbytes(data) + encode_varstring(text) * 2)
    assert (reader.varuint(), reader.id(), reader.id()) == (number, number, number)
    assert (reader.varbytes(), reader.varstring()) == (data, text)
    assert reader.utf16_length() == len(text.encode("utf-16-le")) // 2
    assert not reader.remaining
