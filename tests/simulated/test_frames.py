"""The simulated clients' own reading of the protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from jupyter_collab_ext.simulated import frames
from jupyter_collab_ext.simulated.frames import FrameError, PeerState, Reader


@given(st.integers(0, 2**53))
def test_numbers_survive(value: int) -> None:
    assert Reader(frames.encode_uint(value)).uint() == value


def test_numbers_are_lib0s() -> None:
    assert frames.encode_uint(0) == b"\x00"
    assert frames.encode_uint(127) == b"\x7f"
    assert frames.encode_uint(128) == b"\x80\x01"
    assert frames.encode_uint(300) == b"\xac\x02"


@given(st.binary(max_size=300))
def test_sync_frames_survive(body: bytes) -> None:
    assert frames.decode(frames.sync_step1(body)) == frames.SyncStep1(body)
    assert frames.decode(frames.sync_step2(body)) == frames.SyncStep2(body)
    assert frames.decode(frames.sync_update(body)) == frames.SyncUpdate(body)


def test_awareness_survives() -> None:
    entries = (PeerState(2**52, 3, {"user": {"name": "Zoë"}}), PeerState(1, 9, None))
    assert frames.decode(frames.awareness_update(entries)) == frames.AwarenessUpdate(entries)


def test_a_save_request_is_a_raw_word_and_a_number() -> None:
    assert frames.save_request(5) == b"\x02\x04save\x05"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x00\x07\x00",
        b"\x00\x02\x05\x01",
        b"\x09\x00",
        b"\x02\x03[1]",
        b"\x02\x02\xff\xfe",
        b"\x80",
    ],
)
def test_what_a_stock_client_cannot_read_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode(frame)


@given(st.binary(max_size=200))
def test_rubbish_is_read_or_refused_and_nothing_else(frame: bytes) -> None:
    try:
        frames.decode(frame)
    except FrameError:
        return


def test_a_state_vector_of_a_real_document_is_read() -> None:
    doc: Doc[Text] = Doc(client_id=77)
    text = doc.get("t", type=Text)
    text += "abc"
    assert frames.decode_state_vector(doc.get_state()) == {77: 3}
