from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest

from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.lib0 import (
    MAX_SAFE_INTEGER,
    Reader,
    encode_varbytes,
    encode_varstring,
    encode_varuint,
    parse_json,
)

DEPTH, VALUES = 8, 100


def skip(data: bytes, max_depth: int = DEPTH, max_values: int = VALUES) -> tuple[int, int]:
    """How many values ``skip_any`` counts, and how many bytes it leaves."""
    reader = Reader(data)
    return reader.skip_any(max_depth, max_values), reader.remaining


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16383, "ff7f"),
        (16384, "808001"),
        (2**32 - 1, "ffffffff0f"),
        (MAX_SAFE_INTEGER, "ffffffffffffff0f"),
    ],
)
def test_varuint_both_ways(value: int, encoded: str) -> None:
    assert encode_varuint(value).hex() == encoded
    reader = Reader(bytes.fromhex(encoded))
    assert reader.varuint() == value
    assert not reader.remaining


@pytest.mark.parametrize("value", [-1, MAX_SAFE_INTEGER + 1])
def test_encode_varuint_refuses_what_javascript_cannot_hold(value: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        encode_varuint(value)


def test_an_overlong_varuint_is_read_as_lib0_reads_it() -> None:
    assert Reader(b"\x81\x80\x00").varuint() == 1


@pytest.mark.parametrize("encoded", ["80808080808080" + "10", "ff" * 8, "80" * 20 + "00"])
def test_varuint_above_53_bits_is_refused(encoded: str) -> None:
    with pytest.raises(ProtocolError, match="2\\^53"):
        Reader(bytes.fromhex(encoded)).varuint()


@pytest.mark.parametrize(
    "read",
    [
        Reader.byte,
        Reader.varuint,
        Reader.id,
        Reader.varint,
        Reader.varbytes,
        Reader.varstring,
        Reader.utf16_length,
        lambda reader: reader.skip_any(DEPTH, VALUES),
        lambda reader: reader.skip(1),
    ],
)
def test_nothing_can_be_read_from_nothing(read: Callable[[Reader], object]) -> None:
    with pytest.raises(ProtocolError, match="too early"):
        read(Reader(b""))


def test_varuint_cut_off() -> None:
    with pytest.raises(ProtocolError, match="too early"):
        Reader(b"\x80\x80").varuint()


def test_id_gives_the_same_as_varuint_however_often_it_repeats() -> None:
    ids = [0, 5, 5, 300, 300, 5, MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, 0]
    reader = Reader(b"".join(map(encode_varuint, ids)))
    assert [reader.id() for _ in ids] == ids


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("40", 0),
        ("3f", 63),
        ("7f", -63),
        ("8001", 64),
        ("c001", -64),
        ("bfffffffffffff1f", MAX_SAFE_INTEGER),
        ("ffffffffffffff1f", -MAX_SAFE_INTEGER),
    ],
)
def test_varint(encoded: str, value: int) -> None:
    assert Reader(bytes.fromhex(encoded)).varint() == value


@pytest.mark.parametrize("encoded", ["80808080808080" + "20", "ff" * 20, "bf" + "ff" * 8 + "00"])
def test_varint_above_53_bits_is_refused(encoded: str) -> None:
    with pytest.raises(ProtocolError, match="2\\^53"):
        Reader(bytes.fromhex(encoded)).varint()


def test_bytes_and_strings() -> None:
    reader = Reader(encode_varbytes(b"\xff\x00") + encode_varstring("grüße 😀"))
    assert reader.varbytes() == b"\xff\x00"
    assert reader.varstring() == "grüße 😀"


@pytest.mark.parametrize(
    "text", ["", "abc", "grüße", "中文", "😀", "a😀b👩‍🔬中\U0010ffff", "é" * 200 + "😀" * 200]
)
def test_utf16_length_counts_as_javascript(text: str) -> None:
    reader = Reader(encode_varstring(text))
    assert reader.utf16_length() == len(text.encode("utf-16-le")) // 2
    assert not reader.remaining


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8"])
@pytest.mark.parametrize("read", [Reader.varstring, Reader.utf16_length])
def test_what_is_no_utf8_is_refused(read: Callable[[Reader], object], data: bytes) -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        read(Reader(encode_varbytes(data)))


@pytest.mark.parametrize("read", [Reader.varbytes, Reader.varstring, Reader.utf16_length])
def test_a_length_beyond_the_end_is_refused(read: Callable[[Reader], object]) -> None:
    with pytest.raises(ProtocolError, match="too early"):
        read(Reader(encode_varuint(MAX_SAFE_INTEGER) + b"abc"))


def test_a_claim_must_fit_into_what_is_left() -> None:
    assert Reader(b"\x02abcd").claim(2) == 2
    with pytest.raises(ProtocolError, match="too early"):
        Reader(b"\x02abc").claim(2)


@pytest.mark.parametrize(
    ("encoded", "values"),
    [
        ("7f", 1),  # undefined
        ("7e", 1),  # null
        ("7d8001", 1),  # 64
        ("7c" + "00" * 4, 1),  # float32
        ("7b" + "00" * 8, 1),  # float64
        ("7a" + "00" * 8, 1),  # bigint
        ("79", 1),  # false
        ("78", 1),  # true
        ("7702c3a9", 1),  # "é"
        ("7500", 1),  # []
        ("75027e7502787e", 5),  # [null, [true, null]]
        ("7600", 1),  # {}
        ("760201617e01627601016378", 4),  # {a: null, b: {c: true}}
        ("7403ffffff", 1),  # bytes
    ],
)
def test_any_is_walked_to_its_end(encoded: str, values: int) -> None:
    assert skip(bytes.fromhex(encoded) + b"rest") == (values, 4)


@pytest.mark.parametrize(
    "encoded",
    ["00", "73", "80", "7c0000", "7703ff", "7701ff", "75027e", "7601", "760101", "7601017e", "740961"],
)
def test_malformed_any_is_refused(encoded: str) -> None:
    with pytest.raises(ProtocolError):
        skip(bytes.fromhex(encoded))


def test_any_at_its_bounds() -> None:
    assert skip(b"\x75\x01" * DEPTH + b"\x7e") == (DEPTH + 1, 0)
    with pytest.raises(ProtocolError, match="too deep"):
        skip(b"\x75\x01" * (DEPTH + 1) + b"\x7e")
    full = b"\x75" + encode_varuint(VALUES - 1) + b"\x7e" * (VALUES - 1)
    assert skip(full) == (VALUES, 0)
    with pytest.raises(ProtocolError, match="too many"):
        skip(b"\x75" + encode_varuint(VALUES) + b"\x7e" * VALUES)


def test_a_hundred_thousand_brackets_are_an_error_and_no_crash() -> None:
    with pytest.raises(ProtocolError, match="too deep"):
        skip(b"\x75\x01" * 100_000 + b"\x7e", max_values=10**6)
    with pytest.raises(ProtocolError, match="too deep"):
        parse_json("[" * 100_000 + "]" * 100_000, DEPTH)


@pytest.mark.parametrize(
    "value", [None, {}, [], {"a": [1, 2.5, "é😀", True, None]}, "\\u0041", "\\ud800", [-0.0]]
)
def test_json_is_read(value: object) -> None:
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only), DEPTH) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e999",
        '"\\ud800"',
        '{"\\uDC00":1}',
        "9" * 5000,
        "[1,]",
        "'a'",
    ],
)
def test_json_that_somebody_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="JSON"):
        parse_json(text, DEPTH)


def test_json_depth_counts_brackets_outside_of_strings() -> None:
    assert parse_json(json.dumps(["[[[[" * 10, '"[{' * 10]), 1) == ["[[[[" * 10, '"[{' * 10]
    assert parse_json("[[]]", 2) == [[]]
    assert parse_json("[{},{}, [], {}]", 2) == [{}, {}, [], {}]
    with pytest.raises(ProtocolError, match="too deep"):
        parse_json("[[[]]]", 2)
    with pytest.raises(ProtocolError, match="JSON"):
        parse_json('[["' + '\\"' * 1000 + "[" * 50, 2)


def test_big_but_finite_numbers_are_json() -> None:
    assert parse_json("1e308", DEPTH) == 1e308
    assert math.isclose(
        float(str(parse_json("123456789012345678901234567890", DEPTH))), 1.2345678901234568e29
    )
