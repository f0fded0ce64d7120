"""What goes wrong in a world: each trouble is a story of its own beside that of the people.

A trouble ends by itself; ``World.heal`` ends those that are still going on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from notebook_sync.ports import Loaded
from tests.simulation.editor import edit_outside

if TYPE_CHECKING:
    from tests.simulation.engine_world import World
    from tests.simulation.node import Server

Trouble = Callable[["World"], Coroutine[Any, Any, None]]


async def stumbles(world: World) -> None:
    """Requests, answers and messages between nodes are lost now and then, for the whole play."""
    store = world.store
    store.loses_requests = store.loses_answers = world.rng.choice((0.05, 0.2))
    store.loses_messages = world.rng.choice((0.05, 0.3))


async def store_away(world: World) -> None:
    """The store is stopped and started again, as another run on the same data."""
    world.note("store", "down")
    world.store.down = True
    await world.passing(world.rng.uniform(0.3, 6.0))
    world.store_back(restarted=True)


async def store_unreachable(world: World) -> None:
    """Nobody gets through to the store for a while; it goes on."""
    world.note("store", "unreachable")
    world.store.down = True
    await world.passing(world.rng.uniform(0.3, 6.0))
    world.store_back(restarted=False)


async def store_frozen(world: World) -> None:
    """SIGSTOP of the store: requests are carried out when it goes on, also those that nobody waits for."""
    world.note("store", "frozen")
    world.loop.freeze(world.store.process, world.rng.choice((0.5, 3.0, 12.0)))


async def store_full(world: World) -> None:
    """Out of memory: nothing is added."""
    world.note("store", "full")
    world.store.full = True
    await world.passing(world.rng.uniform(0.5, 5.0))
    world.store.full = False


async def store_slow(world: World) -> None:
    """A second for each answer."""
    world.store.slow = 1.0
    await world.passing(world.rng.uniform(2.0, 6.0))
    world.store.slow = 0.0


async def store_set_back(world: World) -> None:
    """It crashes and comes back without its newest entries."""
    world.note("store", "crashes")
    world.store.down = True
    await world.passing(world.rng.uniform(0.2, 2.0))
    loaded = world.store.loaded()
    if isinstance(loaded, Loaded) and loaded.tail:
        lost = world.rng.randint(0, len(loaded.tail))
        world.store.set_back(loaded.cursor.seq - lost)
        world.note("store", "lost", lost, "entries")
    world.store_back(restarted=True)


async def store_emptied(world: World) -> None:
    """FLUSHALL: everything is gone, and no connection notices."""
    world.note("store", "emptied")
    if world.opening():
        # Who asked for a session before and reserves its history after is another document's first.
        world.history_may_end = True
    world.store.flush()
    if world.rng.random() < 0.5:
        world.store_back(restarted=True)


def _some_server(world: World) -> Server | None:
    running = [server for server in world.servers if not server.process.dead]
    return world.rng.choice(running) if running else None


async def server_killed(world: World) -> None:
    """SIGKILL between any two callbacks; it starts again on the same disk."""
    server = _some_server(world)
    if server is not None:
        process = server.process
        process.dies_after = process.ran + world.rng.randint(1, 300)
        await world.passing(world.rng.uniform(0.5, 5.0))
        process.die()
        await world.passing(world.rng.uniform(0.1, 3.0))
        server.start_again()


async def everything_killed(world: World) -> None:
    """All servers and the store at once, and all of it starts again."""
    world.store.down = True
    for server in world.servers:
        server.kill()
    await world.passing(world.rng.uniform(0.2, 2.0))
    world.store_back(restarted=True)
    for server in world.servers:
        await world.passing(world.rng.uniform(0.0, 1.0))
        server.start_again()


async def server_restarted(world: World) -> None:
    """SIGTERM, and a new process."""
    server = _some_server(world)
    if server is not None:
        process = server.process
        server.stop()
        while not process.dead:
            await world.passing(0.2)
        server.start_again()


async def server_frozen(world: World) -> None:
    """SIGSTOP of a server."""
    server = _some_server(world)
    if server is not None:
        world.note("freeze", server.name)
        world.loop.freeze(server.process, world.rng.choice((0.5, 4.0, 14.0, 30.0)))


async def server_cut_off(world: World) -> None:
    """A server can't reach the store; the others can."""
    server = _some_server(world)
    link = server.link if server is not None else None
    if link is not None:
        world.note("cut", repr(link.process))
        link.cut = True
        await world.passing(world.rng.uniform(0.5, 8.0))
        link.restore()


async def folder_full(world: World) -> None:
    """Files can't be written."""
    world.files.disk_full = True
    await world.passing(world.rng.uniform(0.5, 4.0))
    world.files.disk_full = False


async def own_disk_full(world: World) -> None:
    """A server's own disk takes nothing."""
    server = world.rng.choice(world.servers)
    server.disk.full = True
    await world.passing(world.rng.uniform(0.5, 4.0))
    server.disk.full = False


async def outside_edit(world: World) -> None:
    """Another program changes the file."""
    for _ in range(world.rng.randint(1, 3)):
        edit_outside(world)
        await world.passing(world.rng.expovariate(0.8))


ALL: tuple[tuple[Trouble, float], ...] = (
    (stumbles, 0.25),
    (store_away, 0.15),
    (store_unreachable, 0.15),
    (store_frozen, 0.1),
    (store_full, 0.1),
    (store_slow, 0.08),
    (store_set_back, 0.15),
    (store_emptied, 0.12),
    (server_killed, 0.3),
    (everything_killed, 0.08),
    (server_restarted, 0.12),
    (server_frozen, 0.12),
    (server_cut_off, 0.12),
    (folder_full, 0.08),
    (own_disk_full, 0.08),
    (outside_edit, 0.4),
)
"""Each with the chance that a world has it."""


def some(world: World) -> list[Trouble]:
    """What goes wrong in this world; some twice. What is kept in two places is not lost in both at once."""
    chosen = [trouble for trouble, chance in ALL if world.rng.random() < chance]
    if not world.shared:  # nobody else can empty a store of a server's own
        chosen = [trouble for trouble in chosen if trouble is not store_emptied]
    if own_disk_full in chosen:
        chosen = [trouble for trouble in chosen if trouble not in (store_emptied, store_set_back)]
    return chosen + [trouble for trouble in chosen if trouble is not stumbles and world.rng.random() < 0.3]
