"""The product is broken on purpose, and some seed among the first few says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pycrdt import Doc

from notebook_sync.adapters import memory_store
from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.intake import Intake
from notebook_sync.core.reconcile import Plan, plan
from notebook_sync.core.roles import Role
from notebook_sync.core.update import EMPTY_UPDATE
from notebook_sync.core.update_log import UpdateLog
from notebook_sync.engine import checkpointer
from notebook_sync.engine.connection import Connection
from notebook_sync.engine.outside_edits import OutsideEdits
from tests.simulation.engine_world import World
from tests.simulation.oracle import Violation
from tests.simulation.story import SMALL, play

Patch = pytest.MonkeyPatch


def caught(play: Callable[[int], World], within: int) -> str:
    """What the first seed says that sees the bug; none may need more than ``within`` seeds."""
    for seed in range(within):
        try:
            play(seed)
        except Violation as violation:
            return f"{violation} {violation.__cause__ or ''}"
    pytest.fail(f"{within} seeds saw nothing")


def test_an_append_that_is_skipped(monkeypatch: Patch) -> None:
    submit, calls = UpdateLog.submit, itertools.count(1)

    def skips(log: UpdateLog, update: bytes) -> int:
        return log.submit_stored() if next(calls) % 25 == 0 else submit(log, update)

    monkeypatch.setattr(UpdateLog, "submit", skips)
    assert "the store" in caught(play, 10)


def test_a_foreign_history_that_is_merged(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Connected, "of", lambda connected, lineage: True)
    assert "twice" in caught(lambda seed: World(seed, servers=2, limits=SMALL).run(two_beginnings), 20)


async def two_beginnings(world: World) -> None:
    """Two servers open the same new notebook while the store is away, and people go from one to the other."""
    world.store.well_known()
    world.store.down = True
    world.begin()
    await world.passing(6.0)
    world.store.down = False
    await world.people(6.0)
    await world.settle()


def test_without_that_bug_two_beginnings_end_well() -> None:
    for seed in range(20):
        World(seed, servers=2, limits=SMALL).run(two_beginnings)


def test_another_nodes_checkpoint_that_is_taken_for_an_outside_edit(monkeypatch: Patch) -> None:
    def forgetful(*, ours: object = (), **digests: Any) -> Plan:
        return plan(**digests)

    async def never_behind(edits: OutsideEdits, checkpoint: object) -> bool:
        return False

    monkeypatch.setattr(checkpointer, "plan", forgetful)
    monkeypatch.setattr(OutsideEdits, "behind", never_behind)
    assert "twice" in caught(lambda seed: deaf_world(seed).run(killed_between_file_and_ledger), 20)


def deaf_world(seed: int) -> World:
    """Two servers, one of which hears nothing of the other, and rarely asks the store."""
    return World(seed, servers=2, limits=replace(SMALL, sweep_interval=60.0))


async def killed_between_file_and_ledger(world: World) -> None:
    """One server writes the file and is killed before it can say so; the other has to go on with it."""
    world.store.well_known()
    writer, other = world.servers
    world.homes = {tab.name: writer for tab in world.tabs} | {"p6": other}
    world.begin()
    await world.people(2.0)
    world.store.loses_messages = 1.0
    for tab in world.tabs:
        tab.act()
    written, end = world.files.writes, world.loop.time() + 6.0
    while world.files.writes == written and world.loop.time() < end:
        await world.passing(0.001)
    writer.kill()
    await world.passing(20.0)
    world.homes.clear()
    await world.settle()


def test_without_these_bugs_that_story_ends_well() -> None:
    for seed in range(20):
        deaf_world(seed).run(killed_between_file_and_ledger)


def test_an_empty_answer_that_is_acknowledged_at_once(monkeypatch: Patch) -> None:
    update = Intake.update

    def hasty(intake: Intake, connection: Any, connected: Connected, message: Any, now: float) -> bool:
        if isinstance(message, wire.SyncStep2) and message.update == EMPTY_UPDATE:
            connected.counted(-1)
            return False
        return update(intake, connection, connected, message, now)

    monkeypatch.setattr(Intake, "update", hasty)
    assert "is lost" in caught(lambda seed: World(seed, limits=SMALL).run(nothing_takes_it), 20)


async def nothing_takes_it(world: World) -> None:
    """Store and disk refuse while people type and their sockets break; then all is killed, and nobody
    comes back."""
    world.begin()
    await world.people(3.0)
    world.store.full = True
    world.servers[0].disk.full = True
    await world.people(4.0)
    for tab in world.tabs:
        if tab.socket is not None:
            tab.socket.cut()
    await world.passing(3.0)
    world.servers[0].kill()
    for tab in world.tabs:
        tab.close_for_good()
    await world.settle()


def test_without_the_bug_that_story_ends_well() -> None:
    for seed in range(20):
        World(seed, limits=SMALL).run(nothing_takes_it)


def test_a_log_that_is_compacted_from_memory(monkeypatch: Patch) -> None:
    def from_memory(updates: list[bytes]) -> bytes:
        doc: Doc[Any] = Doc()
        for update in updates:
            doc.apply_update(update)
        return doc.get_update()  # without what waits for what is missing (rule 6)

    monkeypatch.setattr(memory_store, "fold", from_memory)
    assert "the store" in caught(lambda seed: World(seed, limits=SMALL).run(overtaken), 20)


async def overtaken(world: World) -> None:
    """An update comes long after the one that builds on it, and its tab does not hear that it is missed."""
    world.begin()
    await world.people(2.0)
    writers = [tab for tab in world.tabs if tab.connected and tab.member.role is not Role.OBSERVER]
    for tab in writers[:3]:
        if tab.socket is not None:
            tab.socket.stall()
        tab.late = 2.5
        tab.act()
        tab.act()
    await world.people(4.0)
    await world.settle()


def test_without_that_bug_the_story_ends_well() -> None:
    for seed in range(20):
        World(seed, limits=SMALL).run(overtaken)


def test_a_resync_that_is_dropped(monkeypatch: Patch) -> None:
    drained = Connection._drained

    def forgets(connection: Connection) -> None:
        if connection._dropped:
            connection._has = {}
            connection._dropped = False
        drained(connection)

    monkeypatch.setattr(Connection, "_drained", forgets)
    caught(play, 100)
