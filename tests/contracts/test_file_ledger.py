"""What every file ledger must do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notebook_sync.adapters.local_ledger import LocalFileLedger
from notebook_sync.adapters.memory_ledger import MemoryFileLedger
from notebook_sync.adapters.memory_local_ledger import MemoryLocalLedger
from notebook_sync.adapters.mirrored_ledger import MirroredLedger
from notebook_sync.adapters.redis_connection import connect
from notebook_sync.adapters.redis_ledger import RedisFileLedger
from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.ports import FileEdit, FileLedger, FileRecord, Intent
from tests.contracts.conftest import HERE, LIMITS

D = DocumentId("a" * 32)
G = Generation("3" * 32)


_namespaces = itertools.count()


@pytest.fixture(params=["memory", "valkey", "redis", "memory disk", "disk", "mirrored"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FileLedger]:
    match request.param:
        case "memory":
            yield MemoryFileLedger()
        case "memory disk":
            yield MemoryLocalLedger()
        case "disk" | "mirrored":
            async with LocalFileLedger(tmp_path / "ledger", LIMITS) as disk:
                yield disk if request.param == "disk" else MirroredLedger(MemoryFileLedger(), disk, LIMITS)
        case name:
            namespace = f"ledger{next(_namespaces)}"
            client = await connect(request.getfixturevalue(name).url, LIMITS, namespace=namespace)
            yield RedisFileLedger(client, namespace)
            await client.aclose()


def intent(number: int, node: NodeId = HERE) -> Intent:
    return Intent(f"digest{number}", node, G, number, 1)


async def test_nothing_is_known_at_first(ledger: FileLedger) -> None:
    assert await ledger.record(D, "folder") == FileRecord()


async def test_the_last_common_content_replaces_the_one_before_and_intents_stay(ledger: FileLedger) -> None:
    await ledger.intend(D, "folder", intent(1))
    await ledger.common(D, "folder", "one", b"\x00base one")
    await ledger.common(D, "folder", "two", b"\x00base two")
    assert await ledger.record(D, "folder") == FileRecord("two", b"\x00base two", (intent(1),))


async def test_what_is_being_taken_in_is_known_until_something_is_common(ledger: FileLedger) -> None:
    edit = FileEdit("edited", b"\x00base\nedited", ("a", "b-1"))
    await ledger.taking(D, "folder", FileEdit("before", b"base"))
    await ledger.taking(D, "folder", edit)
    assert await ledger.record(D, "folder") == FileRecord(taking=edit)
    await ledger.common(D, "folder", "one", b"base one", ["a"])
    assert await ledger.record(D, "folder") == FileRecord("one", b"base one", seen=("a",))
    await ledger.taking(D, "folder", edit)
    assert await ledger.record(D, "folder") == FileRecord("one", b"base one", seen=("a",), taking=edit)


async def test_the_newest_intents_are_kept_and_their_number_is_bounded(ledger: FileLedger) -> None:
    for number in range(40):
        await ledger.intend(D, "folder", intent(number))
    record = await ledger.record(D, "folder")
    assert record.intents == tuple(intent(number) for number in range(39, 23, -1))


async def test_an_intent_of_a_node_that_was_frozen_is_kept(ledger: FileLedger) -> None:
    frozen = intent(0, NodeId("frozen"))
    await ledger.intend(D, "folder", intent(1, NodeId("frozen")))
    await ledger.intend(D, "folder", frozen)
    for number in range(40):
        await ledger.intend(D, "folder", intent(number))
    record = await ledger.record(D, "folder")
    assert record.intents == (*(intent(number) for number in range(39, 23, -1)), frozen)


async def test_intents_of_many_nodes_are_bounded(ledger: FileLedger) -> None:
    for number in range(80):
        await ledger.intend(D, "folder", intent(number, NodeId(f"node{number}")))
    record = await ledger.record(D, "folder")
    assert record.intents == tuple(intent(n, NodeId(f"node{n}")) for n in range(79, 15, -1))


async def test_the_cells_ever_seen_stay_until_others_are_named(ledger: FileLedger) -> None:
    await ledger.common(D, "folder", "one", b"base one", ["a-1", "b_2"])
    await ledger.common(D, "folder", "two", b"base two")
    assert (await ledger.record(D, "folder")).seen == ("a-1", "b_2")
    await ledger.common(D, "folder", "three", b"base three", ["b_2", "c"])
    assert await ledger.record(D, "folder") == FileRecord("three", b"base three", (), ("b_2", "c"))


async def test_folders_are_apart(ledger: FileLedger) -> None:
    await ledger.common(D, "folder", "one", b"base")
    assert await ledger.record(D, "elsewhere") == FileRecord()
