"""What to do about document and file: a decision by content digests, never by time.

Three contents meet: the *base* both last had in common, the *document*, and the *file*. Files are
told apart by sha256; a file that a writer announced (its intent) is ours even if we did not hear of
it being finished, so it is never taken for somebody's edit (rule 4).
"""

from __future__ import annotations

import enum
from collections.abc import Collection


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
