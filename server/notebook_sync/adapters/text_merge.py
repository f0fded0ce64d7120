"""Three-way merge of texts, and differences of texts that are small.

Lines are compared first; where both sides changed the same lines, their words are. Words, not
characters: two rewritten lines always share some characters, and a merge along those makes nonsense.
What both sides changed differently in the same place is a conflict, and ours stays (rule 17).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORD = re.compile(r"\w+|\s|[^\w\s]")
_LARGEST_COMPARISON = 20_000_000
"""Comparing sequences whose lengths multiply to more than this would take minutes."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """``before[start:stop]`` became ``after[new_start:new_stop]``."""

    start: int
    stop: int
    new_start: int
    new_stop: int


@dataclass(frozen=True, slots=True)
class MergedText:
    """``conflicts``: for each place where ours stayed against theirs, its first line in ours, from 1."""

    text: str
    conflicts: tuple[int, ...] = ()


def merge_text(base: str, ours: str, theirs: str) -> MergedText:
    """``ours`` with the changes from ``base`` to ``theirs``."""
    if theirs in (base, ours):
        return MergedText(ours)
    if ours == base:
        return MergedText(theirs)
    merged: list[str] = []
    conflicts: list[int] = []
    line = 1
    for region in _regions(_lines(base), _lines(ours), _lines(theirs), adjacent=True):
        settled = _settled(*region)
        if settled is None:
            settled, clean = _merge_words(*region)
            if not clean:
                conflicts.append(line)
        merged.append(settled)
        line += region[1].count("\n")
    return MergedText("".join(merged), tuple(conflicts))


def _merge_words(base: str, ours: str, theirs: str) -> tuple[str, bool]:
    merged: list[str] = []
    clean = True
    for region in _regions(_WORD.findall(base), _WORD.findall(ours), _WORD.findall(theirs), adjacent=False):
        settled = _settled(*region)
        clean = clean and settled is not None
        merged.append(region[1] if settled is None else settled)
    return "".join(merged), clean


def _settled(base: str, ours: str, theirs: str) -> str | None:
    """What a region becomes without looking into it; None if both changed it."""
    if theirs in (base, ours):
        return ours
    if ours == base:
        return theirs
    # Both wrote something new here, and one of them has all that the other has: taken once.
    if not base and (theirs.startswith(ours) or theirs.endswith(ours)):
        return theirs
    if not base and (ours.startswith(theirs) or ours.endswith(theirs)):
        return ours
    return None


def _regions(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str], *, adjacent: bool
) -> list[tuple[str, str, str]]:
    """All of the three texts, cut where both sides agree on the cut: (base, ours, theirs) each.

    Changes that touch count as one if ``adjacent`` or if one of them only inserts: which comes first
    would be a guess.
    """
    hunks = sorted(
        [(hunk.start, hunk.stop, 0, hunk) for hunk in compare(base, ours)]
        + [(hunk.start, hunk.stop, 1, hunk) for hunk in compare(base, theirs)],
        key=lambda item: item[:3],
    )
    regions: list[tuple[str, str, str]] = []
    ends = [0, 0, 0]  # how far base, ours and theirs are covered
    position = 0
    while position < len(hunks):
        start, stop, _, _ = hunks[position]
        group = [hunks[position]]
        position += 1
        while position < len(hunks) and _belongs(group, stop, hunks[position], adjacent):
            stop = max(stop, hunks[position][1])
            group.append(hunks[position])
            position += 1
        _cover(regions, ends, base, ours, theirs, start, (0, 0))
        grown = [0, 0]
        for _, _, side, hunk in group:
            grown[side] += (hunk.new_stop - hunk.new_start) - (hunk.stop - hunk.start)
        _cover(regions, ends, base, ours, theirs, stop, (grown[0], grown[1]))
    _cover(regions, ends, base, ours, theirs, len(base), (0, 0))
    return regions


def _belongs(
    group: list[tuple[int, int, int, Hunk]], stop: int, hunk: tuple[int, int, int, Hunk], adjacent: bool
) -> bool:
    if hunk[0] < stop:
        return True
    if hunk[0] > stop:
        return False
    inserts = hunk[0] == hunk[1] or any(start == end == stop for start, end, _, _ in group)
    return adjacent or inserts


def _cover(
    regions: list[tuple[str, str, str]],
    ends: list[int],
    base: Sequence[str],
    ours: Sequence[str],
    theirs: Sequence[str],
    stop: int,
    grown: tuple[int, int],
) -> None:
    """Add the region from ``ends`` to ``stop`` in base, by ``grown`` longer in ours and theirs."""
    length = stop - ends[0]
    stops = [stop, ends[1] + length + grown[0], ends[2] + length + grown[1]]
    region = (
        "".join(base[ends[0] : stops[0]]),
        "".join(ours[ends[1] : stops[1]]),
        "".join(theirs[ends[2] : stops[2]]),
    )
    ends[:] = stops
    if any(region):
        regions.append(region)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def compare(before: Sequence[str], after: Sequence[str]) -> list[Hunk]:
    """The differences of two sequences, in order; never two that touch."""
    start = 0
    most = min(len(before), len(after))
    while start < most and before[start] == after[start]:
        start += 1
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if not old and not new:
        return []
    if not old or not new or len(old) * len(new) > _LARGEST_COMPARISON:
        return [Hunk(start, start + len(old), start, start + len(new))]
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return [
        Hunk(start + i1, start + i2, start + j1, start + j2)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def character_hunks(before: str, after: str) -> list[Hunk]:
    """The differences of two texts, by character offsets: lines first, words in changed lines, and
    of changed words only the middle. Carets in all the rest stay where they are."""
    hunks: list[Hunk] = []
    for line_hunk in _located(_lines(before), _lines(after)):
        old = before[line_hunk.start : line_hunk.stop]
        new = after[line_hunk.new_start : line_hunk.new_stop]
        for hunk in _located(_WORD.findall(old), _WORD.findall(new)):
            hunks.append(
                _trimmed(
                    before,
                    after,
                    Hunk(
                        line_hunk.start + hunk.start,
                        line_hunk.start + hunk.stop,
                        line_hunk.new_start + hunk.new_start,
                        line_hunk.new_start + hunk.new_stop,
                    ),
                )
            )
    return hunks


def _located(before: Sequence[str], after: Sequence[str]) -> list[Hunk]:
    """``compare`` with offsets in characters of the joined texts."""
    old_offsets, new_offsets = _offsets(before), _offsets(after)
    return [
        Hunk(old_offsets[h.start], old_offsets[h.stop], new_offsets[h.new_start], new_offsets[h.new_stop])
        for h in compare(before, after)
    ]


def _offsets(parts: Sequence[str]) -> list[int]:
    offsets = [0]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return offsets


def _trimmed(before: str, after: str, hunk: Hunk) -> Hunk:
    start, stop, new_start, new_stop = hunk.start, hunk.stop, hunk.new_start, hunk.new_stop
    while start < stop and new_start < new_stop and before[start] == after[new_start]:
        start, new_start = start + 1, new_start + 1
    while start < stop and new_start < new_stop and before[stop - 1] == after[new_stop - 1]:
        stop, new_stop = stop - 1, new_stop - 1
    return Hunk(start, stop, new_start, new_stop)
