"""A terminal in memory: what is printed to it, a person would see."""

from __future__ import annotations

import io


class Terminal(io.StringIO):
    """Text that says of itself that somebody sits before it."""

    def isatty(self) -> bool:
        return True
