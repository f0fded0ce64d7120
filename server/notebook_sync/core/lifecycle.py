"""The states of a document's life.

::

               ┌────────────────────────┐
               │                        ▼
    COLD ──► LOADING ──► LIVE ◄──► DEGRADED
               │          │ ▲         │
               │          │ └─REJOINING◄─FILE_SHARING ◄─ (LIVE or DEGRADED)
               │          ▼           │
               └──────► CLOSING ◄─────┘ ──► COLD
"""

from __future__ import annotations

import enum

from notebook_sync.core.errors import InvariantBroken


class DocumentState(enum.StrEnum):
    """Where a document is in its life on this node."""

    COLD = "cold"  # not open here
    LOADING = "loading"  # connections are taken, their frames wait
    LIVE = "live"  # updates reach the store in time
    DEGRADED = "degraded"  # the store is away; people of this node go on seeing each other
    FILE_SHARING = "file-sharing"  # frozen; one person at a time writes the file
    REJOINING = "rejoining"  # another history of the same lineage is being merged in
    CLOSING = "closing"  # nobody is here; the last checkpoint is under way


_S = DocumentState
TRANSITIONS: dict[DocumentState, frozenset[DocumentState]] = {
    _S.COLD: frozenset({_S.LOADING}),
    _S.LOADING: frozenset({_S.LIVE, _S.DEGRADED, _S.CLOSING}),
    _S.LIVE: frozenset({_S.DEGRADED, _S.FILE_SHARING, _S.REJOINING, _S.CLOSING}),
    _S.DEGRADED: frozenset({_S.LIVE, _S.FILE_SHARING, _S.REJOINING, _S.CLOSING}),
    _S.FILE_SHARING: frozenset({_S.REJOINING, _S.CLOSING}),
    _S.REJOINING: frozenset({_S.LIVE, _S.DEGRADED, _S.CLOSING}),
    _S.CLOSING: frozenset({_S.COLD, _S.LIVE, _S.DEGRADED, _S.REJOINING}),
}


class Lifecycle:
    """The present state, and only moves that the table allows."""

    def __init__(self) -> None:
        self.state = DocumentState.COLD

    def may(self, target: DocumentState) -> bool:
        """Whether the table allows this move."""
        return target in TRANSITIONS[self.state]

    def move(self, target: DocumentState) -> bool:
        """Go to ``target``; False when already there. Raises ``InvariantBroken`` if the table forbids it."""
        if target is self.state:
            return False
        if not self.may(target):
            allowed = ", ".join(sorted(TRANSITIONS[self.state]))
            raise InvariantBroken(f"from {self.state} a document can go to {allowed}, not to {target}")
        self.state = target
        return True

    @property
    def serving(self) -> bool:
        """Whether people see the document's content."""
        return self.state not in (DocumentState.COLD, DocumentState.LOADING)
