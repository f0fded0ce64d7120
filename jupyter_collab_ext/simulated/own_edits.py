"""Which of a client's edits the server said are stored, over all of its connections."""

from __future__ import annotations

from collections import deque


class OwnEdits:
    """Counts edits, and follows acknowledgements of the sync frames that brought them."""

    def __init__(self) -> None:
        self.made = 0
        """Edits made so far, offline ones included."""
        self.stored = 0
        """How many of them, counted from the first, the server ever said are stored."""
        self.refused = 0
        """How many sync frames the server said it refused."""
        self._brought: deque[tuple[int, int]] = deque()
        """Sync frames on their way: number, and how many edits the server has with it and those before."""
        self._in_step = False
        """Whether this connection has brought what was edited before it."""

    def connected(self) -> None:
        """A new connection: frames count from 1 again."""
        self._brought.clear()
        self._in_step = False

    def sent(self, frame: int, *, everything: bool) -> None:
        """Sync frame number ``frame`` is on its way; with ``everything`` that this client has."""
        self._in_step |= everything
        if self._in_step:
            self._brought.append((frame, self.made))

    def acknowledged(self, frame: int, refused: object) -> None:
        """All frames up to ``frame`` are stored, but for those in the list ``refused``, if it is one."""
        self.refused += len(refused) if isinstance(refused, list) else 0
        while self._brought and self._brought[0][0] <= frame:
            self.stored = max(self.stored, self._brought.popleft()[1])
