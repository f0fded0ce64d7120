"""Which cells stay and which move when one order of cells becomes another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


def staying(before: Sequence[str], after: Sequence[str], weight: Callable[[str], int]) -> set[str]:
    """Of the cells in both orders, those that need not move: the heaviest set whose order is the same.

    All weights are positive. O(n log n): a Fenwick tree holds the best chain that ends at or before
    each place of ``before``.
    """
    place = {cell: index for index, cell in enumerate(before)}
    best: list[tuple[int, int]] = [(0, -1)] * (len(before) + 1)  # (weight, last link)
    links: list[tuple[str, int]] = []  # (cell, link before it)
    top = (0, -1)
    for cell in after:
        if cell not in place:
            continue
        chain = (0, -1)
        index = place[cell]  # places strictly before it are 1..index of the tree
        while index > 0:
            chain = max(chain, best[index])
            index -= index & -index
        links.append((cell, chain[1]))
        grown = (chain[0] + weight(cell), len(links) - 1)
        top = max(top, grown)
        index = place[cell] + 1
        while index < len(best):
            best[index] = max(best[index], grown)
            index += index & -index
    stay = set()
    link = top[1]
    while link >= 0:
        cell, link = links[link]
        stay.add(cell)
    return stay


def merged_order(
    base: Sequence[str] | None,
    ours: Sequence[str],
    theirs: Sequence[str],
    kept: set[str],
    weight: Callable[[str], int],
) -> list[str]:
    """The order of the cells ``kept``: ours with what theirs moved and added.

    A cell that both moved is where ours has it. Without a ``base`` theirs only adds. If only theirs
    changed, the order is that of theirs.
    """
    moved: set[str] = set()
    if base is not None:
        by_theirs = set(base) & set(theirs) - staying(base, theirs, weight)
        by_ours = set(base) & set(ours) - staying(base, ours, weight)
        moved = by_theirs - by_ours
    order = [cell for cell in ours if cell in kept and cell not in moved]
    arriving = set(_in(kept, theirs)) - set(order)
    after: dict[str | None, list[str]] = {}
    anchor: str | None = None
    present = set(order)
    for cell in theirs:
        if cell in arriving:
            after.setdefault(anchor, []).append(cell)
        elif cell in present:
            anchor = cell
    result = list(after.get(None, []))
    for cell in order:
        result.append(cell)
        result.extend(after.get(cell, []))
    return result


def _in(kept: set[str], cells: Iterable[str]) -> Iterable[str]:
    return (cell for cell in cells if cell in kept)
