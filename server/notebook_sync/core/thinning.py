"""Which of a document's versions go: thinned by age, then bounded by number and size.

Close together in the last hour, ever farther apart before. At a bound the one goes that lies closest
between its neighbours for its age, so a flood of new ones never pushes the older history out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from notebook_sync.core.limits import Limits

NAMED = frozenset({"merge", "lineage", "shrink"})
"""Reasons of versions that hold what a document lost, and that a notice told people of: they go last."""


class Dated(Protocol):
    """What is asked of a version: seconds since 1970, why it was kept, bytes of its content."""

    @property
    def at(self) -> float: ...

    @property
    def reason(self) -> str: ...

    @property
    def size(self) -> int: ...


V = TypeVar("V", bound=Dated)


def surplus(versions: Sequence[V], now: float, limits: Limits) -> list[V]:
    """Those of ``versions`` (newest first) that should go at ``now``; never the newest.

    Age applies to those without a notice: all of the last ``version_dense`` seconds stay, then one for
    each ``version_spacing_day`` of ``version_day``, then one for each ``version_spacing`` until
    ``version_age``. Then ``versions_kept`` and ``versions_bytes`` apply to all.
    """
    kept = _thinned(versions, now, limits)
    size = sum(version.size for version in kept)
    while len(kept) > 1 and (len(kept) > limits.versions_kept or size > limits.versions_bytes):
        size -= kept.pop(_least_missed(kept, now)).size
    staying = set(map(id, kept))
    return [version for version in versions if id(version) not in staying]


def _thinned(versions: Sequence[V], now: float, limits: Limits) -> list[V]:
    kept: list[V] = []
    slots: set[tuple[float, int]] = set()
    for version in versions:
        spacing = _spacing(now - version.at, limits)
        if not kept or version.reason in NAMED or spacing == 0:
            kept.append(version)
        elif spacing is not None and (slot := (spacing, int(version.at // spacing))) not in slots:
            slots.add(slot)
            kept.append(version)
    return kept


def _spacing(age: float, limits: Limits) -> float | None:
    """Seconds between two versions of this age; None if none of this age stays."""
    if age <= limits.version_dense:
        return 0.0
    if age <= limits.version_day:
        return limits.version_spacing_day
    return limits.version_spacing if age <= limits.version_age else None


def _least_missed(kept: Sequence[V], now: float) -> int:
    """The place of the one to go; ``kept`` has at least two."""
    places = [place for place in range(1, len(kept)) if kept[place].reason not in NAMED]
    if not places:
        return len(kept) - 1
    return min(places, key=lambda place: (_distance(kept, place, now), -place))


def _distance(kept: Sequence[V], place: int, now: float) -> float:
    """The time between the neighbours, in proportion to the age; that of the oldest reaches back for ever."""
    if place == len(kept) - 1:
        return float("inf")
    return (kept[place - 1].at - kept[place + 1].at) / max(now - kept[place].at, 1.0)
