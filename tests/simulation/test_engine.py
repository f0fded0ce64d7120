"""The real engine, in worlds that a seed decides.

``COLLAB_SEEDS`` sets how many seeds run, ``COLLAB_SEED`` runs a single one again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_sync.core.roles import Role
from tests.simulation.engine_world import World
from tests.simulation.oracle import Violation
from tests.simulation.story import SMALL, story, world_of
from tests.simulation.tab import Tab

SEEDS = int(os.environ.get("COLLAB_SEEDS", "2000"))
ONE = os.environ.get("COLLAB_SEED")
BLOCK = 100
TOLD_AT_THE_END = 80


def played(seed: int) -> World:
    """Play a seed; one that fails says how to play it again, and what happened last."""
    world = world_of(seed)
    try:
        return world.run(story)
    except Violation as violation:
        lines = world.trace if ONE else world.trace[-TOLD_AT_THE_END:]
        pytest.fail(
            f"seed {seed}, {len(world.servers)} servers, {', '.join(world.troubles) or 'no trouble'}: "
            f"{violation} {violation.__cause__ or ''}\n"
            f"again, with all that happened: COLLAB_SEED={seed} pytest {Path(__file__).name} -k whatever\n"
            + "\n".join(lines),
            pytrace=False,
        )


@pytest.mark.parametrize("first", [int(ONE)] if ONE else range(0, SEEDS, BLOCK))
def test_nothing_is_lost_or_doubled_whatever_goes_wrong(first: int) -> None:
    for seed in [first] if ONE else range(first, min(first + BLOCK, SEEDS)):
        played(seed)


def test_a_seed_replays_exactly() -> None:
    for seed in (1, 2, 3):
        assert played(seed).trace == played(seed).trace


def test_a_seed_replays_exactly_in_another_process() -> None:
    """Also with another order of sets of strings."""
    program = (
        "import sys; from tests.simulation.story import play; "
        "print(*(play(int(seed)).fingerprint for seed in sys.argv[1:]))"
    )
    seeds = ["4", "5", "6"]
    answers = {
        subprocess.run(
            [sys.executable, "-c", program, *seeds],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(answers) == 1


async def leave_and_come_back(world: World) -> None:
    """Everybody goes for longer than an empty room stays, and then types on."""
    world.begin()
    await world.people(3.0)
    for tab in world.tabs:
        tab.go_offline()
    await world.passing(30.0)
    assert not [room for server in world.servers if server.sync for room in server.sync.registry]
    for tab in world.tabs:
        tab.go_online()
    await world.people(2.0)
    await world.settle()


def test_a_room_that_was_closed_and_opened_again_stores_what_is_typed() -> None:
    for seed in range(5):
        World(seed, limits=SMALL).run(leave_and_come_back)


async def all_at_once(world: World) -> None:
    """Many open a document that nobody has open, in the same moment."""
    for server in world.servers:
        server.start()
    await world.passing(0.5)
    world.tabs += [Tab(world, f"q{number}", Role.PARTICIPANT) for number in range(23)]
    for tab in world.tabs:
        tab.go_online()
    await world.passing(5.0)
    await world.settle()


@pytest.mark.parametrize("servers", [1, 2])
def test_all_join_a_cold_room_at_the_same_moment(servers: int) -> None:
    for seed in range(5):
        World(seed, servers=servers, limits=SMALL).run(all_at_once)


async def typing(world: World) -> None:
    """Somebody types all the time: how far is the file behind?"""
    world.slowest = 0.02
    world.begin()
    await world.passing(3.0)
    writer = world.tabs[1]
    written, since, behind = world.files.writes, world.loop.time(), 0.0
    for _ in range(200):
        writer.act()
        await world.passing(0.3)
        if world.files.writes != written:
            written, since = world.files.writes, world.loop.time()
        behind = max(behind, world.loop.time() - since)
    assert behind < world.limits.save_ceiling + 0.5
    await world.settle()


def test_the_file_is_never_further_behind_than_the_ceiling() -> None:
    World(1, limits=SMALL).run(typing)
