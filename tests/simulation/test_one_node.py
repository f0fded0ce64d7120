"""Seeded orders of open, join, edit, leave on one server: nothing lost, nothing doubled.

``COLLAB_SEEDS`` sets how many seeds run, ``COLLAB_SEED`` runs a single one again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from pycrdt import Array

from tests.simulation.world import World

SEEDS = int(os.environ.get("COLLAB_SEEDS", "300"))
ONE = os.environ.get("COLLAB_SEED")


def seeds(first: int) -> Iterable[int]:
    return [int(ONE)] if ONE else range(first, first + SEEDS)


def played(world: World, seconds: float = 6.0, crash: float = 0.0) -> World:
    world.play(seconds, crash=crash)
    world.settle()
    world.check()
    return world


def test_open_join_edit_leave() -> None:
    typed = 0
    for seed in seeds(0):
        typed += len(played(World(seed)).typed)
    assert typed > 5 * len(list(seeds(0)))


def test_with_a_store_that_stumbles() -> None:
    for seed in seeds(100_000):
        played(World(seed, store_trouble=0.3, disk_trouble=0.3))


def test_with_a_server_that_is_killed() -> None:
    for seed in seeds(200_000):
        played(World(seed, store_trouble=0.1), crash=0.05)


def test_with_lost_messages_between_two_servers() -> None:
    for seed in seeds(300_000):
        played(World(seed, nodes_count=2, channel_loss=0.3, store_trouble=0.1))


def test_an_acknowledged_token_is_in_the_store() -> None:
    """At any moment, not only at the end: what a client was told is stored, the store has."""
    for seed in seeds(400_000):
        world = World(seed, store_trouble=0.2)
        for _ in range(20):
            world.play(0.3, crash=0.02)
            told = set().union(*(client.acknowledged for client in world.clients))
            if told:
                text = str(world.store.replay().get("cells", type=Array))
                missing = [token for token in told if token not in text]
                assert not missing, f"seed {seed}: {missing} acknowledged and not in the store"


def test_the_file_is_never_further_behind_than_the_ceiling() -> None:
    world = World(1, slowest=0.02)
    for client in world.clients:
        client.join()
    world.run(2.0)
    behind = []
    for _ in range(200):
        world.clients[1].act()
        world.run(world.now + 0.3)
        behind.append(world.now - world.last_saved)
    assert max(behind[20:]) < 5.0 + 0.3 + 0.1


def test_the_world_itself_is_deterministic() -> None:
    first, second = (played(World(7, store_trouble=0.2)) for _ in range(2))
    assert first.typed == second.typed
    assert first.file == second.file
    assert first.now == second.now


@pytest.mark.parametrize("clients", [2, 30])
def test_all_join_a_cold_room_at_the_same_moment(clients: int) -> None:
    for seed in range(20):
        world = World(seed, clients_count=clients, nodes_count=2)
        for client in world.clients:
            client.join()
        world.settle()
        world.check()
