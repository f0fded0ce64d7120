from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from notebook_sync.core import wire
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.ids import ClientId
from notebook_sync.core.lib0 import MAX_SAFE_INTEGER, encode_varbytes, encode_varstring, encode_varuint
from notebook_sync.core.limits import Limits
from notebook_sync.core.wire import AwarenessEntry, AwarenessUpdate, parse
from tests.support.yjs import Yjs

LIMITS = Limits()


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as oracle:
        oracle.make("doc", client=7)
        oracle.edit("doc", ["insert", "text", 0, "hello"])
        yield oracle


def entry_bytes(client: int, clock: int, state: str) -> bytes:
    return encode_varuint(client) + encode_varuint(clock) + encode_varstring(state)


def awareness_frame(*entries: bytes, count: int | None = None) -> bytes:
    payload = encode_varuint(len(entries) if count is None else count) + b"".join(entries)
    return b"\x01" + encode_varbytes(payload)


# --- frames that real clients send --------------------------------------------------------------


def test_sync_frames_of_y_protocols_are_read(yjs: Yjs) -> None:
    update = yjs.encode("doc")
    assert parse(yjs.frame("step1", "doc"), LIMITS) == wire.SyncStep1(yjs.state_vector("doc"))
    assert parse(yjs.frame("step2", "doc"), LIMITS) == wire.SyncStep2(update)
    frame = yjs.call("frame", kind="update", doc="doc", update="AAA=")["frame"]
    assert frame == "AAICAAA="
    assert parse(bytes.fromhex("0002020000"), LIMITS) == wire.SyncUpdate(b"\x00\x00")


def test_awareness_frames_of_y_protocols_are_read(yjs: Yjs) -> None:
    state = {"user": {"name": "Ada 😀"}, "cursor": None}
    frame = yjs.frame("awareness", "doc", states=[[1, 4, state], [MAX_SAFE_INTEGER, 9, None]])
    message = parse(frame, LIMITS)
    assert isinstance(message, AwarenessUpdate)
    here, gone = message.entries
    assert (here.client, here.clock, json.loads(here.state or "")) == (1, 4, state)
    assert gone == AwarenessEntry(ClientId(MAX_SAFE_INTEGER), 9, None)
    assert parse(yjs.frame("query", "doc"), LIMITS) == wire.AwarenessQuery()


def test_a_save_request_of_jupyters_provider_is_read() -> None:
    frame = b"\x02" + encode_varstring("save") + encode_varuint(300)
    assert parse(frame, LIMITS) == wire.SaveRequest(300)


@pytest.mark.parametrize(
    ("frame", "kind"), [(b"\x09anything", 9), (b"\x7d\x00", 125), (b"\x02\x02{}", 2), (b"\x02\x00", 2)]
)
def test_messages_of_other_kinds_are_unknown_and_no_error(frame: bytes, kind: int) -> None:
    assert parse(frame, LIMITS) == wire.UnknownMessage(kind)


# --- frames that we send ------------------------------------------------------------------------


def test_y_protocols_answers_our_step_1_with_what_it_lacks(yjs: Yjs) -> None:
    answer = yjs.receive("doc", wire.encode_sync_step1(b"\x00"))["answer"]
    assert answer == yjs.call("frame", kind="step2", doc="doc")["frame"]


@pytest.mark.parametrize("encode", [wire.encode_sync_step2, wire.encode_update])
def test_y_protocols_takes_our_updates(yjs: Yjs, encode: type) -> None:
    yjs.make("peer")
    assert yjs.receive("peer", encode(yjs.encode("doc")))["answer"] is None
    assert yjs.text("peer") == "hello"


def test_y_protocols_takes_our_awareness(yjs: Yjs) -> None:
    entries = (
        AwarenessEntry(ClientId(3), 5, '{"user":{"name":"中文"}}'),
        AwarenessEntry(ClientId(4), 2, None),
    )
    frame = wire.encode_awareness(entries)
    assert yjs.receive("doc", frame)["here"] == [[3, 5, {"user": {"name": "中文"}}]]
    assert parse(frame, LIMITS) == AwarenessUpdate(entries)


def test_raw_frames_are_strings_behind_type_2(yjs: Yjs) -> None:
    frame = wire.encode_save_reply(12, "skipped")
    text = yjs.receive("doc", frame)["json"]
    assert json.loads(text) == {"type": "save", "responseTo": 12, "status": "skipped"}
    assert parse(wire.encode_raw("{}"), LIMITS) == wire.UnknownMessage(2)
    with pytest.raises(ValueError, match="empty"):
        wire.encode_raw("")


# --- what is malformed --------------------------------------------------------------------------

BAD = {
    "empty": b"",
    "type cut off": b"\x80",
    "type above 53 bits": b"\xff" * 9,
    "sync without a step": b"\x00",
    "sync step 7": b"\x00\x07\x01\x00",
    "payload cut off": b"\x00\x02\x05abc",
    "payload without a length": b"\x00\x00",
    "payload length above 53 bits": b"\x00\x02" + b"\xff" * 9,
    "state vector cut off": b"\x00\x00\x01\x02",
    "state vector with bytes behind": b"\x00\x00\x02\x00\x00",
    "state vector of many": b"\x00\x00\x05\xff\xff\xff\xff\x0f",
    "state vector with a client twice": b"\x00\x00\x05\x02\x01\x01\x01\x02",
    "state vector out of range": b"\x00\x00\x07\x01\x01\x80\x80\x80\x80\x08",
    "awareness without a payload": b"\x01",
    "awareness of more than there are": awareness_frame(entry_bytes(1, 1, "{}"), count=2),
    "awareness claims millions": awareness_frame(count=10_000_000),
    "awareness is no JSON": awareness_frame(entry_bytes(1, 1, "{a}")),
    "awareness is a number": awareness_frame(entry_bytes(1, 1, "1")),
    "awareness is a list": awareness_frame(entry_bytes(1, 1, "[]")),
    "awareness is empty": awareness_frame(entry_bytes(1, 1, "")),
    "awareness with NaN": awareness_frame(entry_bytes(1, 1, '{"a":NaN}')),
    "awareness with half a pair": awareness_frame(entry_bytes(1, 1, '{"a":"\\ud800"}')),
    "awareness nested deep": awareness_frame(entry_bytes(1, 1, '{"a":' + "[" * 9999 + "]" * 9999 + "}")),
    "awareness is no UTF-8": awareness_frame(b"\x01\x01\x04{\xff\xff}"),
    "raw cut off": b"\x02\x05sa",
    "raw is no UTF-8": b"\x02\x01\xff",
    "save without an id": b"\x02\x04save",
}


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD.keys())
def test_malformed_frames_are_protocol_errors(frame: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(frame, LIMITS)
    # It goes to the client as the reason of a close frame, which has room for 123 bytes.
    assert 0 < len(str(caught.value).encode()) <= 123


def test_text_frames_are_protocol_errors() -> None:
    with pytest.raises(ProtocolError, match="binary"):
        parse("hello", LIMITS)


def test_bytes_after_a_message_are_ignored_as_clients_do(yjs: Yjs) -> None:
    for frame in (
        b"\x00\x02\x02\x00\x00",
        b"\x00\x00\x01\x00",
        awareness_frame(entry_bytes(1, 1, "{}")),
        b"\x02\x04save\x07",
        b"\x03",
    ):
        assert parse(frame + b"tail", LIMITS) == parse(frame, LIMITS)
    assert yjs.receive("doc", b"\x00\x02\x02\x00\x00" + b"tail")["answer"] is None


# --- bounds -------------------------------------------------------------------------------------


def test_the_largest_frame() -> None:
    limits = Limits(max_message_size=5)
    assert parse(b"\x00\x02\x02\x00\x00", limits) == wire.SyncUpdate(b"\x00\x00")
    with pytest.raises(ProtocolError, match="larger than 5 bytes"):
        parse(b"\x00\x02\x02\x00\x00\x00", limits)


def test_the_largest_awareness_state() -> None:
    limits = Limits(max_awareness_size=8)
    state = '{"a":12}'
    assert parse(awareness_frame(entry_bytes(1, 1, state)), limits) == AwarenessUpdate(
        (AwarenessEntry(ClientId(1), 1, state),)
    )
    with pytest.raises(ProtocolError, match="larger than 8 bytes"):
        parse(awareness_frame(entry_bytes(1, 1, '{"a":123}')), limits)


def test_the_most_clients_of_an_awareness_frame() -> None:
    limits = Limits(max_clients_per_awareness_frame=2)
    entries = [entry_bytes(client, 1, "null") for client in range(3)]
    assert parse(awareness_frame(*entries[:2]), limits) == AwarenessUpdate(
        (AwarenessEntry(ClientId(0), 1, None), AwarenessEntry(ClientId(1), 1, None))
    )
    with pytest.raises(ProtocolError, match="more than 2 clients"):
        parse(awareness_frame(*entries), limits)
