"""Folding a log keeps everything, whatever order it came in."""

from __future__ import annotations

import random
from typing import Any

from pycrdt import Doc, Text

from notebook_sync.adapters.compaction import fold


def typed(words: int, seed: int = 0) -> tuple[list[bytes], str]:
    """Updates of two people who type and erase, and the text they end with."""
    rng = random.Random(seed)
    docs: list[Doc[Any]] = [Doc(), Doc()]
    updates: list[bytes] = []
    for number in range(words):
        doc = rng.choice(docs)
        before = doc.get_state()
        text = doc.get("t", type=Text)
        if len(text) > 20 and rng.random() < 0.3:
            del text[3:9]
        else:
            text.insert(rng.randint(0, len(text)), f"w{number} ")
        updates.append(doc.get_update(before))
        for other in docs:
            other.apply_update(updates[-1])
    return updates, str(docs[0].get("t", type=Text))


def text_of(*updates: bytes) -> str:
    doc: Doc[Any] = Doc()
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("t", type=Text))


def test_in_order() -> None:
    updates, text = typed(200)
    assert text_of(fold(updates)) == text


def test_out_of_order_and_repeated() -> None:
    for seed in range(20):
        updates, text = typed(60, seed)
        shuffled = updates + updates[10:20]
        random.Random(seed).shuffle(shuffled)
        assert text_of(fold(shuffled)) == text


def test_with_any_one_missing_nothing_is_lost_once_it_comes() -> None:
    updates, text = typed(25)
    for missing in range(len(updates)):
        rest = updates[:missing] + updates[missing + 1 :]
        folded = fold(rest)
        # yrs may leave chains parked after one pass (see Replica.unpark), so what comes, comes twice.
        assert text_of(folded, updates[missing], folded, folded, folded, folded, *rest) == text


def test_folding_again_is_the_same() -> None:
    updates, text = typed(100)
    assert text_of(fold([fold(updates[:50]), *updates[50:]])) == text
