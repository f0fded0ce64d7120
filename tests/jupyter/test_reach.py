"""Which paths a person may see and change: by text, and by where a file really lies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_collab_ext.people import new_roster
from jupyter_collab_ext.reach import EVERYTHING, NOTHING, Reach, cleaned, reach_of
from notebook_sync.core.roles import Role

MINE = Reach(("group-1", "über"), ("data",))


@pytest.mark.parametrize(
    "path", ["group-1", "group-1/a.ipynb", "/group-1/a/b", "über/x", "data", "data/x.csv"]
)
def test_what_is_seen(path: str) -> None:
    assert MINE.sees(path)


OUTSIDE = [
    "", "/", ".", "..", "group-10", "group-2/a", "group", "Group-1/a", "GROUP-1", "group-1/../group-2/a",
    "group-1/./a", "group-1//a", "../group-1/a", "group-1\\..\\group-2", "group-1/\0", "group-1/a\n",
    "group-1/\x9b31m", "\u202egroup-1",
    "group-1 /a", "u\u0308ber/x", "data/../group-2", "C:\\group-1", "~/group-1", "%67roup-1", "group%2d1",
    "a" * 5000,
    "group-1/" + "ä" * 128, "group-1/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=repr)
def test_what_is_not(path: str) -> None:
    assert not MINE.sees(path)
    assert not MINE.changes(path)


def test_what_may_be_changed() -> None:
    assert MINE.changes("group-1/a")
    assert MINE.changes("/group-1/a/b/")
    assert not MINE.changes("group-1"), "the folder itself stays"
    assert not MINE.changes("data/a")
    assert not MINE.changes("data")
    assert MINE.only_looks("data/a")
    assert not MINE.only_looks("group-1/a")


def test_a_shared_folder_inside_of_the_groups_is_still_only_to_look_at() -> None:
    reach = Reach(("group-1",), ("group-1/data",))
    assert reach.changes("group-1/x")
    assert reach.sees("group-1/data/x")
    assert not reach.changes("group-1/data/x")


def test_the_way_there() -> None:
    nested = Reach(("course/groups/one",), ())
    assert [path for path in ("", "/", "course", "course/groups") if not nested.passes(path)] == []
    assert not nested.passes("course/other")
    assert not nested.passes("cour")
    assert not nested.passes("course/groups/..")
    assert not NOTHING.passes("")


def test_everything_and_nothing() -> None:
    assert EVERYTHING.sees("group-2/a")
    assert EVERYTHING.changes("data/x")
    assert not EVERYTHING.only_looks("data/x")
    assert not NOTHING.sees("group-1")
    assert not NOTHING.sees("")


PARTS = st.lists(
    st.sampled_from(["group-1", "group-2", "data", "..", ".", "", "a", "Ａ", "%2e%2e"]), max_size=6
)


@given(PARTS, st.booleans())
def test_nothing_that_is_seen_leads_out_when_the_disk_reads_it(parts: list[str], slash: bool) -> None:
    path = ("/" if slash else "") + "/".join(parts)
    if MINE.sees(path):
        landed = os.path.normpath("/served/" + path.strip("/"))
        assert landed.startswith(("/served/group-1", "/served/data", "/served/über"))


@given(st.text(max_size=40))
def test_whatever_text_is_asked_for(path: str) -> None:
    if MINE.changes(path):
        assert MINE.sees(path)
    if MINE.sees(path):
        clean = cleaned(path)
        assert clean is not None
        assert clean.split("/")[0] in ("group-1", "über", "data")


def test_links_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("group-1", "group-2"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "big").mkdir()
    (root / "data").symlink_to(tmp_path / "big")
    reach = Reach(("group-1",), ("data",))

    def really(path: str) -> tuple[bool, bool]:
        real = os.path.realpath(root / path)
        return reach.really(root, real), reach.really_changes(root, real)

    (root / "group-1" / "to-other").symlink_to(root / "group-2")
    (root / "group-1" / "to-data").symlink_to(root / "data")
    (root / "group-1" / "out").symlink_to("/etc")
    (root / "group-1" / "in").symlink_to(root / "group-1")
    assert really("group-1/x") == (True, True)
    assert really("group-1/in/x") == (True, True)
    assert really("group-1/to-other/x") == (False, False)
    assert really("group-1/out/passwd") == (False, False)
    assert really("group-1/to-data/x") == (True, False)
    assert really("data/x") == (True, False)
    assert really("group-10/x") == (False, False)


def test_of_a_person() -> None:
    roster = replace(new_roster(), data="data").with_people("group-1", Role.TUTOR, "Tutor", 1)
    tutor = roster.people["tutor-1"]
    assert reach_of(tutor, roster) == Reach(("group-1",), ("data",))
    assert reach_of(tutor, replace(roster, data="")) == Reach(("group-1",))
    of_two = reach_of(replace(tutor, groups=("group-1", "group-3")), roster)
    assert of_two.home == "group-1"
    assert of_two.changes("group-3/x")
    assert reach_of(replace(tutor, groups=()), roster) == Reach((), ("data",))
    assert reach_of(replace(tutor, role=Role.ORGANISER), roster) is EVERYTHING
    assert EVERYTHING.home == ""
