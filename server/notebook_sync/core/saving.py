"""When to checkpoint: a debounce with a ceiling, level-triggered.

An edit at time t is in the file at the latest at t + ceiling (plus the save itself): the delay
counts from the last edit, the ceiling from the first unsaved one. An edit that arrives while a
checkpoint runs keeps the document dirty, because "saved" is a position and not a flag.
"""

from __future__ import annotations

import math

from notebook_sync.core.backoff import backoff
from notebook_sync.core.limits import Limits


class Saving:
    """Positions are the room's apply positions; ``now`` is monotonic seconds.

    Without a ceiling (``math.inf``) nothing is done while people type, not even on request.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._edited = 0
        self._saved = 0
        self._first_unsaved_at: float | None = None
        self._last_edit_at = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._asked = False
        self.running: int | None = None
        """The position the running checkpoint covers."""
        self.autosave = True

    def edited(self, position: int, now: float) -> None:
        """The document's content changed."""
        self._edited = position
        self._last_edit_at = now
        if self._first_unsaved_at is None:
            self._first_unsaved_at = now

    def ask(self) -> None:
        """Look at the file as soon as possible, whether or not anything was edited."""
        self._asked = True

    @property
    def dirty(self) -> bool:
        """Whether the file lacks an edit."""
        return self._edited > self._saved

    @property
    def idle(self) -> bool:
        """Whether no checkpoint runs or is wanted."""
        return self.running is None and not self._asked and not self.dirty

    @property
    def failing(self) -> bool:
        """Whether the last try to write the file failed."""
        return self._failures > 0

    def due_at(self) -> float | None:
        """When the next checkpoint should start; None while one runs or none is wanted."""
        if self.running is not None:
            return None
        quiet = self._last_edit_at + self._limits.save_delay
        patient = self.dirty and self._limits.save_ceiling == math.inf
        if self._asked:
            return max(self._not_before, quiet) if patient else self._not_before
        if not self.dirty or not self.autosave or self._first_unsaved_at is None:
            return None
        ceiling = self._first_unsaved_at + self._limits.save_ceiling
        return max(min(quiet, ceiling), self._not_before)

    def started(self, position: int, now: float) -> None:
        """A checkpoint of everything up to ``position`` runs; later edits count from here."""
        self.running = position
        self._asked = False
        self._first_unsaved_at = None if position >= self._edited else now

    def done(self, position: int) -> None:
        """The file holds everything up to ``position``."""
        self.running = None
        self._failures = 0
        self._not_before = 0.0
        self._saved = max(self._saved, position)
        if not self.dirty:
            self._first_unsaved_at = None

    def failed(self, now: float) -> None:
        """The file could not be written: try again, later each time."""
        self.running = None
        self._failures += 1
        wait = backoff(self._failures, self._limits.save_retry_first, self._limits.save_retry_most)
        self._not_before = now + wait
        self._asked = True
        if self._first_unsaved_at is None:
            self._first_unsaved_at = now

    def deferred(self, now: float) -> None:
        """Another writer was faster, or its changes were merged in: look again right away."""
        self.running = None
        self._asked = True
        self._not_before = now
