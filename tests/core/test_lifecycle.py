"""The states of a document's life."""

from __future__ import annotations

import itertools

import pytest

from notebook_sync.core.errors import InvariantBroken
from notebook_sync.core.lifecycle import TRANSITIONS, DocumentState, Lifecycle


def reached(state: DocumentState) -> Lifecycle:
    """A lifecycle in ``state``, got there by allowed moves only."""
    paths = {DocumentState.COLD: Lifecycle()}
    frontier: list[list[DocumentState]] = [[DocumentState.COLD]]
    while state not in paths:
        path = frontier.pop(0)
        for target in sorted(TRANSITIONS[path[-1]]):
            if target not in paths:
                lifecycle = Lifecycle()
                for step in [*path[1:], target]:
                    lifecycle.move(step)
                paths[target] = lifecycle
                frontier.append([*path, target])
    return paths[state]


@pytest.mark.parametrize(("start", "target"), list(itertools.product(DocumentState, DocumentState)))
def test_only_moves_of_the_table_are_possible(start: DocumentState, target: DocumentState) -> None:
    lifecycle = reached(start)
    if target is start:
        assert not lifecycle.move(target)
    elif target in TRANSITIONS[start]:
        assert lifecycle.move(target)
        assert lifecycle.state is target
    else:
        with pytest.raises(InvariantBroken, match=f"from {start}"):
            lifecycle.move(target)
        assert lifecycle.state is start


def test_content_is_served_from_live_on() -> None:
    serving = {state for state in DocumentState if reached(state).serving}
    assert serving == set(DocumentState) - {DocumentState.COLD, DocumentState.LOADING}
