"""The chain over a log's entries, by which an older or another log is told from this one (rule 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from notebook_sync.core.ids import NodeId

START = bytes(8)
"""The chain before the first entry."""


def next_chain(chain: bytes, node: NodeId, updates: Iterable[bytes]) -> bytes:
    """The chain after a batch, 8 bytes: sha1, because Redis functions have nothing better. It finds
    logs that parted by accident; nobody who could forge it lacks the right to write the log itself."""
    digest = hashlib.sha1(chain.hex().encode() + node.encode(), usedforsecurity=False)
    for update in updates:
        digest.update(update)
    return digest.digest()[:8]
