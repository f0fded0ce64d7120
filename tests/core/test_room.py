"""The room: people, their frames, the store and the file, as lists of events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from notebook_sync.core import effects as ef
from notebook_sync.core import events as ev
from notebook_sync.core import wire
from notebook_sync.core.ids import ClientId, ConnectionId
from notebook_sync.core.lifecycle import DocumentState
from notebook_sync.core.limits import Limits
from notebook_sync.core.narrow_ids import misread
from notebook_sync.core.roles import Role
from tests.support.rooms import (
    ANNA,
    BEN,
    GENERATION,
    LINEAGE,
    OTHER_LINEAGE,
    OTHER_NODE,
    TUTOR,
    RoomUnderTest,
    frames_to,
    messages_to,
    of,
    raw_to,
    seed_update,
    text_update,
)


def texts(state: bytes) -> str:
    """The root text ``t`` of a document with this state."""
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    return str(doc.get("t", type=Text))


def test_the_server_speaks_first_and_says_who_is_here() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.sends(ANNA, wire.AwarenessUpdate((wire.AwarenessEntry(ClientId(5), 1, "{}"),)))
    step1, awareness = messages_to(world.join(BEN), BEN)
    assert step1 == wire.SyncStep1(world.room.replica.state_vector())
    assert isinstance(awareness, wire.AwarenessUpdate)
    assert [entry.client for entry in awareness.entries] == [5]


def test_while_it_loads_frames_wait_and_are_answered_in_order_then() -> None:
    world = RoomUnderTest(open_now=False)
    assert world.join(ANNA) == []
    assert world.sends(ANNA, wire.SyncStep1(b"\x00")) == []
    assert world.types(ANNA, text_update("hello")) == []
    world.open()
    assert [type(m) for m in messages_to(world.effects, ANNA)] == [wire.SyncStep1, wire.SyncStep2]
    assert str(world.room.replica.doc.get("t", type=Text)) == "hello"


def test_while_it_loads_the_queue_is_bounded_and_the_one_who_overdoes_it_is_sent_away() -> None:
    world = RoomUnderTest(Limits(loading_queue_frames=3), open_now=False)
    world.join(ANNA)
    for _ in range(3):
        assert world.sends(ANNA, wire.SyncStep1(b"\x00")) == []
    (closed,) = of(world.sends(ANNA, wire.SyncStep1(b"\x00")), ef.Disconnect)
    assert (closed.connection, closed.code) == (ANNA, 1013)


def test_an_edit_reaches_the_others_before_it_is_stored_and_its_author_hears_when_it_is() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    update = text_update("hello")
    effects = world.types(ANNA, update)
    assert messages_to(effects, BEN) == [wire.SyncUpdate(update)]
    assert frames_to(effects, ANNA) == []
    kinds = [type(effect) for effect in effects]
    assert kinds.index(ef.Broadcast) < kinds.index(ef.Append)
    assert raw_to(world.stored(effects), ANNA) == [
        {"type": "stored", "n": 1, "level": "redis", "refused": []}
    ]


def test_the_bytes_that_came_are_what_is_passed_on_and_logged() -> None:
    """Also with a gap: an observer's re-encoding would lose what is parked (rule 1)."""
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    doc: Doc[Any] = Doc(client_id=700)
    text = doc.get("t", type=Text)
    updates: list[bytes] = []
    with_observer = doc.observe(lambda event: updates.append(event.update))
    text += "one "
    text += "two "
    doc.unobserve(with_observer)
    effects = world.types(ANNA, updates[1])
    assert messages_to(effects, BEN)[0] == wire.SyncUpdate(updates[1])
    assert of(effects, ef.Append)[0].updates == (updates[1],)


def gapped_room() -> tuple[RoomUnderTest, bytes, bytes]:
    """Anna's second update came, her first is missing."""
    world = saved_room()
    doc: Doc[Any] = Doc(client_id=700)
    text = doc.get("t", type=Text)
    text += "one "
    first = doc.get_update()
    before = doc.get_state()
    text += "two "
    second = doc.get_update(before)
    world.effects.clear()
    world.types(ANNA, second)
    return world, first, second


def test_two_who_hold_each_others_lost_edits_are_each_asked_for_their_own() -> None:
    """After a crash: what a server passed on and did not store yet is with those who heard of it."""
    world = saved_room()
    docs: dict[ConnectionId, Doc[Any]] = {ANNA: Doc(client_id=701), BEN: Doc(client_id=702)}
    for connection, doc in docs.items():
        text = doc.get("t", type=Text)
        text += f"{doc.client_id} "
        entry = wire.AwarenessEntry(ClientId(doc.client_id), 1, "{}")
        world.join(connection)
        world.sends(connection, wire.AwarenessUpdate((entry,)))
    docs[ANNA].apply_update(docs[BEN].get_update())
    docs[BEN].apply_update(docs[ANNA].get_update())
    asked = [(c, wire.SyncStep1(b"\x00")) for c in docs]
    for _ in range(4):  # as long as an answer leads to a question
        effects = [
            effect
            for connection, question in asked
            for effect in world.sends(
                connection, wire.SyncStep2(docs[connection].get_update(question.state_vector))
            )
        ]
        asked = [(c, m) for c in docs for m in messages_to(effects, c) if isinstance(m, wire.SyncStep1)]
    assert asked == []
    assert sorted(str(world.room.replica.doc.get("t", type=Text)).split()) == ["701", "702"]


def test_a_gap_is_asked_for_from_the_store_and_from_everybody_who_may_edit() -> None:
    world, _, _ = gapped_room()
    assert of(world.effects, ef.FetchEntries)
    assert any(isinstance(m, wire.SyncStep1) for m in messages_to(world.effects, ANNA))


def test_a_document_with_a_gap_waits_to_be_saved_and_whoever_joins_gets_what_is_parked() -> None:
    world, first, second = gapped_room()
    assert not of(world.tick_until(world.now + 3.0), ef.Checkpoint)
    world.join(BEN)
    effects = world.sends(BEN, wire.SyncStep1(b"\x00"))
    assert wire.SyncUpdate(second) in messages_to(effects, BEN)
    world.types(ANNA, first)
    assert of(world.tick_until(world.now + 1.0), ef.Checkpoint)
    assert str(world.room.replica.doc.get("t", type=Text)) == "one two "


def test_a_gap_that_nobody_fills_keeps_the_file_back_for_a_moment_only() -> None:
    world, _, _ = gapped_room()
    effects = world.tick_until(world.now + 8.0)
    assert of(effects, ef.Checkpoint)


def test_one_bad_reference_after_the_other_does_not_keep_the_file_back() -> None:
    world, _, _ = gapped_room()
    world.effects.clear()
    for client in range(800, 806):
        doc: Doc[Any] = Doc(client_id=client)
        text = doc.get("t", type=Text)
        text += "one "
        before = doc.get_state()
        text += "two "
        world.types(ANNA, doc.get_update(before))
        world.tick_until(world.now + 1.5)
    assert of(world.effects, ef.Checkpoint)


def test_what_nobody_can_see_for_a_gap_is_not_acknowledged_until_the_gap_is_filled() -> None:
    world, first, _ = gapped_room()
    assert raw_to(world.stored(), ANNA) == []
    world.types(ANNA, first)
    assert raw_to(world.stored(), ANNA)[-1]["n"] == 2


def test_an_empty_step2_is_stored_only_when_what_was_applied_before_it_is() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    update = text_update("typed on a socket that broke")
    world.types(ANNA, update)
    world.tell(ev.Left(ANNA))
    world.join(BEN, user="user1")
    effects = world.sends(BEN, wire.SyncStep2(b"\x00\x00"))
    assert raw_to(effects, BEN) == []
    assert raw_to(world.stored(), BEN) == [{"type": "stored", "n": 1, "level": "redis", "refused": []}]


def test_a_repeated_update_is_neither_passed_on_nor_logged_again() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    update = text_update("hello")
    world.types(ANNA, update)
    world.stored()
    effects = world.types(ANNA, update)
    assert frames_to(effects, BEN) == []
    assert not of(effects, ef.Append)
    assert raw_to(effects, ANNA) == [{"type": "stored", "n": 2, "level": "redis", "refused": []}]


def test_a_viewers_frames_are_dropped_without_a_word_and_counted() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(TUTOR, Role.OBSERVER)
    before = world.room.replica.state_vector()
    for message in (wire.SyncStep2(text_update("step2")), wire.SyncUpdate(text_update("update"))):
        effects = world.sends(TUTOR, message)
        assert not of(effects, ef.Disconnect)
        assert frames_to(effects, ANNA) == []
    assert world.room.replica.state_vector() == before
    assert raw_to(world.effects, TUTOR)[-1]["n"] == 2


def test_whoever_may_edit_from_now_on_is_asked_for_what_was_refused_before() -> None:
    world = RoomUnderTest()
    world.join(TUTOR, Role.OBSERVER)
    effects = world.tell(ev.RoleChanged(TUTOR, Role.TUTOR))
    assert messages_to(effects, TUTOR) == [wire.SyncStep1(world.room.replica.state_vector())]
    world.types(TUTOR, text_update("now"))
    assert str(world.room.replica.doc.get("t", type=Text)) == "now"


def test_a_malformed_update_closes_its_sender_and_changes_nothing() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    before = world.room.replica.state_vector()
    effects = world.types(ANNA, b"\x01\x02\x03")
    (closed,) = of(effects, ef.Disconnect)
    assert (closed.connection, closed.code) == (ANNA, 1007)
    assert closed.reason
    assert frames_to(effects, BEN) == []
    assert world.room.replica.state_vector() == before


def test_new_clocks_under_the_client_id_of_another_live_person_are_refused() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    mine = text_update("mine", client_id=500)
    world.types(ANNA, mine)
    forged = text_update("forged", client_id=500, after=world.room.replica.doc)
    effects = world.types(BEN, forged)
    assert not of(effects, ef.Append)
    assert [type(m) for m in messages_to(effects, ANNA)] == [wire.SyncStep1]
    assert str(world.room.replica.doc.get("t", type=Text)) == "mine"


def test_content_that_comes_back_under_misread_client_ids_is_refused() -> None:
    """y-py keeps 32 bits of an id, and sends the whole document back as if it were its own."""
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    long = 6_629_298_651_489_370
    world.types(ANNA, text_update("once", client_id=long))
    effects = world.sends(BEN, wire.SyncStep2(text_update("once", client_id=misread(long))))
    (closed,) = of(effects, ef.Disconnect)
    assert (closed.connection, closed.code) == (BEN, 1007)
    assert str(world.room.replica.doc.get("t", type=Text)) == "once"
    assert not of(world.types(ANNA, text_update("more", client_id=5)), ef.Disconnect)


def test_one_connection_types_under_a_bounded_number_of_client_ids() -> None:
    world = RoomUnderTest(Limits(max_client_ids_per_connection=3))
    world.join(ANNA)
    for client in range(3):
        assert not of(world.types(ANNA, text_update("x", client_id=600 + client)), ef.Disconnect)
    (closed,) = of(world.types(ANNA, text_update("x", client_id=700)), ef.Disconnect)
    assert (closed.connection, closed.code) == (ANNA, 1008)


def test_an_owner_that_does_not_answer_is_a_dead_socket_and_the_other_is_asked_again() -> None:
    world = RoomUnderTest()
    world.join(ANNA, user="token-1")
    world.types(ANNA, text_update("mine", client_id=500))
    world.join(BEN, user="token-2")  # the same script, come back under another anonymous name
    more = text_update(" more", client_id=500, after=world.room.replica.doc)
    world.types(BEN, more)
    effects = world.tick_until(world.now + 3.0)
    assert wire.SyncStep1(world.room.replica.state_vector()) in messages_to(effects, BEN)
    world.sends(BEN, wire.SyncStep2(more))
    assert str(world.room.replica.doc.get("t", type=Text)) == "mine more"


def test_a_client_of_another_lineage_is_told_and_never_merged() -> None:
    world = RoomUnderTest()
    (closed,) = of(world.join(ANNA, lineage=OTHER_LINEAGE), ef.Disconnect)
    assert closed.code == 1003
    assert json.loads(closed.reason)["reason"] == "unknown_session"
    world = RoomUnderTest(open_now=False)
    world.join(ANNA, lineage=OTHER_LINEAGE)
    world.join(BEN, lineage=LINEAGE)
    world.open()
    assert [(c.connection, c.code) for c in of(world.effects, ef.Disconnect)] == [(ANNA, 1003)]


def test_a_document_that_can_not_be_opened_says_why_to_everybody_and_ends() -> None:
    world = RoomUnderTest(open_now=False)
    world.join(ANNA)
    world.join(BEN)
    effects = world.tell(ev.OpenFailed(4404, "work.ipynb does not exist"))
    assert [(c.connection, c.code) for c in of(effects, ef.Disconnect)] == [(ANNA, 4404), (BEN, 4404)]
    assert of(effects, ef.Finish)


# --- the store ------------------------------------------------------------------------------------


def test_a_store_that_is_away_degrades_the_document_and_the_same_batch_is_sent_again() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    (append,) = of(world.types(ANNA, text_update("a")), ef.Append)
    world.tell(ev.AppendFailed(append.number, "away"))
    assert world.state() is DocumentState.DEGRADED
    more = world.types(ANNA, text_update("b", client_id=501))
    assert messages_to(more, BEN)
    assert raw_to(more, ANNA) == [{"type": "stored", "n": 2, "level": "local", "refused": []}]
    (again,) = of(world.tick_until(world.now + 0.2), ef.Append)
    assert again == append
    world.stored([again])
    assert world.state() is DocumentState.LIVE
    assert raw_to(world.effects, ANNA)[-1]["n"] == 1


def test_another_nodes_entries_are_passed_on_and_not_logged_again() -> None:
    world = saved_room()
    update = text_update("from afar")
    effects = world.tell(ev.EntryArrived(GENERATION, 2, OTHER_NODE, (update,), b"chain--1"))
    assert messages_to(effects, ANNA) == [wire.SyncUpdate(update)]
    assert not of(effects, ef.Append)
    assert world.room.stored
    assert of(world.tick_until(world.now + 6.0), ef.Checkpoint)


def test_a_missing_entry_is_fetched_after_a_moment() -> None:
    world = RoomUnderTest()
    world.tell(ev.EntryArrived(GENERATION, 2, OTHER_NODE, (text_update("2"),), b"chain--2"))
    (fetch,) = of(world.tick_until(world.now + 0.1), ef.FetchEntries)
    assert fetch.seq == 0
    entry = ev.EntryArrived(GENERATION, 1, OTHER_NODE, (text_update("1", 501),), b"chain--1")
    world.tell(ev.LogRead((entry,), trimmed=False))
    assert world.room.seq == 2


def test_a_log_with_another_chain_was_rolled_back_and_is_joined_again() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.types(ANNA, text_update("kept"))
    world.stored()
    effects = world.tell(ev.EntryArrived(GENERATION, 1, OTHER_NODE, (text_update("x"),), b"another!"))
    (load,) = of(effects, ef.Load)
    assert load.lineage == LINEAGE
    assert world.state() is DocumentState.REJOINING
    effects = world.tell(ev.Opened(LINEAGE, GENERATION, seed_update(), (), 0, bytes(8)))
    assert world.state() is DocumentState.LIVE
    (append,) = of(effects, ef.Append)
    restored: Doc[Any] = Doc()
    restored.apply_update(seed_update())
    for update in append.updates:
        restored.apply_update(update)
    assert str(restored.get("t", type=Text)) == "kept"


def test_a_store_that_lost_everything_is_founded_again_from_this_copy() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.types(ANNA, text_update("kept"))
    assert of(world.tell(ev.HistoryChanged()), ef.Load)
    (refound,) = of(world.tell(ev.StoreLost()), ef.Refound)
    assert "kept" in texts(refound.state)
    world.tell(ev.Refounded(GENERATION, refound.position))
    assert world.state() is DocumentState.LIVE
    assert world.room.stored
    assert raw_to(world.effects, ANNA)[-1]["n"] == 1


def test_a_store_with_another_lineage_ends_the_room_and_tells_everybody() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.tell(ev.HistoryChanged())
    effects = world.tell(ev.LineageEnded(OTHER_LINEAGE))
    assert [(c.connection, c.code) for c in of(effects, ef.Disconnect)] == [(ANNA, 1003)]
    assert of(effects, ef.Finish)


def test_a_long_log_is_compacted_once_at_a_time() -> None:
    world = RoomUnderTest(Limits(compact_entries=3))
    world.join(ANNA)
    for n in range(6):
        world.types(ANNA, text_update("x", client_id=600 + n))
        world.stored()
    assert len(of(world.effects, ef.Compact)) == 1
    world.tell(ev.Compacted(world.room.seq))
    for n in range(4):
        world.types(ANNA, text_update("x", client_id=700 + n))
        world.stored()
    assert len(of(world.effects, ef.Compact)) == 2


# --- server edits and the file --------------------------------------------------------------------


def saved_room() -> RoomUnderTest:
    world = RoomUnderTest()
    world.join(ANNA)
    (checkpoint,) = of(world.effects, ef.Checkpoint)
    world.tell(ev.Checkpointed(checkpoint.position, "digest"))
    world.stored()
    return world


def test_after_a_checkpoint_the_document_says_so_once_that_is_stored() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    (checkpoint,) = of(world.effects, ef.Checkpoint)
    effects = world.tell(ev.Checkpointed(checkpoint.position, "digest"))
    assert not messages_to(effects, ANNA)
    assert messages_to(world.stored(), ANNA)
    assert world.room.replica.state() == {
        "hash": "digest",
        "path": "work.ipynb",
        "file_id": "file-1",
        "dirty": False,
    }


def test_saying_that_it_is_saved_does_not_make_it_dirty_again() -> None:
    world = saved_room()
    assert not of(world.tick_until(world.now + 30.0), ef.Checkpoint)
    assert world.room.saved


def test_steady_typing_is_checkpointed_at_the_ceiling_and_the_newest_text_is_in_it() -> None:
    world = saved_room()
    for n in range(30):
        world.types(ANNA, text_update("x", client_id=600 + n))
        world.stored()
        effects = world.tick_until(world.now + 0.3)
        if checkpoints := of(effects, ef.Checkpoint):
            break
    assert n * 0.3 < 5.0
    doc: Doc[Any] = Doc()
    doc.apply_update(checkpoints[0].state)
    assert len(str(doc.get("t", type=Text))) == n + 1


@pytest.mark.parametrize(("outcome", "answer"), [(True, "success"), (False, "failed")])
def test_a_save_request_is_answered_to_its_asker_only_when_the_file_has_what_was_typed(
    outcome: bool, answer: str
) -> None:
    world = saved_room()
    world.join(BEN)
    world.types(ANNA, text_update("x"))
    effects = world.sends(ANNA, wire.SaveRequest(7))
    (checkpoint,) = of(effects, ef.Checkpoint)
    event = (
        ev.Checkpointed(checkpoint.position, "new") if outcome else ev.CheckpointFailed("the disk is full")
    )
    effects = world.tell(event)
    assert {"type": "save", "responseTo": 7, "status": answer} in raw_to(effects, ANNA)
    assert raw_to(effects, BEN) == []


def test_a_save_that_began_before_the_last_key_does_not_answer_for_it() -> None:
    world = saved_room()
    world.types(ANNA, text_update("x"))
    (running,) = of(world.tick_until(world.now + 2.0), ef.Checkpoint)
    world.types(ANNA, text_update("y", client_id=601))
    world.sends(ANNA, wire.SaveRequest(7))
    effects = world.tell(ev.Checkpointed(running.position, "older"))
    assert not any(message["type"] == "save" for message in raw_to(effects, ANNA))
    (second,) = of(effects, ef.Checkpoint)
    effects = world.tell(ev.Checkpointed(second.position, "newer"))
    assert {"type": "save", "responseTo": 7, "status": "success"} in raw_to(effects, ANNA)


def test_an_observers_save_request_is_skipped() -> None:
    world = saved_room()
    world.join(TUTOR, Role.OBSERVER)
    assert raw_to(world.sends(TUTOR, wire.SaveRequest(3)), TUTOR) == [
        {"type": "save", "responseTo": 3, "status": "skipped"}
    ]


def test_what_came_from_the_file_is_in_the_store_before_the_file_is_written_over() -> None:
    world = saved_room()
    effects = world.tell(ev.FileMerged(text_update("from outside")))
    assert not of(effects, ef.Checkpoint)
    assert not messages_to(effects, ANNA)
    effects = world.stored()
    assert of(effects, ef.Checkpoint)
    assert messages_to(effects, ANNA) == [wire.SyncUpdate(text_update("from outside"))]


def test_whoever_was_slow_when_an_edit_of_the_server_was_held_back_gets_it_with_the_rest() -> None:
    """It was in the replica, so it looked as if it had been sent."""
    world = saved_room()
    world.join(BEN)
    world.tell(ev.FileMerged(text_update("from outside")))  # not stored yet, so shown to nobody
    had = world.room.shown_state_vector()
    world.tell(ev.Overflowed(BEN))
    world.stored()
    effects = world.tell(ev.Drained(BEN, had))
    doc: Doc[Any] = Doc()
    doc.apply_update(seed_update())
    for message in messages_to(effects, BEN):
        if isinstance(message, wire.SyncStep2):
            doc.apply_update(message.update)
    assert str(doc.get("t", type=Text)) == "from outside"


def test_a_merge_that_takes_a_cell_away_is_done_again_if_somebody_typed_into_it_since() -> None:
    world = saved_room()
    merge = text_update("from outside")
    effects = world.tell(ev.FileMerged(merge, removed=(("one", "x = 0"),)))
    assert not of(effects, ef.Append)
    assert str(world.room.replica.doc.get("t", type=Text)) == ""
    assert of(effects, ef.Checkpoint)  # at once, from what is there now
    effects = world.tell(ev.FileMerged(merge, removed=(("one", "x = 1"), ("gone", "was here"))))
    assert of(effects, ef.Append)
    assert str(world.room.replica.doc.get("t", type=Text)) == "from outside"


def test_a_checkpoint_that_was_put_off_comes_again_and_asks_the_log_if_it_lacks_something() -> None:
    world = saved_room()
    world.types(ANNA, text_update("x"))
    world.stored()
    (checkpoint,) = of(world.tick_until(world.now + 1.5), ef.Checkpoint)
    world.tell(ev.LogRead((), trimmed=False))
    effects = world.tell(ev.CheckpointDeferred(wait=2.0, behind=True))
    assert not of(effects, ef.Checkpoint)
    effects = world.tick_until(world.now + 1.5)
    assert of(effects, ef.FetchEntries)
    assert not of(effects, ef.Checkpoint)
    (again,) = of(world.tick_until(world.now + 1.0), ef.Checkpoint)
    assert again.position == checkpoint.position


def test_a_view_that_has_nothing_to_write_skips_and_is_not_saved_again() -> None:
    world = saved_room()
    world.types(ANNA, text_update("x"))
    world.stored()
    world.sends(ANNA, wire.SaveRequest(8))
    (checkpoint,) = of(world.effects, ef.Checkpoint)[-1:]
    effects = world.tell(ev.CheckpointSkipped(checkpoint.position))
    assert {"type": "save", "responseTo": 8, "status": "skipped"} in raw_to(effects, ANNA)
    assert not of(world.tick_until(world.now + 20.0), ef.Checkpoint)


def test_autosave_is_off_only_if_everybody_says_so_and_a_request_saves_all_the_same() -> None:
    world = saved_room()
    world.join(BEN)

    def says(connection: ConnectionId, client: int, autosave: bool, clock: int = 1) -> None:
        state = json.dumps({"autosave": autosave})
        entry = wire.AwarenessEntry(ClientId(client), clock, state)
        world.sends(connection, wire.AwarenessUpdate((entry,)))

    says(ANNA, 1, autosave=False)
    says(BEN, 2, autosave=True)
    world.types(ANNA, text_update("x"))
    (checkpoint,) = of(world.tick_until(world.now + 6.0), ef.Checkpoint)
    world.tell(ev.Checkpointed(checkpoint.position, "one"))
    says(BEN, 2, autosave=False, clock=2)
    world.types(ANNA, text_update("y", client_id=601))
    assert not of(world.tick_until(world.now + 20.0), ef.Checkpoint)
    assert of(world.sends(ANNA, wire.SaveRequest(1)), ef.Checkpoint)


def test_edits_of_server_code_are_shown_once_they_are_stored() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.room.replica.doc.get("meta", type=Map)["by"] = "server"
    (edit,) = world.edits
    effects = world.tell(ev.ServerEdited(edit))
    assert not messages_to(effects, ANNA)
    assert messages_to(world.stored(effects), ANNA) == [wire.SyncUpdate(edit)]


# --- the end --------------------------------------------------------------------------------------


def test_the_room_ends_a_while_after_the_last_person_and_not_before_all_is_stored_and_saved() -> None:
    world = saved_room()
    append = of(world.types(ANNA, text_update("last words")), ef.Append)
    world.tell(ev.Left(ANNA))
    assert not of(world.tick_until(world.now + 59.0), ef.Finish)
    assert not of(world.tick_until(world.now + 10.0), ef.Finish)  # not stored yet
    world.stored(append)
    checkpoint = of(world.effects, ef.Checkpoint)[-1]
    assert not of(world.tick_until(world.now + 10.0), ef.Finish)  # not saved yet
    world.tell(ev.Checkpointed(checkpoint.position, "x"))
    world.stored()
    effects = world.tick_until(world.now + 10.0)
    final = of(effects, ef.Checkpoint)
    assert of(effects, ef.Finish) or final


def test_somebody_who_comes_back_in_time_finds_the_room_as_it_was() -> None:
    world = saved_room()
    world.tell(ev.Left(ANNA))
    world.tick_until(world.now + 59.0)
    world.join(BEN)
    assert not of(world.tick_until(world.now + 200.0), ef.Finish)


def test_a_slow_client_gets_no_updates_until_it_is_resynced() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.join(BEN)
    had = world.room.replica.state_vector()
    world.tell(ev.Overflowed(BEN))
    assert frames_to(world.types(ANNA, text_update("missed")), BEN) == []
    effects = world.tell(ev.Drained(BEN, had))
    step2 = messages_to(effects, BEN)[0]
    assert isinstance(step2, wire.SyncStep2)
    doc: Doc[Any] = Doc()
    doc.apply_update(step2.update)
    assert str(doc.get("t", type=Text)) == "missed"
    assert frames_to(world.types(ANNA, text_update("again", client_id=601)), BEN)


def test_leaving_twice_and_unknown_connections_are_harmless() -> None:
    world = RoomUnderTest()
    world.join(ANNA)
    world.tell(ev.Left(ANNA))
    world.tell(ev.Left(ANNA))
    for event in (
        ev.MessageReceived(BEN, wire.SyncStep1(b"\x00"), 1),
        ev.Overflowed(BEN),
        ev.Drained(BEN, b"\x00"),
        ev.RoleChanged(BEN, Role.TUTOR),
    ):
        assert not of(world.tell(event), ef.Disconnect)
