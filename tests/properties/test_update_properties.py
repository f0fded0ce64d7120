from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import pycrdt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.limits import Limits
from notebook_sync.core.state_vector import decode_state_vector
from notebook_sync.core.update import Clocks, UpdateSummary, decode
from tests.support.yjs import Edit, Yjs, to64

LIMITS = Limits()
MUTANTS = int(os.environ.get("UPDATE_MUTANTS", "3000"))
"""How many damaged updates are tried; the nightly run takes 40,000."""


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as oracle:
        yield oracle


# --- random documents -----------------------------------------------------------------------------

position = st.integers(0, 50)
length = st.integers(1, 6)
texts = st.text(st.characters(exclude_categories=["Cs"], include_characters="a😀中é"), min_size=1, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["a", "b", "ключ"])
kinds = st.sampled_from(["array", "map", "text", "xmlText", "xmlFragment", "xmlElement", "doc"])
edits = st.one_of(
    st.builds(lambda n, text: ["insert", "text", n, text], position, texts),
    st.builds(lambda n, size: ["delete", "text", n, size], position, length),
    st.builds(lambda n, size, value: ["format", "text", n, size, {"bold": value}], position, length, scalars),
    st.builds(lambda n, value: ["embed", "text", n, {"v": value}], position, values),
    st.builds(
        lambda n, these: ["push", "array", n, these], position, st.lists(values, min_size=1, max_size=3)
    ),
    st.builds(lambda n, size: ["pull", "array", n, size], position, length),
    st.builds(lambda n, kind: ["nest", "array", n, kind, "name"], position, kinds),
    st.builds(lambda n, text: ["inner", "array", n, text], position, texts),
    st.builds(lambda key, value: ["set", "map", key, value], keys, values),
    st.builds(lambda key, kind: ["setType", "map", key, kind, "name"], keys, kinds),
    st.builds(lambda key: ["unset", "map", key], keys),
    st.builds(
        lambda n, kind: ["xml", "xml", n, kind, "p"], position, st.sampled_from(["xmlElement", "xmlText"])
    ),
    st.builds(lambda n, text: ["attribute", "xml", n, "class", text], position, texts),
)
rounds = st.lists(
    st.tuples(st.integers(0, 2), st.lists(edits, min_size=1, max_size=5), st.booleans()),
    min_size=1,
    max_size=6,
)
"""Each: which of three people edits, what, and whether all three meet afterwards."""

with_oracle = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(yjs: Yjs, script: list[tuple[int, list[Edit], bool]]) -> list[bytes]:
    """Three people write a document together; all of their updates, in order of writing."""
    people = ["p0", "p1", "p2"]
    for index, person in enumerate(people):
        yjs.make(person, client=100 + index)
    updates: list[bytes] = []
    unseen: list[bytes] = []
    for who, these, meet in script:
        new = yjs.edit(people[who], *these)
        updates += new
        unseen += new
        if meet:
            yjs.calls(
                [{"op": "apply", "doc": person, "update": to64(one)} for one in unseen for person in people]
            )
            unseen.clear()
    return updates


def joined(ranges: list[list[int]]) -> dict[int, tuple[tuple[int, int], ...]]:
    spans: dict[int, list[tuple[int, int]]] = {}
    for client, clock, size in sorted(ranges):
        own = spans.setdefault(client, [])
        if own and own[-1][1] == clock:
            own[-1] = (own[-1][0], clock + size)
        elif size:
            own.append((clock, clock + size))
    return {client: tuple(own) for client, own in spans.items() if own}


def agree(ours: UpdateSummary, theirs: dict[str, Any]) -> bool:
    structs = [struct[:3] for struct in theirs["structs"] if struct[3] != "Skip"]
    return (dict(ours.structs), dict(ours.deletes)) == (joined(structs), joined(theirs["deletes"]))


@with_oracle
@given(rounds)
def test_decoding_agrees_with_yjs(yjs: Yjs, script: list[tuple[int, list[Edit], bool]]) -> None:
    updates = write(yjs, script)
    updates += [yjs.encode(person) for person in ("p0", "p1", "p2")]
    if len(updates) > 4:
        updates += [yjs.merge(*updates[::2]), pycrdt.merge_updates(*updates[::3])]
        updates += [yjs.diff(updates[-2], yjs.state_vector("p1"))]
    decoded = yjs.calls([{"op": "decode", "update": to64(one)} for one in updates])
    for encoded, theirs in zip(updates, decoded, strict=True):
        assert agree(decode(encoded, LIMITS), theirs)


@with_oracle
@given(rounds)
def test_state_vectors_of_updates_agree_with_yjs(
    yjs: Yjs, script: list[tuple[int, list[Edit], bool]]
) -> None:
    write(yjs, script)
    for person in ("p0", "p1", "p2"):
        encoded = yjs.encode(person)
        clocks = Clocks()
        clocks.add(decode(encoded, LIMITS))
        theirs = yjs.call("stateVectorOf", update=to64(encoded))["clocks"]
        assert decode_state_vector(clocks.state_vector()) == {client: clock for client, clock in theirs}


@with_oracle
@given(rounds, st.randoms(use_true_random=False))
def test_clocks_see_the_gaps_that_yjs_sees(
    yjs: Yjs, script: list[tuple[int, list[Edit], bool]], rng: random.Random
) -> None:
    updates = write(yjs, script)
    rng.shuffle(updates)
    late = [updates.pop() for _ in range(rng.randint(0, min(3, len(updates))))]
    clocks = Clocks()
    yjs.make("reader")
    for encoded in updates + late:
        summary = decode(encoded, LIMITS)
        would_add = clocks.would_add(summary)
        added = clocks.add(summary)
        pending = yjs.apply("reader", encoded)
        assert clocks.has_gap == (pending.structs is not None)
        assert clocks.has_pending_deletes == pending.deletes or pending.structs is not None
        assert added.new or not would_add
        assert not added.gap or clocks.has_gap
        ours, theirs = (
            decode_state_vector(clocks.state_vector()),
            decode_state_vector(yjs.state_vector("reader")),
        )
        assert all(ours.get(client, 0) >= clock for client, clock in theirs.items())
        assert clocks.has_gap or ours == theirs
        assert not clocks.would_add(summary)
    assert not clocks.has_gap
    assert not clocks.has_pending_deletes
    assert clocks.missing() == ()


@with_oracle
@given(rounds, st.randoms(use_true_random=False))
def test_the_order_of_updates_does_not_matter_to_clocks(
    yjs: Yjs, script: list[tuple[int, list[Edit], bool]], rng: random.Random
) -> None:
    summaries = [decode(encoded, LIMITS) for encoded in write(yjs, script)]
    # Some are lost, the rest comes twice, in two orders.
    kept = rng.sample(summaries, rng.randint(0, len(summaries)))
    one, other = Clocks(), Clocks()
    for summary in kept * 2:
        one.add(summary)
    for summary in rng.sample(kept, len(kept)):
        other.add(summary)
    assert one.state_vector() == other.state_vector()
    assert one.missing() == other.missing()
    assert (one.has_gap, one.has_pending_deletes) == (other.has_gap, other.has_pending_deletes)


# --- damaged updates --------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_random_bytes_are_an_update_or_a_protocol_error(data: bytes) -> None:
    for encoded in (data, b"\x01\x01\x05\x00" + data, b"\x01\x02\x05\x00\x04\x01\x01t\x01a" + data):
        with contextlib.suppress(ProtocolError):
            decode(encoded, LIMITS)


def valid_updates(yjs: Yjs) -> list[bytes]:
    """Updates with every kind of content, by Yjs and by pycrdt."""
    yjs.make("a", client=11)
    yjs.make("b", client=2**32 - 5)
    everything: list[Edit] = [
        ["insert", "text", 0, "hello 😀 中文"],
        ["format", "text", 1, 3, {"bold": True}],
        ["embed", "text", 2, {"image": [1, {"x": None}]}],
        ["push", "array", 0, [1, -70, 2.5, "é", None, {"k": [True, {"b": {"$": "bytes", "v": "AAEC"}}]}]],
        ["push", "array", 1, [{"$": "bytes", "v": "AAECAwQF"}]],
        *[["nest", "array", 0, kind, "name"] for kind in ("array", "map", "text", "xmlElement", "doc")],
        ["inner", "array", 2, "abc"],
        ["set", "map", "key", {"deep": [[["x"]]]}],
        ["xml", "xml", 0, "xmlElement", "p"],
        ["attribute", "xml", 0, "class", "x"],
        ["delete", "text", 1, 4],
        ["pull", "array", 0, 3],
        ["unset", "map", "key"],
    ]
    updates = yjs.edit("a", *everything)
    yjs.apply("b", yjs.encode("a"))
    updates += yjs.edit(
        "b", ["insert", "text", 3, "middle"], ["delete", "text", 0, 2], ["insert", "text", 9, "end"]
    )
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=2**53 - 9)
    doc.get("cells", type=pycrdt.Array).append(
        pycrdt.Map(
            {"id": "x", "source": pycrdt.Text("print(1)\n"), "metadata": pycrdt.Map({"a": [1.5, "z"]})}
        )
    )
    return [*updates, yjs.encode("a"), yjs.encode("b"), yjs.merge(*updates[::2]), doc.get_update()]


def damage(update: bytes, rng: random.Random) -> bytes:
    """One to three random changes."""
    data = bytearray(update)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
            case 3:
                del data[at : at + rng.randint(1, 4)]
            case 4:
                other = rng.randrange(len(data) + 1)
                data[at:at] = data[other : other + rng.randint(1, 12)]
            case _:
                del data[at:]
    return bytes(data)


def integrates(base: bytes, update: bytes) -> bool:
    """Whether pycrdt takes the update on top of a document without an error."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(base)
    try:
        doc.apply_update(update)
    except (ValueError, RuntimeError):
        return False
    except BaseException as error:
        # A Rust panic is no Exception; anything else of that kind is meant for pytest.
        if type(error).__name__ != "PanicException":
            raise
        return False
    return True


def test_mutants_of_valid_updates_raise_nothing_but_protocol_errors(yjs: Yjs) -> None:
    rng = random.Random(20261124)
    originals = valid_updates(yjs)
    accepted: list[tuple[bytes, UpdateSummary]] = []
    for number in range(MUTANTS):
        mutant = damage(originals[number % len(originals)], rng)
        with contextlib.suppress(ProtocolError):
            accepted.append((mutant, decode(mutant, LIMITS)))
    assert 0.01 * MUTANTS < len(accepted) < 0.9 * MUTANTS
    decoded = yjs.calls([{"op": "decode", "update": to64(mutant)} for mutant, _ in accepted])
    for (mutant, summary), theirs in zip(accepted, decoded, strict=True):
        assert "error" not in theirs, (mutant.hex(), theirs)
        assert agree(summary, theirs), mutant.hex()
    # Few of them can't be integrated (rule 13), and none may take the process along.
    failed = sum(not integrates(originals[-4], mutant) for mutant, _ in accepted)
    print(f"{MUTANTS} mutants, {len(accepted)} accepted, of which {failed} could not be integrated")
    assert failed < 0.05 * len(accepted)
