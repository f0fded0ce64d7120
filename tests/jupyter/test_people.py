"""The roster's file: whole, private, and refused in a sentence when it is not one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_collab_ext.people import GROUP, ROSTER, Roster, initials, load, new_roster, save
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
    data = {"format": 1, "event": roster.event, "port": 8888, "people": rows}
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


@pytest.mark.parametrize("version", [0, 2, "1", None])
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
    again = Roster(whole.event, None, some).with_people(GROUP, Role.PARTICIPANT, "Participant", 6)
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
