"""Colours for people's cursors and name flags: told apart at a glance, read well on light and dark.

White text on each has a contrast of at least 4.5 (WCAG 2 AA), and each has at least 2.5 against both
themes' backgrounds, so that a caret of one pixel is seen in both.
"""

from __future__ import annotations

from collections.abc import Collection

PALETTE = (
    "#1967d2",  # blue
    "#c5221f",  # red
    "#18794e",  # green
    "#8430ce",  # violet
    "#b1500f",  # orange
    "#00707a",  # teal
    "#b80672",  # magenta
    "#7a6000",  # olive
    "#5f55c9",  # indigo
    "#8d4b3c",  # brown
    "#4a7110",  # moss
    "#3c6e91",  # steel
    "#a3387a",  # plum
    "#6b6b6b",  # grey
)


def pick(taken: Collection[str], seed: int) -> str:
    """A colour that is not in ``taken``; when all are, the one that ``seed`` points at."""
    start = seed % len(PALETTE)
    rotated = PALETTE[start:] + PALETTE[:start]
    return next((colour for colour in rotated if colour not in taken), rotated[0])


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 to 1 (WCAG 2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
