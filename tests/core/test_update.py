from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pycrdt
import pytest

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.lib0 import MAX_SAFE_INTEGER, encode_varbytes, encode_varstring, encode_varuint
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import MAX_CLOCK, decode_state_vector, encode_state_vector
from notebook_sync.core.update import AddResult, Clocks, UpdateSummary, decode
from tests.support.yjs import Edit, Pending, Yjs, to64

LIMITS = Limits()
EMPTY = b"\x00\x00"
A, B, C = 1, 2, 2**53 - 1


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as oracle:
        yield oracle


def u(*numbers: int) -> bytes:
    return b"".join(map(encode_varuint, numbers))


def update(
    *sections: tuple[int, int, list[bytes]], deletes: tuple[tuple[int, list[tuple[int, int]]], ...] = ()
) -> bytes:
    """A v1 update by hand: (client, first clock, structs) each, then (client, [(clock, length)]) each."""
    structs = [u(len(own), client, clock) + b"".join(own) for client, clock, own in sections]
    ranges = [u(client, len(own)) + b"".join(u(*pair) for pair in own) for client, own in deletes]
    return u(len(structs)) + b"".join(structs) + u(len(ranges)) + b"".join(ranges)


def item(kind: int, content: bytes, left: tuple[int, int] | None = None, root: str = "text") -> bytes:
    """A struct of ``kind``, after ``left`` or the first of ``root``."""
    if left is None:
        return bytes((kind,)) + u(1) + encode_varstring(root) + content
    return bytes((kind | 0x80,)) + u(*left) + content


def string(text: str, left: tuple[int, int] | None = None) -> bytes:
    return item(4, encode_varstring(text), left)


def gc(length: int) -> bytes:
    return b"\x00" + u(length)


def skip(length: int) -> bytes:
    return b"\x0a" + u(length)


def summary(
    structs: dict[int, tuple[tuple[int, int], ...]] | None = None,
    deletes: dict[int, tuple[tuple[int, int], ...]] | None = None,
    dependencies: dict[int, int] | None = None,
) -> UpdateSummary:
    return UpdateSummary(structs or {}, deletes or {}, dependencies or {})


# --- what Yjs writes ----------------------------------------------------------------------------

CONTENTS: dict[str, tuple[list[Edit], str]] = {
    "string": ([["insert", "text", 0, "hello"]], "ContentString"),
    "emoji": ([["insert", "text", 0, "a😀b👩‍🔬"]], "ContentString"),
    "cjk": ([["insert", "text", 0, "中文字幕"]], "ContentString"),
    "format": (
        [["insert", "text", 0, "hello"], ["format", "text", 1, 3, {"bold": True, "color": "é"}]],
        "ContentFormat",
    ),
    "embed": ([["embed", "text", 0, {"image": "x.png", "size": [1, 2.5, None]}]], "ContentEmbed"),
    "embedded type": ([["embedType", "text", 0]], "ContentType"),
    "any": (
        [
            [
                "push",
                "array",
                0,
                [1, -1, 2**31, 2**53, 1.5, 0.1, None, True, False, "é", [], {}, [[{"a": []}]]],
            ],
            ["push", "array", 0, [{"u": {"$": "undefined"}, "b": {"$": "bigint", "v": "-9007199254740993"}}]],
            ["push", "array", 0, [{"nan": {"$": "float", "v": "NaN"}, "bytes": {"$": "bytes", "v": "AAEC"}}]],
        ],
        "ContentAny",
    ),
    "binary": ([["push", "array", 0, [{"$": "bytes", "v": "AAECAw=="}]]], "ContentBinary"),
    "subdocument": ([["nest", "array", 0, "doc"]], "ContentDoc"),
    "deleted": ([["insert", "text", 0, "hello"], ["delete", "text", 1, 3]], "ContentDeleted"),
    "gc": ([["nest", "array", 0, "text"], ["inner", "array", 0, "abc"], ["pull", "array", 0, 1]], "GC"),
    "map keys": ([["set", "map", "ключ", {"a": 1}], ["set", "map", "ключ", 2]], "ContentAny"),
    **{kind: ([["nest", "array", 0, kind]], "ContentType") for kind in ("array", "map", "text", "xmlText")},
    "xml fragment": ([["nest", "array", 0, "xmlFragment"]], "ContentType"),
    "xml element": ([["xml", "xml", 0, "xmlElement", "p"], ["attribute", "xml", 0, "k", "v"]], "ContentType"),
}


def described(decoded: UpdateSummary) -> dict[str, list[list[int]]]:
    return {
        name: sorted([client, *span] for client, own in spans.items() for span in own)
        for name, spans in (("structs", decoded.structs), ("deletes", decoded.deletes))
    }


def described_by_yjs(decoded: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Yjs's structs and deletions, touching ones joined, as ``described`` gives ours."""
    structs = [s[:3] for s in decoded["structs"] if s[3] != "Skip"]
    return {"structs": _joined(structs), "deletes": _joined(decoded["deletes"])}


def _joined(ranges: list[list[int]]) -> list[list[int]]:
    joined: list[list[int]] = []
    for client, clock, length in sorted(ranges):
        if joined and joined[-1][0] == client and joined[-1][2] == clock:
            joined[-1][2] += length
        elif length:
            joined.append([client, clock, clock + length])
    return joined


@pytest.mark.parametrize(("edits", "kind"), CONTENTS.values(), ids=CONTENTS.keys())
def test_every_content_of_yjs_is_walked(yjs: Yjs, edits: list[Edit], kind: str) -> None:
    yjs.make("doc")
    updates = [*yjs.edit("doc", *edits), yjs.encode("doc")]
    kinds: set[str] = set()
    for encoded in updates:
        theirs = yjs.decode(encoded)
        kinds |= {struct[3] for struct in theirs["structs"]}
        assert described(decode(encoded, LIMITS)) == described_by_yjs(theirs)
    assert kind in kinds


def test_skips_are_gaps(yjs: Yjs) -> None:
    yjs.make("doc", client=A)
    first, second, third = yjs.edit("doc", *[["insert", "text", i, "ab"] for i in (0, 2, 4)])
    merged = yjs.merge(first, third)
    assert "Skip" in {struct[3] for struct in yjs.decode(merged)["structs"]}
    assert decode(merged, LIMITS) == summary({A: ((0, 2), (4, 6))})
    assert decode(yjs.merge(first, second, third), LIMITS) == summary({A: ((0, 6),)})
    assert decode(pycrdt.merge_updates(first, third), LIMITS) == summary({A: ((0, 2), (4, 6))})


def test_references_out_of_the_update_are_dependencies(yjs: Yjs) -> None:
    yjs.make("one", client=A)
    yjs.make("two", client=B)
    (first,) = yjs.edit("one", ["insert", "text", 0, "abcd"])
    assert decode(first, LIMITS) == summary({A: ((0, 4),)})
    yjs.apply("two", first)
    (second,) = yjs.edit("two", ["insert", "text", 2, "x"])
    assert decode(second, LIMITS) == summary({B: ((0, 1),)}, dependencies={A: 3})
    assert decode(yjs.merge(first, second), LIMITS) == summary({A: ((0, 4),), B: ((0, 1),)})


def test_a_parent_in_another_update_is_a_dependency(yjs: Yjs) -> None:
    yjs.make("one", client=A)
    yjs.make("two", client=B)
    (nested,) = yjs.edit("one", ["nest", "array", 0, "map"])
    yjs.apply("two", nested)
    (inside,) = yjs.edit("two", ["inner", "array", 0, "key"])
    assert decode(inside, LIMITS) == summary({B: ((0, 1),)}, dependencies={A: 1})


def test_updates_of_pycrdt_are_walked() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=C)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text, array, map_ = (
        doc.get("t", type=pycrdt.Text),
        doc.get("a", type=pycrdt.Array),
        doc.get("m", type=pycrdt.Map),
    )
    text.insert(0, "a😀")
    text.format(0, 1, {"bold": True})
    array.extend([1, 2.5, None, True, "é", {"k": [1, {"x": b"\x00"}]}, 2**40])
    map_["nested"] = pycrdt.Map({"text": pycrdt.Text("中文"), "list": pycrdt.Array([pycrdt.Map({"a": 1})])})
    map_["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {"class": "x"}, [pycrdt.XmlText("hi")])])
    map_["doc"] = pycrdt.Doc()
    map_["bytes"] = b"\x00\xff"
    del text[0:1]
    del map_["nested"]
    doc.unobserve(subscription)
    end = decode_state_vector(doc.get_state())[C]
    clocks = Clocks()
    for encoded in updates:
        assert not clocks.add(decode(encoded, LIMITS)).gap
    assert clocks.state_vector() == doc.get_state()
    assert decode(doc.get_update(), LIMITS).structs == {C: ((0, end),)}


def test_the_empty_update() -> None:
    assert decode(EMPTY, LIMITS) == summary()
    assert decode(EMPTY, LIMITS).is_empty
    assert not decode(update((A, 0, [gc(1)])), LIMITS).is_empty
    assert not decode(update(deletes=((A, [(0, 1)]),)), LIMITS).is_empty


def test_structs_by_hand_agree_with_yjs(yjs: Yjs) -> None:
    encoded = update(
        (A, 0, [string("ab"), skip(3), gc(2), string("", (B, 7)), string("x", (B, 8))]),
        (B, 4, [item(8, u(2) + b"\x7e\x7f")]),
        deletes=((C, [(3, 2), (5, 1), (20, 4)]), (A, [(0, 1)])),
    )
    ours = decode(encoded, LIMITS)
    assert ours == summary({A: ((0, 2), (5, 8)), B: ((4, 6),)}, {C: ((3, 6), (20, 24)), A: ((0, 1),)}, {B: 9})
    assert described(ours) == described_by_yjs(yjs.decode(encoded))


def test_empty_structs_count_for_nothing(yjs: Yjs) -> None:
    encoded = update((A, 0, [string(""), gc(0), skip(0), item(8, u(0)), string("ab")]))
    assert decode(encoded, LIMITS) == summary({A: ((0, 2),)})
    assert decode(update((A, 3, [string("")])), LIMITS).is_empty
    yjs.make("doc")
    assert yjs.apply("doc", encoded) == Pending(None, False)
    assert yjs.text("doc") == "ab"


# --- what is malformed --------------------------------------------------------------------------

NOTHING_DELETED = u(0)
BAD = {
    "nothing": b"",
    "no delete set": u(0),
    "no structs": u(1, 1),
    "bytes behind": EMPTY + b"\x00",
    "cut off in a string": update((A, 0, [string("abc")]))[:-3],
    "more clients than bytes": u(1000) + NOTHING_DELETED,
    "more structs than bytes": u(1, 1000, A, 0) + b"\x00\x01" + NOTHING_DELETED,
    "a struct fewer than claimed": u(1, 2, A, 0) + gc(1) + NOTHING_DELETED,
    "a client twice": update((A, 0, [gc(1)]), (A, 1, [gc(1)])),
    "a client id above 53 bits": u(1, 1) + b"\xff" * 8 + b"\x00\x00\x01\x00",
    "a clock above 53 bits": u(1, 1, A) + b"\xff" * 8 + b"\x00\x01\x00",
    "a clock out of range": update((A, MAX_CLOCK, [gc(1)])),
    "a length out of range": update((A, 0, [gc(MAX_CLOCK + 1)])),
    "a skip out of range": update((A, 0, [skip(MAX_SAFE_INTEGER), gc(1)])),
    "an origin out of range": update((A, 0, [string("a", (B, MAX_CLOCK))])),
    "a right origin cut off": update((A, 0, [b"\x44" + u(B)]))[:-1],
    "an origin of the future": update((A, 4, [string("a", (A, 4))])),
    "a parent of the future": update((A, 4, [b"\x04" + u(0, A, 5) + encode_varstring("a")])),
    "a parent that is neither name nor id": update((A, 0, [b"\x04" + u(2, B, 5) + encode_varstring("a")])),
    "kind 11": update((A, 0, [item(11, u(1))])),
    "kind 31": update((A, 0, [item(31, u(1))])),
    "kind 20, which yrs takes for 4": update((A, 0, [item(20, encode_varstring("a"))])),
    "gc with an origin": update((A, 0, [b"\x80" + u(1)])),
    "skip with a key": update((A, 0, [b"\x2a" + u(1)])),
    "deleted without a length": update((A, 0, [item(1, u(0))])),
    "string that is no UTF-8": update((A, 0, [item(4, encode_varbytes(b"\xff"))])),
    "root name that is no UTF-8": update(
        (A, 0, [b"\x04" + u(1) + encode_varbytes(b"\xc3") + encode_varstring("a")])
    ),
    "json contents": update((A, 0, [item(2, u(1) + encode_varstring("1"))])),
    "binary cut off": u(1, 1, A, 0) + item(3, u(100)),
    "embed that is no JSON": update((A, 0, [item(5, encode_varstring("{"))])),
    "embed that is NaN": update((A, 0, [item(5, encode_varstring("NaN"))])),
    "format that is no JSON": update((A, 0, [item(6, encode_varstring("bold") + encode_varstring("tru"))])),
    "xml hook": update((A, 0, [item(7, u(5) + encode_varstring("hook"))])),
    "weak link, which browsers can't read": update((A, 0, [item(7, u(7, 0, B, 0))])),
    "type 9, which browsers can't read": update((A, 0, [item(7, u(9))])),
    "type 15, which browsers can't read": update((A, 0, [item(7, u(15))])),
    "type overlong, which yrs reads otherwise": update((A, 0, [item(7, b"\x80\x00")])),
    "any of an unknown tag": update((A, 0, [item(8, u(1) + b"\x00")])),
    "more values than bytes": update((A, 0, [item(8, u(1000) + b"\x7e")])),
    "subdocument without options": update((A, 0, [item(9, encode_varstring("guid") + b"\x7e")])),
    "delete set cut off": u(0, 1, A, 1, 0),
    "delete set of too many": u(0, 1, A, 1000, 0, 1),
    "a client deleted twice": update(deletes=((A, [(0, 1)]), (A, [(1, 1)]))),
    "deletes overlap": update(deletes=((A, [(0, 2), (1, 2)]),)),
    "deletes descend": update(deletes=((A, [(4, 2), (1, 2)]),)),
    "an empty deletion, on which Yjs throws": update(deletes=((A, [(1, 0)]),)),
    "a deletion out of range": update(deletes=((A, [(1, MAX_CLOCK)]),)),
}


@pytest.mark.parametrize("encoded", BAD.values(), ids=BAD.keys())
def test_malformed_updates_are_protocol_errors(encoded: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(encoded, LIMITS)
    assert 0 < len(str(caught.value).encode()) <= 123


def test_every_truncation_is_a_protocol_error(yjs: Yjs) -> None:
    yjs.make("doc")
    yjs.edit("doc", *[edit for edits, _ in CONTENTS.values() for edit in edits])
    whole = yjs.encode("doc")
    decode(whole, LIMITS)
    for size in range(len(whole)):
        with pytest.raises(ProtocolError):
            decode(whole[:size], LIMITS)


def test_the_largest_clock() -> None:
    last = update((A, MAX_CLOCK - 1, [gc(1)]), deletes=((A, [(MAX_CLOCK - 1, 1)]),))
    assert decode(last, LIMITS).structs == {A: ((MAX_CLOCK - 1, MAX_CLOCK),)}
    assert decode(update((A, 0, [string("a", (B, MAX_CLOCK - 1))])), LIMITS).dependencies == {B: MAX_CLOCK}


def test_the_most_structs() -> None:
    limits = Limits(max_structs_per_update=3)
    three = [gc(1)] * 3
    assert decode(update((A, 0, three)), limits).structs == {A: ((0, 3),)}
    with pytest.raises(ProtocolError, match="too many structs"):
        decode(update((A, 0, three[:2]), (B, 0, three[:2])), limits)
    ranges = [(0, 1), (2, 1), (4, 1)]
    assert decode(update(deletes=((A, ranges),)), limits).deletes == {A: ((0, 1), (2, 3), (4, 5))}
    with pytest.raises(ProtocolError, match="too many deletions"):
        decode(update(deletes=((A, ranges), (B, ranges[:1]))), limits)


def test_the_most_values_and_the_deepest() -> None:
    limits = Limits(max_values_per_update=4, max_value_depth=2)
    pair = item(8, u(2) + b"\x7e\x75\x00")
    assert decode(update((A, 0, [pair, pair])), limits).structs == {A: ((0, 4),)}
    with pytest.raises(ProtocolError, match="too many"):
        decode(update((A, 0, [pair, pair, item(8, u(1) + b"\x7e")])), limits)
    for deep in (b"\x75\x01\x75\x01", b"\x76\x01\x00\x76\x01\x00"):
        assert decode(update((A, 0, [item(8, u(1) + deep + b"\x7e")])), limits).structs == {A: ((0, 1),)}
        with pytest.raises(ProtocolError, match="too deep"):
            decode(update((A, 0, [item(8, u(1) + b"\x75\x01" + deep + b"\x7e")])), limits)
    assert decode(update((A, 0, [item(5, encode_varstring("[[1]]"))])), limits).structs == {A: ((0, 1),)}
    with pytest.raises(ProtocolError, match="too deep"):
        decode(update((A, 0, [item(5, encode_varstring("[[[]]]"))])), limits)


# --- clocks -------------------------------------------------------------------------------------


def test_updates_in_order_leave_no_gap() -> None:
    clocks = Clocks()
    assert clocks.add(summary({A: ((0, 3),)})) == AddResult(new=True, gap=False)
    assert clocks.add(summary({A: ((3, 5),), B: ((0, 1),)})) == AddResult(new=True, gap=False)
    assert clocks.add(summary({A: ((2, 4),)})) == AddResult(new=False, gap=False)
    assert not clocks.has_gap
    assert clocks.missing() == ()
    assert clocks.state_vector() == encode_state_vector({A: 5, B: 1})


def test_a_gap_is_known_until_it_is_filled() -> None:
    clocks = Clocks(encode_state_vector({A: 2}))
    assert clocks.add(summary({A: ((4, 6),)})) == AddResult(new=True, gap=True)
    assert clocks.add(summary({A: ((9, 10),)})) == AddResult(new=True, gap=True)
    assert clocks.add(summary({A: ((4, 6),)})) == AddResult(new=False, gap=True)
    assert clocks.add(summary({A: ((0, 2),)})) == AddResult(new=False, gap=False)
    assert clocks.has_gap
    assert clocks.missing() == ((A, 2, 4), (A, 6, 9))
    assert clocks.state_vector() == encode_state_vector({A: 2})
    assert clocks.add(summary({A: ((2, 9),)})) == AddResult(new=True, gap=False)
    assert not clocks.has_gap
    assert clocks.state_vector() == encode_state_vector({A: 10})


def test_a_missing_dependency_is_a_gap() -> None:
    clocks = Clocks(encode_state_vector({A: 2}))
    assert clocks.add(summary({B: ((0, 1),)}, dependencies={A: 2})) == AddResult(new=True, gap=False)
    assert clocks.add(summary({B: ((1, 2),)}, dependencies={A: 4, C: 1})) == AddResult(new=True, gap=True)
    assert clocks.has_gap
    assert clocks.missing() == ((A, 2, 4), (C, 0, 1))
    clocks.add(summary({A: ((2, 4),)}))
    assert clocks.missing() == ((C, 0, 1),)
    clocks.add(summary({C: ((0, 7),)}))
    assert not clocks.has_gap


def test_deletions_of_what_is_not_there_are_pending() -> None:
    clocks = Clocks(encode_state_vector({A: 2}))
    assert clocks.add(summary(deletes={A: ((0, 2),)})) == AddResult(new=False, gap=False)
    assert not clocks.has_pending_deletes
    assert clocks.add(summary(deletes={A: ((1, 3), (5, 6))})) == AddResult(new=True, gap=False)
    assert clocks.add(summary(deletes={A: ((5, 6),)})) == AddResult(new=False, gap=False)
    assert clocks.has_pending_deletes
    assert not clocks.has_gap
    assert clocks.missing() == ((A, 2, 6),)
    clocks.add(summary({A: ((2, 5),)}))
    assert clocks.missing() == ((A, 5, 6),)
    clocks.add(summary({A: ((5, 6),)}))
    assert not clocks.has_pending_deletes


def test_would_add_says_which_clocks_are_new_and_counts_nothing() -> None:
    clocks = Clocks(encode_state_vector({A: 5}))
    clocks.add(summary({A: ((7, 8),)}))
    before = clocks.state_vector()
    assert clocks.would_add(summary({A: ((0, 5),)})) == {}
    assert clocks.would_add(summary({A: ((7, 8),)})) == {}
    assert clocks.would_add(summary({A: ((3, 9),), B: ((2, 4),)})) == {A: (5, 9), B: (2, 4)}
    assert clocks.would_add(summary({A: ((4, 8),)})) == {A: (5, 7)}
    assert clocks.would_add(summary({A: ((0, 1), (7, 8), (10, 12), (20, 21))})) == {A: (10, 21)}
    assert clocks.would_add(summary(deletes={A: ((0, 99),)})) == {}
    assert clocks.state_vector() == before


def test_clocks_advance_to_a_state_vector() -> None:
    clocks = Clocks()
    clocks.add(summary({A: ((4, 6),)}, {B: ((0, 2),)}, {C: 3}))
    clocks.advance(encode_state_vector({A: 2, B: 1, C: 3}))
    assert clocks.missing() == ((A, 2, 4), (B, 1, 2))
    clocks.advance(encode_state_vector({A: 4, B: 9}))
    assert clocks.missing() == ()
    clocks.advance(b"\x00")
    assert clocks.state_vector() == encode_state_vector({A: 6, B: 9, C: 3})
    with pytest.raises(ProtocolError):
        clocks.advance(b"\x05")


def test_a_swarm_of_parked_ranges_is_forgotten_but_not_its_gap() -> None:
    clocks = Clocks(limits=Limits(max_parked_ranges=3))
    clocks.add(summary({A: ((2, 3), (4, 5), (6, 7))}))
    assert clocks.would_add(summary({A: ((4, 5),)})) == {}
    clocks.add(summary({A: ((8, 9),)}))
    assert clocks.would_add(summary({A: ((4, 5),)})) == {A: (4, 5)}
    clocks.add(summary({A: ((0, 3),)}))
    assert clocks.has_gap
    assert clocks.missing() == ((A, 3, 9),)
    clocks.add(summary({A: ((3, 9),)}))
    assert not clocks.has_gap


def test_state_vectors_agree_with_yjs(yjs: Yjs) -> None:
    clocks = {A: 3, B: 1, C: MAX_CLOCK}
    encoded = encode_state_vector({**clocks, 77: 0})
    assert decode_state_vector(encoded) == clocks
    theirs = yjs.call("decodeStateVector", stateVector=to64(encoded))
    assert {client: clock for client, clock in theirs["clocks"]} == clocks
    yjs.make("doc", client=B)
    yjs.edit("doc", ["insert", "text", 0, "abc"])
    assert yjs.state_vector("doc") == encode_state_vector({B: 3})


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x01\x01", b"\x00\x00", u(2, A, 1, A, 2), u(1, A, MAX_CLOCK + 1)]
)
def test_malformed_state_vectors_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_state_vector(data)


# --- the gap that pycrdt does not see (rule 1) ----------------------------------------------------


def test_a_gap_that_pycrdt_integrates_is_parked_by_yjs_and_reported_by_us(yjs: Yjs) -> None:
    yjs.make("tutor", client=A)
    refused, typed, more = yjs.edit(
        "tutor",
        ["set", "state", "document_id", "x"],
        ["insert", "text", 0, "typed"],
        ["insert", "text", 5, "!"],
    )
    server: pycrdt.Doc[Any] = pycrdt.Doc()
    text = server.get("text", type=pycrdt.Text)
    yjs.make("peer")
    clocks = Clocks()
    for encoded in (typed, more):
        server.apply_update(encoded)
        assert yjs.apply("peer", encoded) == Pending({A: 0}, False)
        assert clocks.add(decode(encoded, LIMITS)) == AddResult(new=True, gap=True)
    # This is the disagreement: the server would save and acknowledge text that no browser shows.
    assert str(text) == "typed!"
    assert yjs.text("peer") == ""
    assert clocks.missing() == ((A, 0, 1),)

    server.apply_update(refused)
    assert yjs.apply("peer", refused) == Pending(None, False)
    assert clocks.add(decode(refused, LIMITS)) == AddResult(new=True, gap=False)
    assert not clocks.has_gap
    assert str(text) == yjs.text("peer") == "typed!"
    assert clocks.state_vector() == yjs.state_vector("peer")


def test_a_deletion_that_waits_is_reported_where_compaction_would_lose_it(yjs: Yjs) -> None:
    yjs.make("author", client=A)
    written, deleted = yjs.edit("author", ["insert", "text", 0, "abc"], ["delete", "text", 0, 2])
    clocks = Clocks()
    assert clocks.add(decode(deleted, LIMITS)) == AddResult(new=True, gap=False)
    yjs.make("peer")
    assert yjs.apply("peer", deleted) == Pending(None, True)
    assert clocks.has_pending_deletes
    server: pycrdt.Doc[Any] = pycrdt.Doc()
    server.apply_update(deleted)
    assert server.get_update() == EMPTY
    clocks.add(decode(written, LIMITS))
    assert yjs.apply("peer", written) == Pending(None, False)
    assert not clocks.has_pending_deletes
