"""Personal links: short, the same after a restart, and nothing else opens the door."""

from __future__ import annotations

import random
import re
import string
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from jupyter_collab_ext.links import LONGEST_BASE, LONGEST_LINK, SECRET, Links
from jupyter_collab_ext.people import GROUP, new_roster
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role
from tests.support.people_here import seven_and_an_observer

BASE = "http://127.0.0.1:8888/"


def other(folder: Path) -> Links:
    folder.mkdir()
    return Links(folder)


def test_each_link_opens_for_its_person(tmp_path: Path) -> None:
    links, roster = Links(tmp_path), seven_and_an_observer()
    found = [links.person(links.key(person, roster), roster) for person in roster.people.values()]
    assert found == list(roster.people.values())


def test_links_are_short_and_survive_a_chat(tmp_path: Path) -> None:
    links = Links(tmp_path)
    roster = new_roster().with_people(GROUP, Role.PARTICIPANT, "Participant", 100)
    roster = roster.with_people(GROUP, Role.TUTOR, "Tutor", 20)
    made = [links.link(BASE, replace(person, invitation=99), roster) for person in roster.people.values()]
    assert len(set(made)) == 120
    assert {len(link) - len(BASE) for link in made} == {LONGEST_LINK - LONGEST_BASE}
    assert LONGEST_BASE >= 60, "room for a server's name and a folder on it"
    for link in made:
        assert link.startswith(f"{BASE}join?key=")
        key = urlsplit(link).query.removeprefix("key=")
        assert quote(key, safe="") == key, "nothing that a chat or a mail encodes"
        assert re.fullmatch("[a-z2-7]{26}", key), "nothing that a chat takes for the end of a sentence"


def test_links_stay_over_restarts(tmp_path: Path) -> None:
    roster = seven_and_an_observer()
    before = [Links(tmp_path).key(person, roster) for person in roster.people.values()]
    secret = (tmp_path / SECRET).read_bytes()
    again = Links(tmp_path)
    assert [again.key(person, roster) for person in roster.people.values()] == before
    assert (tmp_path / SECRET).read_bytes() == secret
    assert (tmp_path / SECRET).stat().st_mode & 0o777 == 0o600


def test_a_link_of_another_event_is_none(tmp_path: Path) -> None:
    links, roster = Links(tmp_path), seven_and_an_observer()
    for person in roster.people.values():
        elsewhere = other(tmp_path / person.id)
        assert links.person(elsewhere.key(person, roster), roster) is None


def test_a_replaced_invitation_ends_the_old_link(tmp_path: Path) -> None:
    links, roster = Links(tmp_path), seven_and_an_observer()
    old = roster.people["participant-1"]
    new = replace(old, invitation=2)
    replaced = roster.with_person(new)
    assert links.person(links.key(old, roster), replaced) is None
    assert links.person(links.key(new, replaced), replaced) == new
    assert links.person(links.key(new, replaced), roster) is None


def test_a_link_of_another_event_on_the_same_state_is_none(tmp_path: Path) -> None:
    links, one, two = Links(tmp_path), seven_and_an_observer(), seven_and_an_observer()
    for person in one.people.values():
        assert links.person(links.key(person, one), two) is None
        assert links.person(links.key(person, one), one) == person


def test_a_roster_that_changed_in_place_opens_for_nobody_it_should_not(tmp_path: Path) -> None:
    """Keys are remembered for each roster; one is compared with the person's own before it opens."""
    links, roster = Links(tmp_path), seven_and_an_observer()
    person = roster.people["tutor-1"]
    key = links.key(person, roster)
    assert links.person(key, roster) == person
    object.__setattr__(person, "invitation", 2)
    assert links.person(key, roster) is None


def test_who_left_the_roster_has_no_link(tmp_path: Path) -> None:
    links, roster = Links(tmp_path), seven_and_an_observer()
    key = links.key(roster.people["tutor-1"], roster)
    assert links.person(key, new_roster()) is None


def test_every_cut_and_every_changed_letter_is_refused(tmp_path: Path) -> None:
    links, roster = Links(tmp_path), seven_and_an_observer()
    person = roster.people["tutor-1"]
    key = links.key(person, roster)
    for end in range(len(key)):
        assert links.person(key[:end], roster) is None
    for place in range(len(key)):
        for letter in "ABab019-_. ":
            changed = f"{key[:place]}{letter}{key[place + 1 :]}"
            assert changed == key or links.person(changed, roster) is None, changed
    assert links.person(key.upper(), roster) is None
    for more in ("=", ".", " ", "\n", "A", "\x00"):
        assert links.person(key + more, roster) is None
        assert links.person(more + key, roster) is None


@pytest.mark.parametrize("seed", range(8))
def test_random_text_never_opens_and_never_raises(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    links, roster = Links(tmp_path), seven_and_an_observer()
    key = links.key(roster.people["tutor-1"], roster)
    alphabets = (
        string.ascii_letters + string.digits + "-_.",
        string.printable,
        "".join(map(chr, [*range(0x20), 0x7F, 0xE9, 0x2028, 0xD7FF, 0xFFFD, 0x1F600])),
        "\ud800\udfff.",
    )
    for _ in range(400):
        text = "".join(rng.choices(rng.choice(alphabets), k=rng.randrange(220)))
        assert links.person(text, roster) is None, text
        place = rng.randrange(1, len(key))
        assert links.person(f"{key[:place]}{text}{key[place:]}", roster) is None or not text


def test_an_endless_key_costs_nothing(tmp_path: Path) -> None:
    links = Links(tmp_path)
    began = time.process_time()
    assert links.person("." + "A" * 10_000_000, seven_and_an_observer()) is None
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SECRET).write_bytes(content)
    with pytest.raises(ConfigError, match=r"links\.key is damaged: remove it"):
        Links(tmp_path)
    assert (tmp_path / SECRET).read_bytes() == content


def test_a_secret_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / SECRET).mkdir()
    with pytest.raises(ConfigError, match=r"links\.key can't be used \(Is a directory\)"):
        Links(tmp_path)
