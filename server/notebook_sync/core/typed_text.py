"""What people typed between two moments, and whether a third text has it: asked after a restore.

A CRDT keeps what is typed into a text that others change at the same time. It does not keep what is typed
into a cell that others take away or make anew at the same time.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping


def not_found(before: Mapping[str, str], after: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the texts (cell id → source) into which something was typed from ``before`` to ``after`` that
    does not stand in the text of the same name in ``now``. When in doubt, a name too many."""
    return [
        name
        for name, text in after.items()
        if text != before.get(name, "")
        and not all(typed in now.get(name, "") for typed in insertions(before.get(name, ""), text))
    ]


def insertions(old: str, new: str) -> Iterator[str]:
    """The strings that came into ``old``, line by line; blank ones left out."""
    old_lines, new_lines = old.split("\n"), new.split("\n")
    matcher = difflib.SequenceMatcher(None, old_lines, new_lines, autojunk=False)
    for _, start, stop, new_start, new_stop in matcher.get_opcodes():
        gone, come = old_lines[start:stop], new_lines[new_start:new_stop]
        for number, line in enumerate(come):
            typed = _inserted(gone[number] if number < len(gone) else "", line)
            if typed.strip():
                yield typed


def _inserted(old: str, new: str) -> str:
    """What stands in ``new`` between its common beginning and its common end with ``old``."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    most -= head
    tail = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
    return new[head : len(new) - tail]
