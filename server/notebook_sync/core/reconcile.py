"""What to do about document and file: a decision by content digests, never by time.

Three contents meet: the *base* both last had in common, the *document*, and the *file*. Files are
told apart by sha256; a file that a writer announced (its intent) is ours even if we did not hear of
it being finished, so it is never taken for somebody's edit (rule 4).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence

from notebook_sync.core.limits import Limits


class Plan(enum.Enum):
    """The one thing to do next."""

    NOTHING = "nothing"  # file and document agree
    WRITE = "write"  # only the document changed, or the file is an older one of ours
    MERGE = "merge"  # the file holds what another program wrote: take it in first


def plan(*, base: str | None, document: str, file: str, ours: Collection[str] = ()) -> Plan:
    """Decide.

    Args:
        base: digest of the last common content; None when there is none on record.
        document: digest of what the document would be as a file.
        file: digest of the file as it is.
        ours: digests that nodes announced before writing them (intents).
    """
    if file == document:
        return Plan.NOTHING
    if file == base or file in ours:
        return Plan.WRITE
    return Plan.MERGE


def shrinks(before: tuple[int, int], after: tuple[int, int], limits: Limits) -> bool:
    """Whether a document became so much smaller that what it was should be kept: each is (cells, bytes)."""
    cells, size = before
    few = cells >= limits.shrink_cells and after[0] < cells * limits.shrink_share
    return few or (size >= limits.shrink_bytes and after[1] < size * limits.shrink_share)


def remembered(seen: Sequence[str], cells: Sequence[str], limits: Limits) -> list[str] | None:
    """``seen`` and ``cells``, each id once, the oldest first and no more than are remembered, those of
    ``cells`` rather than others (rule 28). None if nothing is to be added."""
    known = set(seen)
    if known.issuperset(cells):
        return None
    fresh = [cell for cell in dict.fromkeys(cells) if cell not in known]
    surplus = len(seen) + len(fresh) - limits.cells_remembered
    living = set(cells)
    kept = []
    for cell in seen:
        if surplus > 0 and cell not in living:
            surplus -= 1
        else:
            kept.append(cell)
    return kept + fresh
