"""How long to wait before trying again: exponential, capped, with jitter."""

from __future__ import annotations


def backoff(failures: int, first: float, most: float, jitter: float = 0.0) -> float:
    """Seconds to wait after ``failures`` failures in a row (1 = the first).

    ``jitter`` in 0..1 takes up to half of the wait away, so that many who failed together come back apart.
    """
    wait = min(most, first * 2.0 ** min(max(failures, 1) - 1, 32))
    return wait * (1.0 - 0.5 * jitter)
