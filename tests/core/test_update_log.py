"""What is applied, what is durable, what comes next."""

from __future__ import annotations

from notebook_sync.core.ids import Generation, Lineage
from notebook_sync.core.limits import Limits
from notebook_sync.core.update_log import UpdateLog

LIMITS = Limits(
    append_batch_updates=3, append_batch_bytes=100, pending_window_bytes=50, recent_chain_values=4
)
L, G, G2 = Lineage("l" * 32), Generation("g" * 32), Generation("h" * 32)


def chain(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def new_log() -> UpdateLog:
    log = UpdateLog(LIMITS)
    log.follow(L, G, 0, bytes(8))
    return log


def test_one_batch_in_flight_and_the_rest_makes_the_next() -> None:
    log = new_log()
    log.submit(b"a")
    first = log.next_batch()
    assert first is not None
    assert first.updates == (b"a",)
    log.submit(b"b")
    log.submit(b"c")
    assert log.next_batch() is None
    assert log.acknowledged(first.number, 1, chain(1))
    second = log.next_batch()
    assert second is not None
    assert second.updates == (b"b", b"c")
    assert second.number > first.number


def test_a_position_is_durable_only_when_all_before_it_are() -> None:
    log = new_log()
    log.submit(b"a")
    batch = log.next_batch()
    nothing_new = log.applied  # a frame that changed nothing stands here (rule 2)
    stored_elsewhere = log.submit_stored()
    assert log.durable < nothing_new
    assert batch is not None
    log.acknowledged(batch.number, 1, chain(1))
    assert log.durable == stored_elsewhere
    assert log.settled


def test_batches_are_bounded_in_number_and_bytes() -> None:
    log = new_log()
    for _ in range(5):
        log.submit(b"x")
    batch = log.next_batch()
    assert batch is not None
    assert len(batch.updates) == 3
    log = new_log()
    log.submit(b"x" * 99)
    log.submit(b"y" * 99)
    batch = log.next_batch()
    assert batch is not None
    assert batch.updates == (b"x" * 99,)


def test_an_update_larger_than_a_batch_goes_alone() -> None:
    log = new_log()
    log.submit(b"x" * 1000)
    batch = log.next_batch()
    assert batch is not None
    assert batch.updates == (b"x" * 1000,)


def test_the_window_is_full_at_its_bound_and_empties_with_acknowledgements() -> None:
    log = new_log()
    log.submit(b"x" * 50)
    assert log.full
    batch = log.next_batch()
    assert batch is not None
    log.acknowledged(batch.number, 1, chain(1))
    assert not log.full
    assert log.window_bytes == 0


def test_an_acknowledgement_of_another_batch_is_ignored() -> None:
    log = new_log()
    log.submit(b"a")
    batch = log.next_batch()
    assert batch is not None
    assert not log.acknowledged(batch.number + 1, 1, chain(1))
    assert log.durable == 0


def test_entries_out_of_order_leave_a_gap_until_it_is_filled() -> None:
    log = new_log()
    assert log.seen(2, chain(2))
    assert log.gap
    assert log.seq == 0
    assert log.seen(1, chain(1))
    assert not log.gap
    assert (log.seq, log.chain) == (2, chain(2))
    assert not log.seen(2, chain(2))


def test_another_chain_value_for_a_known_entry_is_a_rolled_back_log() -> None:
    log = new_log()
    log.seen(1, chain(1))
    assert not log.contradicts(1, chain(1))
    assert log.contradicts(1, b"otherone")
    assert not log.contradicts(2, b"otherone")


def test_another_generation_puts_the_batch_in_flight_back_in_order() -> None:
    log = new_log()
    log.submit(b"a")
    log.submit(b"b")
    old = log.next_batch()
    log.submit(b"c")
    log.follow(L, G2, 7, chain(7))
    assert log.unstored() == [b"a", b"b", b"c"]
    new = log.next_batch()
    assert old is not None
    assert new is not None
    assert new.updates == (b"a", b"b", b"c")
    assert new.number != old.number
    assert not log.acknowledged(old.number, 8, chain(8))


def test_the_same_generation_keeps_the_batch_in_flight() -> None:
    log = new_log()
    log.submit(b"a")
    batch = log.next_batch()
    log.follow(L, G, 3, chain(3))
    assert batch is not None
    assert log.acknowledged(batch.number, 4, chain(4))
    assert log.settled


def test_founding_again_stores_what_the_seed_covered() -> None:
    log = new_log()
    log.submit(b"a")
    log.next_batch()
    covered = log.submit(b"b")
    log.submit(b"c")
    log.refounded(covered)
    assert log.unstored() == [b"c"]
    assert log.durable == covered
