"""The real engine, in worlds that a seed decides.

``COLLAB_SEEDS`` sets how many seeds run, ``COLLAB_SEED`` runs a single one again.
"""

from __future__ import annotations

import os

from tests.simulation.engine_world import World
from tests.simulation.story import SMALL, play

SEEDS = int(os.environ.get("COLLAB_SEEDS", "300"))
ONE = os.environ.get("COLLAB_SEED")


def test_nothing_is_lost_or_doubled_whatever_goes_wrong() -> None:
    for seed in [int(ONE)] if ONE else range(SEEDS):
        play(seed)


def test_a_seed_replays_exactly() -> None:
    for seed in (1, 2, 3):
        assert play(seed).trace == play(seed).trace


async def leave_and_come_back(world: World) -> None:
    """Everybody goes for longer than an empty room stays, and then types on."""
    world.begin()
    await world.people(3.0)
    for tab in world.tabs:
        tab.go_offline()
    await world.passing(10.0)
    assert not [room for server in world.servers if server.sync for room in server.sync.registry]
    for tab in world.tabs:
        tab.go_online()
    await world.people(2.0)
    await world.settle()


def test_a_room_that_was_closed_and_opened_again_stores_what_is_typed() -> None:
    for seed in range(5):
        World(seed, limits=SMALL).run(leave_and_come_back)
