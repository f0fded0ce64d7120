"""Which intents of writers a file ledger keeps (rule 5)."""

from __future__ import annotations

from collections.abc import Sequence

from notebook_sync.core.ids import NodeId
from notebook_sync.ports import Intent

INTENTS_KEPT = 16
"""The newest, whoever wrote them."""
INTENTS_MOST = 64
"""With the newest of each other node."""


def kept_intents(intents: Sequence[Intent]) -> tuple[Intent, ...]:
    """Of intents, newest first, those that are kept (see ``ports.FileLedger.intend``)."""
    kept: list[Intent] = []
    nodes: set[NodeId] = set()
    for intent in intents:
        if len(kept) < INTENTS_KEPT or (intent.node not in nodes and len(kept) < INTENTS_MOST):
            kept.append(intent)
            nodes.add(intent.node)
    return tuple(kept)
