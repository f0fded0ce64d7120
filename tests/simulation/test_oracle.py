"""The product is broken on purpose, and some seed among the first few says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Doc

from notebook_sync.adapters import memory_store
from notebook_sync.core import wire
from notebook_sync.core.connections import Connected
from notebook_sync.core.document import EMPTY_UPDATE
from notebook_sync.core.intake import Intake
from notebook_sync.core.reconcile import Plan, plan
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
    assert "twice" in caught(play, 300)


def test_another_nodes_checkpoint_that_is_taken_for_an_outside_edit(monkeypatch: Patch) -> None:
    def forgetful(*, ours: object = (), **digests: Any) -> Plan:
        return plan(**digests)

    async def never_behind(edits: OutsideEdits, checkpoint: object) -> bool:
        return False

    monkeypatch.setattr(checkpointer, "plan", forgetful)
    monkeypatch.setattr(OutsideEdits, "behind", never_behind)
    assert "twice" in caught(play, 500)


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
    assert "the store" in caught(play, 300)


def test_a_resync_that_is_dropped(monkeypatch: Patch) -> None:
    drained = Connection._drained

    def forgets(connection: Connection) -> None:
        if connection._dropped:
            connection._has = {}
            connection._dropped = False
        drained(connection)

    monkeypatch.setattr(Connection, "_drained", forgets)
    caught(play, 100)
