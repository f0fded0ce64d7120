"""A room whose store is away, was lost, or was set back; and one whose own disk fails."""

from __future__ import annotations

from typing import Any

from pycrdt import Doc, Map, Text

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.ids import ConnectionId, Generation, UserId
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.limits import Limits
from notebook_sync.core.replica import SEED_MARK, STATE
from notebook_sync.core.roles import Member, Role
from tests.support.rooms import (
    ANNA,
    BEN,
    GENERATION,
    LINEAGE,
    OTHER_LINEAGE,
    OTHER_NODE,
    RoomUnderTest,
    messages_to,
    of,
    raw_to,
    seed_update,
    text_update,
)

OTHER_GENERATION = Generation("d" * 32)


def text_of(*states: bytes) -> str:
    doc: Doc[Any] = Doc()
    for state in states:
        doc.apply_update(state)
    return str(doc.get("t", type=Text))


def told(effects: list[ef.Effect], connection: ConnectionId = ANNA) -> list[tuple[object, object]]:
    """The acknowledgements in these effects: (level, n)."""
    return [(m["level"], m["n"]) for m in raw_to(effects, connection) if m["type"] == "stored"]


def degraded(world: RoomUnderTest) -> ef.Append:
    """Anna typed a word, and the store did not take it."""
    (append,) = of(world.types(ANNA, text_update("first")), ef.Append)
    world.tell(ev.AppendFailed(append.number, "the store does not answer"))
    return append


def marked_seed(lineage: str) -> bytes:
    """The first content of a document as the codec makes it: the mark is written last."""
    doc: Doc[Any] = Doc(client_id=98)
    text = doc.get("t", type=Text)
    text += "from the file"
    doc.get(STATE, type=Map)[SEED_MARK] = lineage
    return doc.get_update()


# --- levels ----------------------------------------------------------------------------------------


def test_an_update_counts_as_stored_when_the_store_and_this_disk_have_it() -> None:
    """So that a store that is set back costs nothing while this disk lives (rule 15)."""
    world = RoomUnderTest(disk=False)
    world.tell(ev.CopyKept())
    world.join(ANNA)
    effects = world.types(ANNA, text_update("word"))
    assert of(effects, ef.Record)
    assert of(effects, ef.Append)
    assert told(world.stored(effects)) == []
    assert told(world.tell(ev.Recorded())) == [("redis", 1)]


def test_a_disk_that_refuses_keeps_nothing_from_being_stored() -> None:
    world = RoomUnderTest(disk=False)
    world.tell(ev.CopyKept())
    world.join(ANNA)
    effects = world.types(ANNA, text_update("word"))
    world.tell(ev.RecordFailed("no space left"))
    assert told(world.stored(effects)) == [("redis", 1)]


def test_with_neither_store_nor_disk_nothing_is_acknowledged_and_people_are_told() -> None:
    world = RoomUnderTest(disk=False)
    world.tell(ev.CopyKept())
    member = Member(UserId("anna"), Role.PARTICIPANT, {})
    world.tell(ev.Joined(ANNA, member, frozenset({"stored", "status"}), None))
    degraded(world)
    effects = world.tell(ev.RecordFailed("no space left"))
    assert told(world.effects) == []
    assert raw_to(effects, ANNA)[-1] == {
        "type": "status",
        "state": "degraded",
        "stored": "nothing",
        "reason": "the store does not answer",
    }


def test_local_means_this_disk_also_for_what_another_server_typed() -> None:
    """Only the store had it here, and that may come back empty."""
    world = RoomUnderTest(disk=False)
    world.tell(ev.CopyKept())
    world.join(ANNA)
    theirs = text_update("theirs", client_id=501)
    world.tell(ev.EntryArrived(GENERATION, 1, OTHER_NODE, (theirs,), b"\x01" * 8))
    degraded(world)
    _, kept = of(world.effects, ef.KeepCopy)
    assert "theirs" in text_of(kept.state)
    assert told(world.tell(ev.Recorded())) == []
    assert told(world.tell(ev.CopyKept())) == [("local", 1)]


def test_each_level_counts_for_itself_and_the_stores_follows_when_it_is_back() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    append = degraded(world)
    world.types(ANNA, text_update("second", client_id=501))
    assert told(world.effects) == [("local", 1), ("local", 2)]
    effects = world.stored([append])
    assert world.state() is DocumentState.LIVE
    assert told(effects) == [("redis", 1)]
    assert told(world.stored(effects)) == [("redis", 2)]


def test_people_who_ask_are_told_of_each_state_and_at_once_when_they_join() -> None:
    world = RoomUnderTest()
    member = Member(UserId("anna"), Role.PARTICIPANT, {})
    joined = world.tell(ev.Joined(ANNA, member, frozenset({"status"}), None))
    assert [(m["state"], m["stored"]) for m in raw_to(joined, ANNA)] == [("live", "redis")]
    append = degraded(world)
    assert raw_to(world.effects, ANNA)[-1]["state"] == "degraded"
    assert raw_to(world.effects, ANNA)[-1]["stored"] == "local"
    world.stored([append])
    assert raw_to(world.effects, ANNA)[-1]["state"] == "live"


def test_a_store_that_no_sweep_reaches_degrades_a_document_that_nobody_edits() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    assert of(world.tick_until(world.now + 0.2), ef.FetchEntries)
    world.tell(ev.LogUnreadable("the store does not answer", away=True))
    assert world.state() is DocumentState.DEGRADED
    assert of(world.tick_until(world.now + 6.0), ef.FetchEntries)
    world.tell(ev.LogRead((), trimmed=False))
    assert world.state() is DocumentState.LIVE


# --- this disk and the store -----------------------------------------------------------------------


def test_what_only_this_disk_has_goes_to_the_store_when_the_document_is_opened() -> None:
    """This server ended before the store had it, or the store was set back since (rule 15)."""
    world = RoomUnderTest(open_now=False)
    local = (text_update("only here"),)
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8), local))
    (append,) = of(effects, ef.Append)
    assert text_of(*append.updates) == "only here"


def test_records_of_this_disk_go_to_the_store_as_they_were_made_in_whatever_order_they_lie_there() -> None:
    """Those of several servers lie one after the other, so one may come before what it builds on."""
    doc: Doc[Any] = Doc(client_id=700)
    text = doc.get("t", type=Text)
    text += "one "
    first, before = doc.get_update(), doc.get_state()
    text += "two "
    second = doc.get_update(before)
    world = RoomUnderTest(open_now=False)
    effects = world.tell(
        ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8), (seed_update(), second, first))
    )
    (append,) = of(effects, ef.Append)
    assert append.updates == (second, first)
    assert text_of(world.room.replica.diff()) == "one two "


def test_what_the_store_has_already_is_not_given_to_it_again() -> None:
    world = RoomUnderTest(open_now=False)
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8), (seed_update(),)))
    assert not of(effects, ef.Append)


def test_who_adds_nothing_to_what_came_from_this_disk_is_acknowledged() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA)
    world.tell(
        ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8), (text_update("only on the disk"),))
    )
    world.sends(ANNA, wire.SyncStep2(b"\x00\x00"))
    world.stored()
    assert told(world.effects) == [("redis", 1)]


def test_a_document_opens_from_this_disk_while_the_store_is_away_and_both_are_merged_then() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA)
    effects = world.tell(ev.OpenedLocally(LINEAGE, (seed_update(),), provisional=False))
    assert world.state() is DocumentState.DEGRADED
    assert of(effects, ef.Load)
    assert messages_to(effects, ANNA)
    effects = world.types(ANNA, text_update("typed meanwhile"))
    assert not of(effects, ef.Append)
    assert told(world.effects) == [("local", 1)]
    afar = text_update("from afar ", client_id=700)
    entry = ev.EntryArrived(GENERATION, 1, OTHER_NODE, (afar,), b"chain--1")
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (entry,), 1, b"chain--1"))
    assert world.state() is DocumentState.LIVE
    (append,) = of(effects, ef.Append)
    assert text_of(seed_update(), *append.updates) == "typed meanwhile"
    assert "from afar" in text_of(
        *(m.update for m in messages_to(effects, ANNA) if isinstance(m, wire.SyncUpdate))
    )


def test_a_client_that_adds_nothing_is_acknowledged_only_when_the_store_has_what_it_relied_on() -> None:
    """Rule 2, across an outage: what it has is in this replica, and not in the store yet."""
    world = RoomUnderTest(open_now=False)
    world.tell(ev.OpenedLocally(LINEAGE, (seed_update(), text_update("relied on")), provisional=False))
    world.join(ANNA)
    world.sends(ANNA, wire.SyncStep2(b"\x00\x00"))
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8)))
    assert ("redis", 1) not in told(world.effects)
    assert ("redis", 1) in told(world.stored(effects))


def test_a_window_at_its_bound_gives_way_to_one_update_of_the_same_content() -> None:
    world = RoomUnderTest(Limits(pending_window_bytes=100))
    world.join(ANNA)
    degraded(world)
    for number in range(30):
        assert not of(world.types(ANNA, text_update(f"w{number} ", client_id=600 + number)), ef.Disconnect)
    assert of(world.effects, ef.Load)
    assert not world.room.stored
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8)))
    appended = list(of(effects, ef.Append)[0].updates)
    while not world.room.stored:
        effects = world.stored(effects)
        appended += [u for append in of(effects, ef.Append) for u in append.updates]
    text = text_of(seed_update(), *appended)
    assert [f"w{number} " in text for number in range(30)] == [True] * 30
    assert told(world.effects)[-1] == ("redis", 31)


def test_a_store_that_was_set_back_takes_its_acknowledgements_back() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.types(ANNA, text_update("kept"))
    world.stored()
    world.tell(ev.EntryArrived(GENERATION, 1, OTHER_NODE, (text_update("x"),), b"another!"))
    effects = world.tell(ev.Opened(LINEAGE, OTHER_GENERATION, seed_update(), (), 0, bytes(8)))
    assert {"type": "reset", "level": "redis"} in raw_to(effects, ANNA)
    assert wire.SyncStep1 in [type(m) for m in messages_to(effects, ANNA)]
    world.sends(ANNA, wire.SyncStep2(b"\x00\x00"))
    assert told(world.stored(effects))[-1] == ("redis", 2)


def test_a_damaged_copy_of_a_lost_document_is_rebuilt_from_this_disk() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.types(ANNA, text_update("kept"))
    world.stored()
    world.tell(ev.HistoryChanged())
    effects = world.tell(ev.StoreLost((text_update("by a server that died", client_id=900),)))
    (refound,) = of(effects, ef.Refound)
    assert "kept" in text_of(refound.state)
    assert "by a server that died" in text_of(refound.state)


def test_a_window_that_is_dropped_while_the_store_is_given_a_lost_document_is_given_too() -> None:
    world = RoomUnderTest(Limits(pending_window_bytes=100))
    world.join(ANNA)
    degraded(world)
    world.tell(ev.HistoryChanged())
    (refound,) = of(world.tell(ev.StoreLost(())), ef.Refound)
    for number in range(30):
        world.types(ANNA, text_update(f"w{number} ", client_id=600 + number))
    effects = world.tell(ev.Refounded(OTHER_GENERATION, refound.position))
    assert not world.room.stored
    assert of(effects, ef.Load)
    effects = world.tell(ev.Opened(LINEAGE, OTHER_GENERATION, refound.state, (), 0, bytes(8)))
    appended = [u for append in of(effects, ef.Append) for u in append.updates]
    assert all(f"w{number} " in text_of(refound.state, *appended) for number in range(30))


# --- lineages --------------------------------------------------------------------------------------


def test_a_replica_whose_history_ended_is_handed_over_before_the_room_ends() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.types(ANNA, text_update("not in the other history"))
    effects = world.tell(ev.LineageEnded(OTHER_LINEAGE))
    (outlived,) = of(effects, ef.Outlived)
    assert (outlived.lineage, outlived.provisional) == (LINEAGE, False)
    assert "not in the other history" in text_of(outlived.state)


def test_a_provisional_document_is_carried_over() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA, lineage=LINEAGE)
    world.tell(ev.OpenedLocally(LINEAGE, (seed_update(),), provisional=True))
    world.types(ANNA, text_update("meanwhile"))
    effects = world.tell(ev.LineageEnded(OTHER_LINEAGE))
    (outlived,) = of(effects, ef.Outlived)
    assert outlived.provisional
    assert [(c.connection, c.code) for c in of(effects, ef.Disconnect)] == [(ANNA, 1003)]


def test_a_client_of_another_history_is_sent_to_try_again_while_only_the_store_can_say_which_is_right() -> (
    None
):
    world = RoomUnderTest(open_now=False)
    world.tell(ev.OpenedLocally(LINEAGE, (seed_update(),), provisional=True))
    effects = world.join(ANNA, lineage=OTHER_LINEAGE)
    assert [close.code for close in of(effects, ef.Disconnect)] == [1013]


def test_what_a_client_of_another_history_sends_before_it_knows_is_not_merged() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA, lineage=OTHER_LINEAGE)
    world.types(ANNA, text_update("while it loads", client_id=700))
    world.open()
    effects = world.types(ANNA, text_update("before the close arrives", client_id=701))
    assert str(world.room.replica.doc.get("t", type=Text)) == ""
    assert not of([*world.effects, *effects], ef.Append)


def test_a_client_that_has_all_of_the_first_content_can_give_a_lost_document_back() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA, lineage=LINEAGE)
    world.join(BEN)
    effects = world.tell(ev.SeedsWanted())
    assert messages_to(effects, ANNA) == [wire.SyncStep1(b"\x00")]
    assert messages_to(effects, BEN) == []
    effects = world.sends(ANNA, wire.SyncStep2(marked_seed(LINEAGE)))
    assert of(effects, ef.OfferSeed) == [ef.OfferSeed(LINEAGE, marked_seed(LINEAGE))]


def test_a_tab_that_was_still_loading_can_not_found_a_document_as_a_blank_one() -> None:
    world = RoomUnderTest(open_now=False)
    world.tell(ev.SeedsWanted())
    assert messages_to(world.join(ANNA, lineage=LINEAGE), ANNA) == [wire.SyncStep1(b"\x00")]
    assert not of(world.sends(ANNA, wire.SyncStep2(b"\x00\x00")), ef.OfferSeed)
    assert not of(world.sends(ANNA, wire.SyncStep2(marked_seed(OTHER_LINEAGE))), ef.OfferSeed)
    assert not of(world.sends(ANNA, wire.SyncStep2(b"\x01\x02\x03")), ef.OfferSeed)


def test_a_viewer_is_not_asked_and_not_heard() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA, role=Role.OBSERVER, lineage=LINEAGE)
    assert messages_to(world.tell(ev.SeedsWanted()), ANNA) == []
    assert not of(world.sends(ANNA, wire.SyncStep2(marked_seed(LINEAGE))), ef.OfferSeed)


def test_a_window_dropped_while_the_store_is_founded_again_is_not_taken_for_stored() -> None:
    world = RoomUnderTest(Limits(pending_window_bytes=100))
    world.join(ANNA)
    (refound,) = of(world.tell(ev.HistoryChanged()) + world.tell(ev.StoreLost()), ef.Refound)
    for number in range(10):
        world.types(ANNA, text_update(f"w{number} ", client_id=600 + number))
    effects = world.tell(ev.Refounded(OTHER_GENERATION, refound.position))
    assert not world.room.stored
    assert of(effects, ef.Load)
    effects = world.tell(ev.Opened(LINEAGE, OTHER_GENERATION, refound.state, (), 0, bytes(8)))
    assert "w0 " in text_of(refound.state, *of(effects, ef.Append)[0].updates)
