"""Clients that keep 32 bits of a client id (y-py, long ended) and what they make of longer ones.

They read a document, misread its longer ids, and send its whole content back under the misread ids: for
Yjs that is new content, and everything stands there twice. pycrdt's ids have up to 53 bits. So what comes
under the misread form of an id that the document knows is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

NARROW = 1 << 32


def misread(client: int) -> int:
    """What such a client makes of an id: each 7-bit group is shifted modulo 32 (as its Rust build does)."""
    seen, group = 0, 0
    while client:
        seen |= ((client & 0x7F) << (7 * group % 32)) & (NARROW - 1)
        client >>= 7
        group += 1
    return seen


class NarrowIds:
    """The misread forms of a document's ids."""

    def __init__(self) -> None:
        self._misread: set[int] = set()

    def know(self, clients: Iterable[int]) -> None:
        """The document has content under these ids."""
        self._misread.update(misread(client) for client in clients if client >= NARROW)

    def suspect(self, new_clients: Iterable[int]) -> bool:
        """Whether one of these ids, new to the document, is another one misread."""
        return not self._misread.isdisjoint(new_clients)
