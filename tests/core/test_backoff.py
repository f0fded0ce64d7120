"""Waits grow, stay below their bound, and come apart with jitter."""

from __future__ import annotations

from notebook_sync.core.backoff import backoff


def test_waits_double_up_to_the_bound() -> None:
    assert [backoff(n, 0.1, 1.0) for n in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_takes_at_most_half_away() -> None:
    assert backoff(1, 1.0, 8.0, jitter=1.0) == 0.5
    assert backoff(3, 1.0, 8.0, jitter=0.5) == 3.0


def test_many_failures_do_not_overflow() -> None:
    assert backoff(10_000, 0.1, 5.0) == 5.0
