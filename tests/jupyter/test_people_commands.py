"""``jupyter collab links, add, move, relink, revoke`` on an event without a server."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jupyter_collab_ext import cli
from jupyter_collab_ext.cli import screen
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import Group, Person, Roster, new_roster
from jupyter_collab_ext.people_file import load, save
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role
from tests.support.terminal import Terminal

BASE = "https://your.name/"


def someone(name: str, role: Role, *groups: str, **more: Any) -> Person:
    return Person(name.lower().replace(" ", "-"), name, "X", "#112233", role, groups, issued=1e12, **more)


def an_event() -> Roster:
    roster = replace(new_roster(), base=BASE, port=8888)
    for folder, name in (("one", "Group One"), ("two", "Übung 2")):
        roster = roster.with_group(Group(folder, name))
    for person in (
        someone("Ada", Role.TUTOR, "one", "two", email="ada@example.org"),
        someone("Ann", Role.PARTICIPANT, "one"),
        replace(someone("Ann", Role.PARTICIPANT, "two", email="ann@example.org"), id="ann-2"),
        replace(someone("Bob [red]", Role.PARTICIPANT, "two"), id="bob"),
    ):
        roster = roster.with_person(person)
    return roster


class Desk:
    """An organiser's terminal in the folder of an event."""

    def __init__(self, root: Path, shown: io.StringIO) -> None:
        self.root = root
        self.state = root / ".collab"
        self._shown = shown

    def __call__(self, *words: str) -> str:
        """What a command prints."""
        self._shown.truncate(0)
        self._shown.seek(0)
        outcome = CliRunner().invoke(cli.app, list(words), catch_exceptions=True)
        if isinstance(outcome.exception, ConfigError):
            raise outcome.exception
        assert outcome.exit_code == 0, outcome.output
        return self._shown.getvalue()

    @property
    def roster(self) -> Roster:
        roster = load(self.state)
        assert roster is not None
        return roster

    def link(self, person: str) -> str:
        return Links(self.state).link(BASE, self.roster.people[person], self.roster)

    def in_file(self) -> dict[str, str]:
        text = (self.state / "links.csv").read_text("utf-8-sig")
        return {row["link"]: row["name"] for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    shown = Terminal()
    monkeypatch.setattr(screen, "console", Console(highlight=False, width=200, file=shown, color_system=None))
    root = tmp_path / "event"
    (root / ".collab").mkdir(parents=True)
    save(an_event(), root / ".collab")
    monkeypatch.chdir(root)
    return Desk(root, shown)


# --- links --------------------------------------------------------------------------------------------


def test_links_of_everybody_and_of_a_group(desk: Desk) -> None:
    said = desk("links")
    links = {person: desk.link(person) for person in desk.roster.people}
    assert all(said.count(link) == 1 for link in links.values())
    assert "tutor, also in Übung 2" in said
    assert "Bob [red]" in said
    assert set(desk.in_file()) == set(links.values())
    of_two = desk("links", "--group", "übung 2")
    assert [person for person, link in links.items() if link in of_two] == ["ada", "ann-2", "bob"]


def test_links_that_ended_are_told_of(desk: Desk) -> None:
    roster = desk.roster
    save(roster.with_person(replace(roster.people["ann"], issued=1.0)), desk.state)
    assert "1 of them are not valid any more" in desk("links")


def test_no_terminal_no_links(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(highlight=False, width=200, file=log))
    desk("links")
    desk("relink", "ada")
    assert "key=" not in log.getvalue()
    assert str(desk.state / "links.csv") in log.getvalue()
    assert desk.link("ada") in desk.in_file()


# --- changes ------------------------------------------------------------------------------------------


def test_adding_somebody(desk: Desk) -> None:
    said = desk("add", "Zoë  Groß", "--group", "group one", "--email", "z@b.org")
    person = desk.roster.people["zoe-gross"]
    assert (person.name, person.groups, person.email) == ("Zoë Groß", ("one",), "z@b.org")
    assert person.role is Role.PARTICIPANT
    assert not person.unnamed
    assert desk.link("zoe-gross") in said
    assert "No server is running; this holds from its next start." in said
    assert desk.in_file()[desk.link("zoe-gross")] == "Zoë Groß"


def test_adding_a_tutor_of_two_and_an_organiser_of_none(desk: Desk) -> None:
    desk("add", "Tim", "--role", "Tutor", "--group", "one", "--group", "two")
    desk("add", "Olga", "--role", "organiser")
    assert desk.roster.people["tim"].groups == ("one", "two")
    assert desk.roster.people["olga"].groups == ()


def test_moving_keeps_the_link(desk: Desk) -> None:
    before = desk.link("bob")
    said = desk("move", "Bob [red]", "Group One")
    assert desk.roster.people["bob"].groups == ("one",)
    assert desk.link("bob") == before
    assert said.startswith("Bob [red] is in Group One now, by the same link. No server is running;")


def test_a_new_link_ends_the_old_one(desk: Desk) -> None:
    before = desk.link("ada")
    said = desk("relink", "ADA@example.org")
    after = desk.link("ada")
    assert before != after
    assert after in said
    assert before not in desk.in_file()
    assert Links(desk.state).person(before.rpartition("=")[2], desk.roster) is None


def test_sending_away_and_letting_in_again(desk: Desk) -> None:
    link = desk.link("ada")
    said = desk("revoke", "ada")
    assert said.startswith("Ada is out. No server is running; this holds from its next start.")
    assert desk.roster.people["ada"].revoked
    assert link not in desk.in_file()
    assert link not in desk("links")
    desk("relink", "ada")
    assert not desk.roster.people["ada"].revoked
    assert desk.link("ada") in desk("links")


# --- who is meant -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["ann@example.org", "ANN-2", "ann-2"])
def test_one_of_two_of_the_same_name(desk: Desk, said: str) -> None:
    if said.isupper():
        with pytest.raises(ConfigError, match="nobody is called"):
            desk("revoke", said)
        return
    desk("revoke", said)
    assert [p.id for p in desk.roster.people.values() if p.revoked] == ["ann-2"]


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "two of a name": (
        ("revoke", "ann"),
        'several are called "ann": say which by the id (ann in Group One, ann-2 in Übung 2)',
    ),
    "nobody": (("revoke", "Adda"), 'nobody is called "Adda" (did you mean "Ada"?)'),
    "a control character": (("revoke", "A\x1b[31m"), 'nobody is called "A�[31m"'),
    "an equal name": (
        ("add", "ADA", "--group", "one"),
        "Ada is in Group One, Übung 2 already (id ada): add a letter of the family name, "
        "or move them with jupyter collab move",
    ),
    "no group": (("add", "Zoe"), "name a group with --group"),
    "two groups": (
        ("add", "Zoe", "--group", "one", "--group", "two"),
        "a participant can be in one group only",
    ),
    "a group that is none": (
        ("move", "ada", "Grup One"),
        'there is no group "Grup One" (did you mean "Group One"?): there are Group One, Übung 2',
    ),
    "a role that is none": (("add", "Zoe", "--role", "boss"), 'there is no role "boss": write tutor,'),
    "a name that is none": (("add", "…", "--group", "one"), "the name has no letter: write a name"),
    "an escape in a name": (("add", "Z\x1b[2J", "--group", "one"), "the name has a sign that can't be shown"),
    "an endless name": (("add", "x" * 10_000, "--group", "one"), "the name is too long: shorten it to 60"),
    "mail that is none": (("add", "Zoe", "--group", "one", "--email", "x"), "the email is no email address"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(desk: Desk, case: str) -> None:
    words, expected = REFUSED[case]
    before = (desk.state / "people.json").read_bytes()
    with pytest.raises(ConfigError) as error:
        desk(*words)
    assert str(error.value).startswith(expected)
    assert str(error.value).isprintable()
    assert (desk.state / "people.json").read_bytes() == before


# --- which event --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        lambda desk: (desk.root, ()),
        lambda desk: (desk.root.parent, ()),
        lambda desk: ("/", ("--root", str(desk.root))),
        lambda desk: ("/", ("--state-dir", str(desk.state))),
    ],
    ids=["here", "below", "named", "its state"],
)
def test_the_event_is_found(
    desk: Desk, words: Callable[[Desk], tuple[Any, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, named = words(desk)
    monkeypatch.chdir(folder)
    assert desk.link("ada") in desk("links", *named)


def test_no_event_and_several(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other" / ".collab"
    other.mkdir(parents=True)
    monkeypatch.chdir(other)
    with pytest.raises(ConfigError, match="no event is in .*: name its folder with --root"):
        desk("links")
    save(an_event(), other)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="several events are in .*: name its folder with --root"):
        desk("links")
    with pytest.raises(ConfigError, match="there is no event in .*: name its folder with --root"):
        desk("links", "--state-dir", str(tmp_path))
    assert not os.path.exists(tmp_path / "people.lock")


def test_links_before_the_first_start(desk: Desk) -> None:
    save(replace(desk.roster, base=""), desk.state)
    with pytest.raises(ConfigError, match="start it once"):
        desk("links")


# --- quick ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["links", "add", "move", "relink", "revoke", "init"])
def test_nobody_waits_for_what_a_server_needs(command: str) -> None:
    """Who must be sent away is sent away now."""
    code = (
        "import sys; from jupyter_collab_ext.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'jupyter_server', 'pycrdt', 'redis'}))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, command, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f"jupyter collab {command}" in shown
    assert shown.splitlines()[-1] == "[]"


def test_all_commands_are_listed() -> None:
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli.app, ["--help"]).output
    assert re.findall(r"^│ (\w+) ", shown, re.MULTILINE) == list(cli.COMMANDS)


def test_a_command_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["jupyter-collab", "revok"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "revok" in capsys.readouterr().err
