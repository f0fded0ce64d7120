"""What this server's own disk has: positions, retries and bounds."""

from __future__ import annotations

from dataclasses import replace

from notebook_sync.core.journaling import Journaling
from notebook_sync.core.limits import Limits


def based(limits: Limits | None = None) -> Journaling:
    """With a snapshot on the disk already."""
    journal = Journaling(replace(limits or Limits(), journal_gather=0.0))
    journal.want_snapshot()
    journal.keeping(0, 0.0)
    journal.kept()
    return journal


def test_nothing_counts_as_recorded_before_there_is_a_snapshot_it_adds_to() -> None:
    journal = Journaling(Limits())
    journal.submit(1, b"a")
    assert journal.next_records(0.0) == ()
    assert journal.recorded == -1
    journal.want_snapshot()
    assert journal.snapshot_due(0.0)
    journal.keeping(1, 0.0)
    assert not journal.snapshot_due(0.0)
    journal.kept()
    assert journal.recorded == 1


def test_all_that_waits_is_one_batch_and_counts_when_it_is_written() -> None:
    journal = based()
    journal.submit(1, b"a")
    journal.submit(2, b"b")
    assert journal.next_records(0.0) == ((1, b"a"), (2, b"b"))
    journal.submit(3, b"c")
    assert journal.next_records(0.0) == ()
    assert journal.recorded == 0
    journal.written()
    assert journal.recorded == 2
    assert journal.next_records(0.0) == ((3, b"c"),)


def test_edits_are_gathered_for_a_moment() -> None:
    journal = Journaling(Limits(journal_gather=0.05))
    journal.want_snapshot()
    journal.keeping(0, 0.0)
    journal.kept()
    journal.submit(1, b"a")
    assert journal.next_records(10.0) == ()
    assert journal.deadline() == 10.05
    journal.submit(2, b"b")
    assert journal.next_records(10.05) == ((1, b"a"), (2, b"b"))


def test_what_the_store_has_needs_no_record() -> None:
    journal = based()
    journal.submit_stored(4, 100)
    assert journal.next_records(0.0) == ()
    assert journal.recorded == 4


def test_what_only_the_store_has_is_on_this_disk_with_the_next_snapshot() -> None:
    journal = based()
    journal.submit(1, b"ours")
    journal.next_records(0.0)
    journal.written()
    journal.submit_stored(2, 100)
    journal.submit(3, b"ours")
    journal.submit_stored(4, 100)
    journal.next_records(0.0)
    journal.written()
    assert (journal.recorded, journal.on_this_disk) == (4, 1)
    journal.want_what_the_store_has()
    assert journal.snapshot_due(0.0)
    journal.keeping(3, 0.0)
    journal.want_what_the_store_has()
    journal.kept()
    assert (journal.recorded, journal.on_this_disk) == (4, 3)
    journal.want_what_the_store_has()
    journal.keeping(4, 0.0)
    journal.submit(5, b"ours")
    journal.kept()
    assert journal.on_this_disk == 4
    journal.next_records(0.0)
    journal.written()
    assert (journal.recorded, journal.on_this_disk) == (5, 5)
    journal.want_what_the_store_has()
    assert not journal.snapshot_due(0.0), "nothing is missing here"


def test_a_disk_that_refuses_is_tried_again_later_each_time_and_is_not_trusted() -> None:
    journal = based()
    journal.submit(1, b"a")
    journal.next_records(0.0)
    journal.not_written(10.0)
    journal.submit(2, b"b")
    assert not journal.trusted
    first = journal.deadline()
    assert first is not None
    assert first > 10.0
    assert journal.next_records(10.0) == ()
    assert journal.next_records(first) == ((1, b"a"), (2, b"b"))
    journal.not_written(first)
    second = journal.deadline()
    assert second is not None
    assert second - first > first - 10.0
    journal.next_records(second)
    journal.written()
    assert journal.trusted
    assert journal.recorded == 2


def test_a_disk_that_does_not_answer_is_not_waited_for_until_it_does() -> None:
    journal = based(Limits(journal_patience=2.0))
    journal.submit(1, b"a")
    journal.next_records(100.0)
    assert journal.deadline() == 102.0
    journal.tick(101.0)
    assert journal.trusted
    journal.tick(102.0)
    assert not journal.trusted
    assert journal.deadline() is None
    journal.written()
    assert journal.trusted


def test_records_that_wait_beyond_the_bound_are_replaced_by_one_snapshot() -> None:
    """The bound is the document's size, however long the disk refuses (rule 27)."""
    journal = based(Limits(pending_window_bytes=10))
    journal.submit(1, b"a" * 6)
    assert not journal.snapshot_due(0.0)
    journal.submit(2, b"b" * 6)
    assert journal.snapshot_due(0.0)
    assert journal.recorded == -1
    journal.keeping(2, 0.0)
    journal.submit(3, b"c")
    journal.kept()
    assert journal.recorded == 2
    assert journal.next_records(0.0) == ((3, b"c"),)


def test_a_snapshot_begun_before_records_were_given_up_does_not_stand_for_them() -> None:
    journal = based(Limits(pending_window_bytes=10))
    journal.want_snapshot()
    journal.keeping(0, 0.0)
    journal.submit(1, b"a" * 11)
    journal.kept()
    assert journal.recorded == -1
    assert journal.snapshot_due(0.0)


def test_a_checkpoint_of_a_big_document_writes_a_snapshot_only_when_enough_was_changed() -> None:
    journal = based(Limits(copy_write_factor=10))
    journal.submit(1, b"a" * 10)
    journal.checkpoint(1000)
    assert not journal.snapshot_due(0.0)
    journal.checkpoint(100)
    assert journal.snapshot_due(0.0)


def test_a_snapshot_that_was_refused_is_tried_again() -> None:
    journal = based()
    journal.want_snapshot()
    journal.keeping(0, 5.0)
    journal.not_kept(5.0)
    due = journal.deadline()
    assert due is not None
    assert due > 5.0
    assert not journal.snapshot_due(5.0)
    assert journal.snapshot_due(due)
