"""Colours that are told apart, and read well on both of JupyterLab's themes."""

from __future__ import annotations

import itertools
import re

import pytest

from jupyter_collab_ext.colours import PALETTE, contrast, luminance, pick

DARK, LIGHT = "#111111", "#ffffff"


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("#000000", 0.0), ("#ffffff", 1.0), ("#ff0000", 0.2126), ("#00ff00", 0.7152), ("#0000ff", 0.0722)],
)
def test_luminance_is_that_of_wcag(colour: str, expected: float) -> None:
    assert luminance(colour) == pytest.approx(expected)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#123456", "#abcdef") == contrast("#abcdef", "#123456")


@pytest.mark.parametrize("colour", PALETTE)
def test_white_names_are_read_and_carets_are_seen(colour: str) -> None:
    assert re.fullmatch(r"#[0-9a-f]{6}", colour)
    assert contrast("#ffffff", colour) >= 4.5
    assert contrast(colour, DARK) >= 2.5
    assert contrast(colour, LIGHT) >= 2.5


def lab(colour: str) -> tuple[float, float, float]:
    """CIE L*a*b* (D65), where equal distances look about equal."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )
    x, y, z = (
        value ** (1 / 3) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29
        for value in (
            (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
            0.2126 * red + 0.7152 * green + 0.0722 * blue,
            (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_no_two_are_alike() -> None:
    distances = {
        (one, other): sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5
        for one, other in itertools.combinations(PALETTE, 2)
    }
    # A distance of 2.3 is just noticed side by side; cursors are apart, so it takes several times that.
    nearest = min(distances, key=distances.__getitem__)
    assert distances[nearest] >= 12, (nearest, distances[nearest])


@pytest.mark.parametrize("first", range(len(PALETTE)))
def test_as_many_people_as_colours_get_one_each(first: int) -> None:
    taken: list[str] = []
    for number in range(len(PALETTE)):
        taken.append(pick(taken, first + number))
    assert len(PALETTE) == 14
    assert sorted(taken) == sorted(PALETTE)


def test_more_people_than_colours_share_evenly() -> None:
    given = [pick(set(PALETTE), seed) for seed in range(14, 42)]
    assert {given.count(colour) for colour in PALETTE} == {2}
