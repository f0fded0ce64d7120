"""Document against file, by digests."""

from __future__ import annotations

import pytest

from notebook_sync.core.reconcile import Plan, plan


@pytest.mark.parametrize(
    ("base", "document", "file", "ours", "expected"),
    [
        ("a", "a", "a", (), Plan.NOTHING),
        ("a", "b", "b", (), Plan.NOTHING),
        (None, "b", "b", (), Plan.NOTHING),
        ("a", "b", "a", (), Plan.WRITE),
        ("a", "a", "c", (), Plan.MERGE),
        ("a", "b", "c", (), Plan.MERGE),
        (None, "b", "c", (), Plan.MERGE),
        # What a writer announced is ours, old or new: it is written over, never merged (rules 4 and 5).
        ("a", "b", "c", ("c",), Plan.WRITE),
        (None, "b", "c", ("c", "d"), Plan.WRITE),
    ],
)
def test_plan(base: str | None, document: str, file: str, ours: tuple[str, ...], expected: Plan) -> None:
    assert plan(base=base, document=document, file=file, ours=ours) is expected
