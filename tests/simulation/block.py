"""A block of seeds, played in a process of its own (a module that such a process can import)."""

from __future__ import annotations

import collections
import os
from typing import Any

from tests.simulation.oracle import Violation
from tests.simulation.story import story, world_of

BLOCK = 100


def be_nice() -> None:
    """Whoever uses the machine otherwise goes first."""
    os.nice(10)


def block(first: int) -> dict[str, Any]:
    """Play ``BLOCK`` seeds from ``first`` on; what happened, in numbers, and which seeds failed."""
    numbers: collections.Counter[str] = collections.Counter()
    failed: dict[int, str] = {}
    for seed in range(first, first + BLOCK):
        world = world_of(seed)
        try:
            world.run(story)
        except Violation as violation:
            failed[seed] = f"{violation} {violation.__cause__ or ''}"[:2000]
        numbers.update(trouble=len(world.troubles), tokens=len(world.oracle.tokens))
        numbers.update(f"trouble {name}" for name in world.troubles)
        numbers[f"worlds with {len(world.servers)} servers"] += 1
        numbers["virtual seconds"] += int(world.loop.time())
    return {"first": first, "numbers": numbers, "failed": failed}
