"""What was typed meanwhile is found again, or said to be missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_sync.core.typed_text import insertions, not_found


@pytest.mark.parametrize(
    ("old", "new", "typed"),
    [
        ("", "", []),
        ("a b", "a b", []),
        ("a b", "a new b", ["new "]),
        ("a\nb", "a\nmore\nb", ["more"]),
        ("a\nb", "a!\nb?", ["!", "?"]),
        ("one two", "one", []),
        ("aa", "aaa", ["a"]),
        ("", "a\n\nb", ["a", "b"]),
    ],
)
def test_insertions(old: str, new: str, typed: list[str]) -> None:
    assert list(insertions(old, new)) == typed


def test_what_stands_in_the_text_now_is_found_wherever_it_is() -> None:
    before, after = {"one": "x = 1 # old"}, {"one": "x = 1 # old word"}
    assert not_found(before, after, {"one": "x = 7 word"}) == []


def test_what_was_typed_into_a_cell_that_is_gone_or_new_is_not() -> None:
    before = {"one": "x", "two": "y", "three": "z"}
    after = {"one": "x word", "two": "y word", "three": "z", "four": "made meanwhile"}
    assert not_found(before, after, {"one": "x word", "two": "y"}) == ["two", "four"]
    assert not_found(before, after, {}) == ["one", "two", "four"]


def test_what_was_not_touched_may_be_gone() -> None:
    assert not_found({"one": "x"}, {"one": "x"}, {}) == []


words = st.text("ab \n", max_size=20)


@given(words, words, words)
def test_a_word_typed_anywhere_is_found_if_and_only_if_it_is_there(left: str, right: str, other: str) -> None:
    before, after = {"one": left + right}, {"one": left + "<word>" + right}
    assert not_found(before, after, {"one": other + "<word>" + other}) in ([], ["one"])
    assert not_found(before, after, {"one": other}) == ["one"]
    assert not_found(before, after, {"one": after["one"] + other}) == []
