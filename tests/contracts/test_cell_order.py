"""Orders of cells."""

from __future__ import annotations

from itertools import combinations, permutations

from notebook_sync.adapters.cell_order import merged_order, staying


def same(cell: str) -> int:
    return 1


def slow_staying(before: str, after: str, weights: dict[str, int]) -> int:
    """The heaviest common order, by trying all."""
    best = 0
    for size in range(len(before) + 1):
        for chosen in combinations(before, size):
            if [cell for cell in after if cell in chosen] == list(chosen):
                best = max(best, sum(weights[cell] for cell in chosen))
    return best


def test_as_few_cells_move_as_possible() -> None:
    weights = {"a": 1, "b": 5, "c": 1, "d": 2, "e": 1}
    for after in permutations("abcde"):
        stay = staying("abcde", after, weights.__getitem__)
        assert [cell for cell in after if cell in stay] == sorted(stay)
        assert sum(weights[cell] for cell in stay) == slow_staying("abcde", "".join(after), weights)


def test_cells_of_one_order_only_do_not_count() -> None:
    assert staying("abxc", "bayc", same) in ({"b", "c"}, {"a", "c"})


def test_if_only_theirs_changed_the_order_is_theirs() -> None:
    for theirs in permutations("abcxy"):
        kept = set(theirs) - {"b"}
        wanted = [cell for cell in theirs if cell != "b"]
        assert merged_order("abc", "abc", wanted, kept, same) == wanted


def test_if_only_ours_changed_the_order_is_ours() -> None:
    for ours in permutations("abcxy"):
        assert merged_order("abc", ours, "abc", set(ours), same) == list(ours)


def test_moves_of_both_are_kept() -> None:
    ours = list("bcdefa")  # a to the end
    theirs = list("fabcde")  # f to the front
    assert merged_order("abcdef", ours, theirs, set("abcdef"), same) == list("fbcdea")


def test_a_cell_that_stays_heavy_is_not_the_one_that_moves() -> None:
    assert staying("ab", "ba", {"a": 1000, "b": 1}.__getitem__) == {"a"}
    assert staying("ab", "ba", {"a": 1, "b": 1000}.__getitem__) == {"b"}
