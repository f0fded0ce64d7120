"""Buckets: what is there at once, what comes back, and how many are remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_collab_ext.pace import Bucket, Paces


def test_what_is_there_at_once_and_then_at_the_rate() -> None:
    bucket = Bucket.full(rate=10, size=5, now=0)
    assert [bucket.take(1, 0) for _ in range(5)] == [0] * 5
    assert bucket.take(1, 0) == pytest.approx(0.1)
    assert bucket.take(1, 0.2) == 0
    assert bucket.wait(0.2) == pytest.approx(0.1)


def test_more_than_it_holds_is_waited_for() -> None:
    bucket = Bucket.full(rate=1, size=10, now=0)
    assert bucket.take(25, 0) == 15
    assert bucket.take(1, 15) == 1


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 50)), max_size=50))
def test_whoever_waits_as_told_gets_no_more_than_the_rate(asks: list[tuple[float, float]]) -> None:
    rate, size, now, taken = 5.0, 20.0, 0.0, 0.0
    bucket = Bucket.full(rate, size, now)
    for pause, amount in asks:
        now += pause
        now += bucket.take(amount, now)
        taken += amount
        assert taken <= size + rate * now + 1e-6


def test_names_have_buckets_of_their_own_and_old_ones_are_forgotten() -> None:
    paces = Paces(rate=1, size=1, most=2)
    assert paces.wait("a", 0) == 0
    assert paces.take("a", 1, 0) == 0
    assert paces.wait("a", 0) == 1
    assert paces.take("b", 1, 0) == 0
    assert paces.take("a", 1, 0) == 1
    assert paces.take("c", 1, 0) == 0
    assert paces.wait("b", 0) == 0, "forgotten"
    assert paces.wait("a", 0) == 2, "used since"
