"""Three-way merges of texts."""

from __future__ import annotations

import time

import pytest

from notebook_sync.adapters.text_merge import Hunk, MergedText, character_hunks, compare, merge_text

CASES = [
    # (base, ours, theirs, merged)
    ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "A\nb\nC\n"),
    ("a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n"),
    ("a\nb\n", "a # note\nb\n", "a\nnew\nb\n", "a # note\nnew\nb\n"),
    ("f(x, y)", "g(x, y)", "f(x, z)", "g(x, z)"),
    ("a\n", "a\nx\n", "a\nx\ny\n", "a\nx\ny\n"),
    ("a\n", "a\nx\ny\n", "a\nx\n", "a\nx\ny\n"),
    ("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n", "a\nc\nd\n"),
    ("a\nb\nc\n", "c\n", "a\nb\nc\n", "c\n"),
    ("😀 é 中文\n", "😀 è 中文\n", "😁 é 中文\n", "😁 è 中文\n"),
    ("", "x", "", "x"),
    ("x", "", "x", ""),
]


@pytest.mark.parametrize(("base", "ours", "theirs", "expected"), CASES)
def test_takes_what_each_changed(base: str, ours: str, theirs: str, expected: str) -> None:
    assert merge_text(base, ours, theirs) == MergedText(expected)
    assert merge_text(base, theirs, ours).text == expected


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged", "lines"),
    [
        ("a\n", "b\n", "c\n", "b\n", (1,)),
        ("a\nb\nc\n", "a\nX\nc\n", "a\nc\n", "a\nX\nc\n", (2,)),
        ("a\nb\n", "a\nx\nb\n", "a\ny\nb\n", "a\nx\nb\n", (2,)),
        ("a b\nc\nd\n", "A b\nc\nx\n", "a B\nc\ny\n", "A B\nc\nx\n", (3,)),
        ("same word", "same one", "same two", "same one", (1,)),
    ],
)
def test_a_conflict_keeps_ours_and_names_its_line(
    base: str, ours: str, theirs: str, merged: str, lines: tuple[int, ...]
) -> None:
    assert merge_text(base, ours, theirs) == MergedText(merged, lines)


def test_differences_are_few() -> None:
    assert compare("abcd", "abXd") == [Hunk(2, 3, 2, 3)]
    assert compare("abc", "abc") == []
    assert compare("", "abc") == [Hunk(0, 0, 0, 3)]
    assert compare("abc", "") == [Hunk(0, 3, 0, 0)]


def test_a_changed_word_changes_its_middle_only() -> None:
    before, after = "one\nthe value is 10\nthree\n", "one\nthe valuable is 10\nthree\n"
    (hunk,) = character_hunks(before, after)
    assert after[hunk.new_start : hunk.new_stop] == "abl"
    assert hunk.start == hunk.stop == before.index("e is")


def test_big_texts_take_seconds_at_most() -> None:
    before = "".join(f"line {number}\n" for number in range(20_000))
    started = time.monotonic()
    merged = merge_text(before, "first\n" + before, before + "last\n")
    assert merged == MergedText("first\n" + before + "last\n")
    blank = "\n" * 20_000
    assert merge_text(blank, "x" + blank, blank + "y").text == "x" + blank + "y"
    noise = "".join(f"{number * 7919 % 10007}\n" for number in range(20_000))
    assert merge_text(before, noise, before[:-1]).text
    assert time.monotonic() - started < 20
