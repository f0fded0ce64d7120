"""How long the log has become since its snapshot, and when it is to be folded."""

from __future__ import annotations

from notebook_sync.core.limits import Limits


class Tail:
    """Entries and bytes after the snapshot. At most one compaction is under way."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = 0
        self._bytes = 0
        self._folding = False

    def loaded(self, entries: list[tuple[bytes, ...]]) -> None:
        """The log was read from its snapshot on."""
        self._entries = len(entries)
        self._bytes = sum(len(update) for updates in entries for update in updates)

    def grew(self, updates: tuple[bytes, ...]) -> None:
        """One entry more."""
        self._entries += 1
        self._bytes += sum(map(len, updates))

    def fold(self) -> bool:
        """Whether to fold it now; counts as begun."""
        long = self._entries > self._limits.compact_entries or self._bytes > self._limits.compact_bytes
        if not long or self._folding:
            return False
        self._folding = True
        return True

    def folded(self, left: int) -> None:
        """The compaction has ended; ``left`` entries are after the snapshot."""
        self._folding = False
        self._entries = max(0, left)
        self._bytes = 0
