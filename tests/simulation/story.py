"""What happens in the world of a seed: how many servers there are, what goes wrong, and how it ends."""

from __future__ import annotations

import random
from dataclasses import replace

from notebook_sync.core.limits import Limits
from tests.simulation import trouble
from tests.simulation.engine_world import World

SMALL = Limits(
    cleanup_delay=3.0, sweep_interval=2.0, compact_entries=5, outbox_bytes=400, recovery_window=5.0
)
"""Every bound is met within seconds."""
TINY_WINDOW = replace(SMALL, compact_entries=12, outbox_bytes=2_000, pending_window_bytes=300)


def world_of(seed: int) -> World:
    """The world as it begins."""
    rng = random.Random(f"world {seed}")
    servers = rng.choice((1, 1, 2))
    limits = rng.choice((SMALL, SMALL, TINY_WINDOW))
    return World(seed, servers=servers, shared=rng.random() < 0.5, limits=limits)


async def story(world: World) -> None:
    """People work while things go wrong; then all is healed and judged."""
    if world.rng.random() < 0.8:
        world.store.well_known()
    world.begin()
    troubles = trouble.some(world)
    world.troubles = [each.__name__ for each in troubles]
    for each in troubles:
        world.at(world.rng.uniform(0.3, 7.0), world.spawn, each)
    await world.people(8.0)
    if world.rng.random() < 0.15:
        await nobody_comes_back(world)
    await world.settle()


async def nobody_comes_back(world: World) -> None:
    """Everything is killed at once and every page is closed: what was acknowledged must be there all the
    same."""
    world.note("nobody comes back")
    for server in world.servers:
        server.kill()
    for tab in world.tabs:
        tab.close_for_good()
    await world.passing(1.0)


def play(seed: int) -> World:
    """Play a seed to its end; raises ``Violation``."""
    return world_of(seed).run(story)
