"""What every file ledger must do."""

from __future__ import annotations

from notebook_sync.core.ids import DocumentId, Generation, NodeId
from notebook_sync.ports import FileRecord, Intent
from tests.contracts.conftest import HERE, Ports

D = DocumentId("a" * 32)
G = Generation("3" * 32)


def intent(number: int, node: NodeId = HERE) -> Intent:
    return Intent(f"digest{number}", node, G, number, 1)


async def test_nothing_is_known_at_first(ports: Ports) -> None:
    assert await ports.ledger.record(D, "folder") == FileRecord()


async def test_the_last_common_content_replaces_the_one_before_and_intents_stay(ports: Ports) -> None:
    await ports.ledger.intend(D, "folder", intent(1))
    await ports.ledger.common(D, "folder", "one", b"\x00base one")
    await ports.ledger.common(D, "folder", "two", b"\x00base two")
    assert await ports.ledger.record(D, "folder") == FileRecord("two", b"\x00base two", (intent(1),))


async def test_the_newest_intents_are_kept_and_their_number_is_bounded(ports: Ports) -> None:
    for number in range(40):
        await ports.ledger.intend(D, "folder", intent(number))
    record = await ports.ledger.record(D, "folder")
    assert record.intents == tuple(intent(number) for number in range(39, 23, -1))


async def test_an_intent_of_a_node_that_was_frozen_is_kept(ports: Ports) -> None:
    frozen = intent(0, NodeId("frozen"))
    await ports.ledger.intend(D, "folder", intent(1, NodeId("frozen")))
    await ports.ledger.intend(D, "folder", frozen)
    for number in range(40):
        await ports.ledger.intend(D, "folder", intent(number))
    record = await ports.ledger.record(D, "folder")
    assert record.intents == (*(intent(number) for number in range(39, 23, -1)), frozen)


async def test_intents_of_many_nodes_are_bounded(ports: Ports) -> None:
    for number in range(80):
        await ports.ledger.intend(D, "folder", intent(number, NodeId(f"node{number}")))
    record = await ports.ledger.record(D, "folder")
    assert record.intents == tuple(intent(n, NodeId(f"node{n}")) for n in range(79, 15, -1))


async def test_the_cells_ever_seen_stay_until_others_are_named(ports: Ports) -> None:
    await ports.ledger.common(D, "folder", "one", b"base one", ["a-1", "b_2"])
    await ports.ledger.common(D, "folder", "two", b"base two")
    assert (await ports.ledger.record(D, "folder")).seen == ("a-1", "b_2")
    await ports.ledger.common(D, "folder", "three", b"base three", ["b_2", "c"])
    assert await ports.ledger.record(D, "folder") == FileRecord("three", b"base three", (), ("b_2", "c"))


async def test_folders_are_apart(ports: Ports) -> None:
    await ports.ledger.common(D, "folder", "one", b"base")
    assert await ports.ledger.record(D, "elsewhere") == FileRecord()
