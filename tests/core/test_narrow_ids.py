"""Ids of more than 32 bits, as a client with 32 reads them. The pairs were made with y-py 0.6.2."""

from __future__ import annotations

import pytest

from notebook_sync.core.narrow_ids import NarrowIds, misread

PAIRS = [
    (58279286858, 2444712010),
    (1095513148, 1095513148),
    (126520119947076, 3268312916),
    (106852994960411, 2798579003),
    (30467894924, 403123852),
    (8131734758, 3836767462),
    (170980211806854, 1858722694),
    (2988579416, 2988579416),
    (883567286526, 3098990846),
    (66963494081, 2538984649),
    (3871601465, 3871601465),
    (95872739, 95872739),
]


@pytest.mark.parametrize(("client", "seen"), PAIRS)
def test_misread(client: int, seen: int) -> None:
    assert misread(client) == seen


@pytest.mark.parametrize("client", [0, 1, 127, 128, 2**31, 2**32 - 1])
def test_short_ids_are_read_as_they_are(client: int) -> None:
    assert misread(client) == client


def test_only_misread_forms_of_known_long_ids_are_suspect() -> None:
    ids = NarrowIds()
    (long, seen), *_ = PAIRS
    ids.know([long, 77])
    assert ids.suspect([5, seen])
    assert not ids.suspect([5, 77, long])
