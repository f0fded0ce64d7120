"""An edit counts as stored only when a frame that brought it, and all before it, was acknowledged."""

from __future__ import annotations

from jupyter_collab_ext.simulated.own_edits import OwnEdits


def test_updates_on_one_connection() -> None:
    edits = OwnEdits()
    edits.connected()
    edits.sent(1, everything=True)
    for frame in (2, 3, 4):
        edits.made += 1
        edits.sent(frame, everything=False)
    edits.acknowledged(3, None)
    assert (edits.made, edits.stored) == (3, 2)
    edits.acknowledged(4, None)
    assert edits.stored == 3


def test_an_update_before_the_first_step_brings_nothing_of_before() -> None:
    edits = OwnEdits()
    edits.made = 5  # offline
    edits.connected()
    edits.made += 1
    edits.sent(1, everything=False)
    edits.acknowledged(1, None)
    assert edits.stored == 0
    edits.sent(2, everything=True)
    edits.acknowledged(2, None)
    assert edits.stored == 6


def test_a_lost_connection_takes_its_frames_with_it() -> None:
    edits = OwnEdits()
    edits.connected()
    edits.sent(1, everything=True)
    edits.made += 1
    edits.sent(2, everything=False)
    edits.connected()
    edits.acknowledged(2, None)
    assert edits.stored == 0
    edits.sent(1, everything=True)
    edits.acknowledged(1, [])
    assert edits.stored == 1


def test_refused_frames_are_counted() -> None:
    edits = OwnEdits()
    edits.acknowledged(3, [1, 2])
    assert edits.refused == 2
