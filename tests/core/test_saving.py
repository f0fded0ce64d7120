"""The checkpoint timer: a debounce with a ceiling that never forgets an edit."""

from __future__ import annotations

import pytest

from notebook_sync.core.limits import Limits
from notebook_sync.core.saving import Saving

LIMITS = Limits(save_delay=1.0, save_ceiling=5.0, save_retry_first=1.0, save_retry_most=30.0)


@pytest.fixture
def saving() -> Saving:
    return Saving(LIMITS)


def test_nothing_is_due_before_an_edit(saving: Saving) -> None:
    assert saving.due_at() is None
    assert saving.idle


def test_a_pause_of_the_delay_makes_a_checkpoint_due(saving: Saving) -> None:
    saving.edited(1, now=10.0)
    assert saving.due_at() == 11.0
    saving.edited(2, now=10.6)
    assert saving.due_at() == 11.6


def test_steady_typing_is_saved_at_the_ceiling(saving: Saving) -> None:
    for step in range(40):
        saving.edited(step + 1, now=10.0 + 0.3 * step)
    assert saving.due_at() == 15.0


def test_an_edit_during_a_checkpoint_keeps_the_document_dirty(saving: Saving) -> None:
    saving.edited(1, now=10.0)
    saving.started(1, now=11.0)
    assert saving.due_at() is None
    saving.edited(2, now=11.2)
    saving.done(1)
    assert saving.dirty
    assert saving.due_at() == pytest.approx(12.2)


def test_the_ceiling_of_an_edit_during_a_checkpoint_counts_from_that_edit(saving: Saving) -> None:
    saving.edited(1, now=10.0)
    saving.started(1, now=11.0)
    for step in range(40):
        saving.edited(2 + step, now=11.1 + 0.3 * step)
    saving.done(1)
    assert saving.due_at() == pytest.approx(16.1)


def test_failures_are_tried_again_later_each_time_and_capped(saving: Saving) -> None:
    saving.edited(1, now=0.0)
    now, waits = 1.0, []
    for _ in range(8):
        saving.started(1, now)
        saving.failed(now)
        due = saving.due_at()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    saving.started(1, now)
    saving.done(1)
    assert saving.idle
    assert not saving.failing


def test_a_file_that_refuses_for_days_is_still_tried_again(saving: Saving) -> None:
    """Doubled some thousand times, the pause was too large a number, which closed the room."""
    saving.edited(1, now=0.0)
    for _ in range(2000):
        saving.started(1, 0.0)
        saving.failed(0.0)
    assert saving.due_at() == 30.0


def test_without_autosave_only_a_request_saves(saving: Saving) -> None:
    saving.autosave = False
    saving.edited(1, now=0.0)
    assert saving.due_at() is None
    saving.ask()
    assert saving.due_at() == 0.0


def test_after_a_merge_it_looks_again_at_once(saving: Saving) -> None:
    saving.edited(1, now=0.0)
    saving.started(1, now=1.0)
    saving.deferred(now=1.5)
    assert saving.due_at() == 1.5
