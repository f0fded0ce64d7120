"""Which versions stay: the newest always, all of the last hour, ever fewer before, losers last."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notebook_sync.core.limits import Limits
from notebook_sync.core.thinning import NAMED, surplus

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 24 * 3600.0
LIMITS = Limits()


@dataclass(frozen=True)
class Kept:
    age: float
    reason: str = "schedule"
    size: int = 1000

    @property
    def at(self) -> float:
        return NOW - self.age


def staying(versions: list[Kept], limits: Limits = LIMITS) -> list[Kept]:
    ordered = sorted(versions, key=lambda version: version.age)
    gone = surplus(ordered, NOW, limits)
    return [version for version in ordered if version not in gone]


def test_nothing_is_surplus_of_nothing() -> None:
    assert surplus([], NOW, LIMITS) == []


def test_all_of_the_last_hour_stay() -> None:
    versions = [Kept(age * MINUTE) for age in range(60)]
    assert staying(versions) == versions


def test_of_the_last_day_one_for_each_ten_minutes_stays_the_newest() -> None:
    versions = [Kept(HOUR + 1 + age * MINUTE) for age in range(200)]
    slots = [int(version.at // 600) for version in staying([Kept(0), *versions])[1:]]
    assert len(slots) == len(set(slots))
    assert set(slots) == {int(version.at // 600) for version in versions}
    newest = {slot: min(v.age for v in versions if int(v.at // 600) == slot) for slot in slots}
    assert {v.age for v in staying([Kept(0), *versions])[1:]} == set(newest.values())


def test_of_the_last_month_one_for_each_day_stays_and_nothing_older() -> None:
    versions = [Kept(age * HOUR) for age in range(25, 24 * 40)]
    kept = staying([Kept(0), *versions])[1:]
    assert len({int(version.at // DAY) for version in kept}) == len(kept)
    assert 29 <= len(kept) <= 31
    assert all(version.age <= 30 * DAY for version in kept)


def test_the_newest_stays_however_old_and_large_it_is() -> None:
    only = Kept(400 * DAY, size=LIMITS.versions_bytes * 2)
    assert staying([only]) == [only]


@pytest.mark.parametrize("reason", sorted(NAMED))
def test_what_a_notice_named_is_not_thinned_by_age_and_goes_last_at_a_bound(reason: str) -> None:
    losers = [Kept(DAY + age * MINUTE, reason) for age in range(5)]
    others = [Kept(age * MINUTE) for age in range(5)]
    assert staying([*losers, *others]) == [*others, *losers]
    assert staying([*losers, *others], Limits(versions_kept=6)) == [others[0], *losers]
    assert staying([*losers, *others], Limits(versions_kept=3)) == [others[0], *losers[:2]]


def test_a_flood_of_new_ones_does_not_push_the_older_history_out() -> None:
    history = [Kept(HOUR + 600 * number) for number in range(1, 21)]
    flood = [Kept(float(second)) for second in range(0, 500, 5)]
    kept = staying([*flood, *history])
    assert len(kept) == LIMITS.versions_kept
    assert set(history) <= set(kept)
    assert flood[0] in kept


def test_the_size_of_all_together_is_bounded() -> None:
    versions = [Kept(age * MINUTE, size=60) for age in range(10)]
    kept = staying(versions, Limits(versions_bytes=300))
    assert sum(version.size for version in kept) == 300
    assert kept[0] == versions[0]
    assert kept[-1] == versions[-1]


ages = st.floats(0, 50 * DAY, allow_nan=False)
kept_versions = st.builds(
    Kept, ages, st.sampled_from(["schedule", "restore", *sorted(NAMED)]), st.integers(0, 10_000)
)


@given(
    st.lists(kept_versions, unique_by=lambda version: version.age),
    st.integers(1, 20),
    st.integers(1, 50_000),
)
def test_the_bounds_hold_and_a_second_look_finds_nothing_more(
    versions: list[Kept], number: int, size: int
) -> None:
    limits = Limits(versions_kept=number, versions_bytes=size)
    kept = staying(versions, limits)
    assert len(kept) <= number
    assert sum(version.size for version in kept) <= size or len(kept) == 1
    assert staying(kept, limits) == kept
    if versions:
        assert kept[0].age == min(version.age for version in versions)
