"""The roster's file: whole, private, and refused in a sentence when it is not one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jupyter_collab_ext.people import DAY, GROUP, Group, Roster, initials, new_roster
from jupyter_collab_ext.people_file import FORMAT, ROSTER, change, load, save
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role
from tests.support.people_here import seven_and_an_observer


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    roster = replace(seven_and_an_observer(), port=8890)
    save(roster, tmp_path)
    assert load(tmp_path) == roster
    assert os.listdir(tmp_path) == [ROSTER]


def test_no_roster_is_none(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_owner_reads_it(tmp_path: Path, mask: int) -> None:
    (tmp_path / ROSTER).write_text("old, and open to all")
    (tmp_path / ROSTER).chmod(0o644)
    before = os.umask(mask)
    try:
        save(new_roster(), tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / ROSTER).stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = seven_and_an_observer()
    save(roster, tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"can't be written \(No space left on device\): check"):
        save(new_roster(), tmp_path)
    assert load(tmp_path) == roster
    assert os.listdir(tmp_path) == [ROSTER]


def test_names_of_all_scripts(tmp_path: Path) -> None:
    roster = new_roster().with_people(GROUP, Role.TUTOR, "Zoë 李 <b>'\"&\u2028", 1)
    save(roster, tmp_path)
    assert load(tmp_path) == roster


# --- what is no roster -----------------------------------------------------------------------------


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    roster = seven_and_an_observer()
    rows = [asdict(person) for person in roster.people.values()]
    groups = [asdict(group) for group in roster.groups.values()]
    data = {"format": FORMAT, "event": roster.event, "port": 8888, "groups": groups, "people": rows}
    change(data)
    return json.dumps(data)


DAMAGED = {
    "empty": "",
    "cut": changed(lambda data: None)[:-40],
    "a list": "[]",
    "null": "null",
    "no format": changed(lambda data: data.pop("format")),
    "no event": changed(lambda data: data.pop("event")),
    "event is empty": changed(lambda data: data.update(event="")),
    "event is a number": changed(lambda data: data.update(event=1)),
    "no people": changed(lambda data: data.pop("people")),
    "people is a dict": changed(lambda data: data.update(people={"a": 1})),
    "people is null": changed(lambda data: data.update(people=None)),
    "port is text": changed(lambda data: data.update(port="8888")),
    "port is too large": changed(lambda data: data.update(port=65536)),
    "port is true": changed(lambda data: data.update(port=True)),
    "unknown role": changed(lambda data: data["people"][0].update(role="owner")),
    "unknown field": changed(lambda data: data["people"][0].update(age=3)),
    "no colour": changed(lambda data: data["people"][0].pop("color")),
    "colour is a word": changed(lambda data: data["people"][0].update(color="red;background:url(x)")),
    "colour and more": changed(lambda data: data["people"][0].update(color="#112233\n")),
    "name is a number": changed(lambda data: data["people"][0].update(name=7)),
    "name is empty": changed(lambda data: data["people"][0].update(name="")),
    "id is null": changed(lambda data: data["people"][0].update(id=None)),
    "two of one id": changed(lambda data: data["people"].append(data["people"][0])),
    "invitation is text": changed(lambda data: data["people"][0].update(invitation="1")),
    "no groups": changed(lambda data: data.pop("groups")),
    "groups is a number": changed(lambda data: data.update(groups=2)),
    "two groups of one folder": changed(lambda data: data["groups"].append(data["groups"][0])),
    "a folder above": changed(lambda data: data["groups"][0].update(folder="..")),
    "a folder below": changed(lambda data: data["groups"][0].update(folder="a/b")),
    "a hidden folder": changed(lambda data: data["groups"][0].update(folder=".collab")),
    "a group with more": changed(lambda data: data["groups"][0].update(colour="x")),
    "in a group of nobody": changed(lambda data: data["people"][0].update(groups=["group-9"])),
    "in no group": changed(lambda data: data["people"][1].update(groups=[])),
    "groups is text": changed(lambda data: data["people"][1].update(groups="group-1")),
    "id is a path": changed(lambda data: data["people"][0].update(id="../../x")),
    "id is hidden": changed(lambda data: data["people"][0].update(id=".x")),
    "days is text": changed(lambda data: data.update(days="14")),
    "days is none": changed(lambda data: data.update(days=0)),
    "data is a number": changed(lambda data: data.update(data=1)),
    "issued is text": changed(lambda data: data["people"][0].update(issued="1")),
    "issued is before all": changed(lambda data: data["people"][0].update(issued=-1)),
    "revoked is text": changed(lambda data: data["people"][0].update(revoked="no")),
    "deep": "[" * 100_000,
    "invitation is true": changed(lambda data: data["people"][0].update(invitation=True)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_roster_is_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    (tmp_path / ROSTER).write_text(DAMAGED[case])
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert str(tmp_path / ROSTER) in str(error.value)
    assert "repair it, or start with another --root" in str(error.value)
    assert "\n" not in str(error.value)
    assert (tmp_path / ROSTER).read_text() == DAMAGED[case], "it is left as it is"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / ROSTER).write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / ROSTER).mkdir()
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path)


def test_a_roster_of_the_first_format_is_read(tmp_path: Path) -> None:
    rows = [
        {"id": f"{role}-1", "name": role, "initials": "X", "color": "#112233", "role": role, "group": group,
         "invitation": 3}
        for role, group in (("tutor", "group-1"), ("participant", "group-1"), ("observer", "group-2"))
    ]  # fmt: skip
    data = {"format": 1, "event": "e", "port": 8888, "people": rows}
    (tmp_path / ROSTER).write_text(json.dumps(data))
    roster = load(tmp_path)
    assert roster is not None
    assert [(g.folder, g.name) for g in roster.groups.values()] == [(n, n) for n in ("group-1", "group-2")]
    assert [p.group for p in roster.people.values()] == ["group-1", "group-1", "group-2"]
    assert {p.invitation for p in roster.people.values()} == {3}
    assert roster.with_people("group-1", Role.PARTICIPANT, "Participant", 1) == roster, "seats are the same"
    save(roster, tmp_path)
    assert load(tmp_path) == roster


def test_an_endless_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_collab_ext.people_file.LARGEST_FILE", 10)
    save(seven_and_an_observer(), tmp_path)
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        load(tmp_path)


@pytest.mark.parametrize("version", [0, FORMAT + 1, "1", None])
def test_another_versions_roster_is_refused(tmp_path: Path, version: object) -> None:
    (tmp_path / ROSTER).write_text(changed(lambda data: data.update(format=version)))
    with pytest.raises(ConfigError, match="another version: upgrade this one, or use another --root"):
        load(tmp_path)


# --- who is in it ----------------------------------------------------------------------------------


def test_people_of_a_group_differ() -> None:
    people = seven_and_an_observer().of_group(GROUP)
    assert [p.id for p in people] == ["tutor-1", *(f"participant-{n}" for n in range(1, 7)), "observer-1"]
    assert [p.name for p in people[:3]] == ["Tutor", "Participant 1", "Participant 2"]
    assert len({p.color for p in people}) == len(people)
    assert people[3].member().role is Role.PARTICIPANT
    assert people[3].member().identity["color"] == people[3].color


def test_who_is_there_stays_as_they_are() -> None:
    roster = seven_and_an_observer()
    more = roster.with_people(GROUP, Role.PARTICIPANT, "Participant", 9)
    assert {name: more.people[name] for name in roster.people} == dict(roster.people)
    assert len(more.people) == len(roster.people) + 3
    assert more.with_people(GROUP, Role.PARTICIPANT, "Participant", 2) == more


def test_who_was_taken_out_makes_nobody_anew() -> None:
    whole = seven_and_an_observer()
    some = {name: person for name, person in whole.people.items() if name != "participant-3"}
    again = Roster(whole.event, None, some, whole.groups).with_people(
        GROUP, Role.PARTICIPANT, "Participant", 6
    )
    assert len(again.people) == len(whole.people)
    assert {name: again.people[name] for name in some} == some
    assert again.people["participant-3"].name == "Participant 3"


def test_groups_do_not_take_each_others_ids() -> None:
    one = new_roster().with_people("group-1", Role.PARTICIPANT, "Participant", 3)
    two = one.with_people("group-2", Role.PARTICIPANT, "Participant", 3)
    assert len(two.of_group("group-1")) == len(two.of_group("group-2")) == 3
    assert two.of_group("group-1") == one.of_group("group-1")


@pytest.mark.parametrize(
    ("name", "short"),
    [("Participant 3", "P3"), ("tutor", "T"), ("Ada King Lovelace", "AK"), ("  ", "?"), ("李 雷", "李雷")],
)
def test_initials(name: str, short: str) -> None:
    assert initials(name) == short


def test_who_took_a_spare_seat_still_has_it() -> None:
    """A second start makes no seat more because somebody gave a name, or was moved to another group."""
    roster = seven_and_an_observer().with_people("group-2", Role.PARTICIPANT, "Participant", 1)
    moved = replace(roster.people["participant-1"], name="Ann", groups=("group-2",))
    roster = roster.with_person(moved)
    again = roster.with_people(GROUP, Role.PARTICIPANT, "Participant", 6)
    assert again.with_people("group-2", Role.PARTICIPANT, "Participant", 1) == roster


# --- who gets in -----------------------------------------------------------------------------------


def test_who_is_admitted_and_how_long() -> None:
    roster = seven_and_an_observer()
    person = replace(roster.people["participant-1"], issued=1000.0, invitation=2)
    roster = replace(roster.with_person(person), days=2)
    end = 1000.0 + 2 * DAY
    assert roster.admitted(person, 2, end - 1)
    assert not roster.admitted(person, 2, end)
    assert not roster.admitted(person, 1, end - 1)
    assert not roster.admitted(None, 2, end - 1)
    assert replace(roster, days=3).admitted(person, 2, end), "a longer time holds for links given out before"
    gone = roster.with_person(replace(person, revoked=True))
    assert not gone.admitted(gone.people[person.id], 2, 1000.0)


# --- changing it -----------------------------------------------------------------------------------


def test_two_programs_change_it_one_after_the_other(tmp_path: Path) -> None:
    save(new_roster(), tmp_path)
    went = threading.Barrier(8)

    def add(number: int) -> None:
        went.wait()
        for each in range(5):
            change(tmp_path, partial(Roster.with_group, group=Group(f"g-{number}-{each}", "x")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    roster = load(tmp_path)
    assert roster is not None
    assert len(roster.groups) == 40


def test_a_change_that_is_refused_or_none_writes_nothing(tmp_path: Path) -> None:
    save(seven_and_an_observer(), tmp_path)
    before = (tmp_path / ROSTER).stat()

    def refuse(roster: Roster) -> Roster:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        change(tmp_path, refuse)
    change(tmp_path, lambda roster: roster)
    after = (tmp_path / ROSTER).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_there_is_no_event_to_change(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no event in .*: name its folder with --root"):
        change(tmp_path, lambda roster: roster)
