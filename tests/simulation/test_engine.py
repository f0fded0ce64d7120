"""The real engine, in worlds that a seed decides."""

from __future__ import annotations

from tests.simulation.engine_world import World


async def calm(world: World) -> None:
    world.begin()
    await world.people(6.0)
    await world.settle()


def test_calm() -> None:
    import time

    started = time.time()
    for seed in range(20):
        w = World(seed).run(calm)
    print((time.time() - started) / 20, len(w.oracle.tokens), w.loop.time())
