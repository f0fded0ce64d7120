"""What goes wrong with the memory twins, on purpose."""

from __future__ import annotations

import asyncio

from notebook_sync.core.errors import StoreUnavailable


class Faults:
    """What goes wrong on purpose. One object may serve several twins, as one Redis does.

    Attributes:
        down: every call raises ``StoreUnavailable`` and does nothing.
        slow: seconds that every call waits first.
    """

    def __init__(self) -> None:
        self.down = False
        self.slow = 0.0
        self._failures = 0
        self._lost_answers = 0

    def fail_next(self, calls: int) -> None:
        """The next ``calls`` calls raise ``StoreUnavailable`` and do nothing."""
        self._failures = calls

    def lose_next_answers(self, calls: int) -> None:
        """The next ``calls`` calls do what they should, and raise ``StoreUnavailable`` all the same."""
        self._lost_answers = calls

    async def before(self) -> None:
        """Call first in each operation."""
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.down or self._failures > 0:
            self._failures = max(0, self._failures - 1)
            raise StoreUnavailable("the store does not answer (on purpose)")

    def after(self) -> None:
        """Call when an operation that changes something is done."""
        if self._lost_answers > 0:
            self._lost_answers -= 1
            raise StoreUnavailable("the store's answer was lost (on purpose)")
