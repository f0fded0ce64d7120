"""When to ask for missing updates, when to save without them, and when to give them up (rule 1)."""

from __future__ import annotations

import math

from notebook_sync.core.limits import Limits


class GapRepair:
    """``now`` is monotonic seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ask_at: float | None = None
        self._asked = 0
        self._since: float | None = None

    def found(self, now: float) -> None:
        """Something is missing: ask at once, unless that was done a moment ago."""
        if self._ask_at is None:
            self._ask_at = now

    def closed(self) -> None:
        """Nothing is missing."""
        self._ask_at, self._asked, self._since = None, 0, None

    def due(self, now: float) -> bool:
        """Whether to ask now; counts as asked."""
        if self._since is None:
            self._since = now
        if self._ask_at is None or now < self._ask_at:
            return False
        self._ask_at = now + self._limits.repair_interval
        self._asked += 1
        return True

    @property
    def hopeless(self) -> bool:
        """Whether everybody was asked often enough."""
        return self._asked > self._limits.repairs

    @property
    def savable_at(self) -> float:
        """When the file may be written although something is missing. What it shows is what people see
        meanwhile, and when the rest comes the file is written again; but one bad reference of one client
        must not keep everybody's work from it."""
        return math.inf if self._since is None else self._since + self._limits.gap_save_patience

    def deadline(self) -> float | None:
        """When to ask next."""
        return self._ask_at
