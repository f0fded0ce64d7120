"""Folding a log into one snapshot, from the store's own bytes only (rule 6). Runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_sync.core.errors import CorruptRecord, ProtocolError
from notebook_sync.core.limits import Limits
from notebook_sync.core.replica import DamagedReplica, Replica, merge
from notebook_sync.core.update import UpdateSummary, decode

Span = tuple[int, int]


def fold(updates: list[bytes]) -> bytes:
    """One v1 update that holds everything the given ones hold, in whatever order they came.

    Through a document where that is proven to keep every clock and every deletion, because it collects
    garbage; else by merging the bytes, which keeps gaps and what is parked behind them. Raises
    ``CorruptRecord`` when they can't be merged either: one of them is no update.
    """
    try:
        replica = Replica(client_id=1)
        replica.apply(*updates)
        replica.unpark(updates)
        folded = replica.diff()
        if _holds(folded, updates):
            return folded
    except (DamagedReplica, ProtocolError):
        pass
    try:
        return merge(list(updates))
    except ValueError as error:
        raise CorruptRecord("one of the updates can't be read") from error


def _holds(folded: bytes, updates: list[bytes]) -> bool:
    limits = Limits()
    kept = decode(folded, limits)
    return all(_covers(kept, decode(update, limits)) for update in updates)


def _covers(kept: UpdateSummary, part: UpdateSummary) -> bool:
    return _all_in(part.structs, kept.structs) and _all_in(part.deletes, kept.deletes)


def _all_in(parts: Mapping[int, tuple[Span, ...]], wholes: Mapping[int, tuple[Span, ...]]) -> bool:
    return all(
        any(first <= start and end <= last for first, last in _joined(wholes.get(client, ())))
        for client, spans in parts.items()
        for start, end in spans
    )


def _joined(spans: tuple[Span, ...]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
