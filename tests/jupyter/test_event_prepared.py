"""An event from a file: groups, people, seats, data; made once, and gone on with as it is."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from rich.console import Console
from typer.testing import CliRunner

from jupyter_collab_ext import cli
from jupyter_collab_ext.cli import screen
from jupyter_collab_ext.cli.options import Options
from jupyter_collab_ext.cli.people_changes import moved, revoked
from jupyter_collab_ext.cli.plan import Problems
from jupyter_collab_ext.cli.prepare import Event, prepare
from jupyter_collab_ext.links_file import write_links
from jupyter_collab_ext.people import DAY, Person, Roster
from jupyter_collab_ext.people_file import change
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

GROUPS = ("Übung Ä", "Group 2")
EVENT = """\
root = "event"
notebooks = "exercises"
data = "big"
roster = "people.csv"
spare_seats = 1
[[groups]]
name = "Übung Ä"
topic = "Ferries"
meeting = "https://meet.example.org/1"
[[groups]]
name = "Group 2"
notebooks = "own"
spare_seats = 0
[[people]]
name = "Olga"
role = "organiser"
"""
ROSTER = """\
name;email;role;group
Ada Lovelace;ada@example.org;tutor;"Übung Ä;Group 2"
Ann;ann@example.org;;Übung Ä
Ann;ann2@example.org;;Group 2
Bob;;participant;group 2
Vera;;observer;Übung Ä
"""


class Kitchen:
    """A folder with an event file, a roster, notebooks and data, all to be changed by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, notebook in (("exercises", "one"), ("own", "two"), ("big", "")):
            (folder / name).mkdir()
            if notebook:
                nbformat.write(nbformat.v4.new_notebook(), folder / name / f"{notebook}.ipynb")
        (folder / "exercises" / "deep").mkdir()
        nbformat.write(nbformat.v4.new_notebook(), folder / "exercises" / "deep" / "more.ipynb")
        (folder / "big" / "table.csv").write_text("a,b\n")
        (folder / "event.toml").write_text(EVENT)
        (folder / "people.csv").write_text(ROSTER)

    @property
    def root(self) -> Path:
        return self.folder / "event"

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def start(self, **options: Any) -> Event:
        event = prepare(Options(event_file=self.folder / "event.toml", **options))
        write_links(replace(event.roster, base=event.base), event.state_dir)
        return event

    def refused(self) -> list[str]:
        with pytest.raises(ConfigError) as error:
            self.start()
        return str(error.value).split("\n")


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def person(event: Event, name: str) -> Person:
    [found] = [p for p in event.roster.people.values() if p.name == name]
    return found


def tree(root: Path) -> str:
    """A digest of all names, contents, times, modes and link targets below a folder."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        found = path.lstat()
        time = found.st_mtime_ns if path.is_file() else 0
        digest.update(f"{path.relative_to(root)} {found.st_mode} {time}\n".encode())
        if path.is_symlink():
            digest.update(os.fsencode(os.readlink(path)))
        elif path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


# --- a new event --------------------------------------------------------------------------------------


def test_groups_people_seats_and_data(kitchen: Kitchen) -> None:
    event = kitchen.start()
    roster = event.roster
    assert {g.folder: (g.name, g.topic, g.meeting) for g in roster.groups.values()} == {
        "Übung-Ä": ("Übung Ä", "Ferries", "https://meet.example.org/1"),
        "Group-2": ("Group 2", "", ""),
    }
    seen = {p.id: (p.name, p.role, p.groups, p.unnamed) for p in roster.people.values()}
    assert seen == {
        "olga": ("Olga", Role.ORGANISER, (), False),
        "ada-lovelace": ("Ada Lovelace", Role.TUTOR, ("Übung-Ä", "Group-2"), False),
        "ann": ("Ann", Role.PARTICIPANT, ("Übung-Ä",), False),
        "ann-2": ("Ann (2)", Role.PARTICIPANT, ("Group-2",), False),
        "bob": ("Bob", Role.PARTICIPANT, ("Group-2",), False),
        "vera": ("Vera", Role.OBSERVER, ("Übung-Ä",), False),
        "participant-1": ("Participant", Role.PARTICIPANT, ("Übung-Ä",), True),
    }
    for folder in roster.groups:
        members = roster.of_group(folder)
        assert len({p.color for p in members}) == len(members)
    assert sorted(p.name for p in kitchen.root.iterdir()) == [".collab", "Group-2", "data", "Übung-Ä"]
    assert (kitchen.root / "Übung-Ä" / "deep" / "more.ipynb").is_file()
    assert [p.name for p in (kitchen.root / "Group-2").iterdir()] == ["two.ipynb"]
    assert (kitchen.root / "data").is_symlink(), "it is not copied"
    assert (kitchen.root / "data" / "table.csv").read_text() == "a,b\n"
    assert roster.data == "data"


def test_each_has_a_link_of_their_own_in_the_file_of_links(kitchen: Kitchen) -> None:
    event = kitchen.start()
    path = event.state_dir / "links.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "spreadsheets see that it is UTF-8"
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    assert list(rows[0]) == ["name", "email", "group", "role", "link"]
    ada = next(row for row in rows if row["name"] == "Ada Lovelace")
    assert (ada["group"], ada["email"], ada["role"]) == ("Übung Ä;Group 2", "ada@example.org", "tutor")
    assert {row["link"] for row in rows} == {link for _, link in event.links()}
    assert len(rows) == len({row["link"] for row in rows}) == 7


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1 Ann", "-2 Ann", "@Ann"])
def test_no_name_is_a_formula_in_the_file_of_links(kitchen: Kitchen, name: str) -> None:
    kitchen.edit("people.csv", "Bob", name)
    event = kitchen.start()
    text = (event.state_dir / "links.csv").read_text("utf-8-sig")
    [row] = [row for row in csv.reader(io.StringIO(text)) if name in row[0]]
    assert row[0] == f"'{name}"
    assert person(event, name).group == "Group-2"


def test_originals_are_kept_aside_read_only(kitchen: Kitchen) -> None:
    event = kitchen.start()
    kept = event.state_dir / "originals"
    found = {str(p.relative_to(kept)): stat.S_IMODE(p.stat().st_mode) for p in kept.rglob("*.ipynb")}
    assert found == dict.fromkeys(
        ("Übung-Ä/one.ipynb", "Übung-Ä/deep/more.ipynb", "Group-2/two.ipynb"), 0o400
    )
    (kitchen.root / "Group-2" / "two.ipynb").write_text("changed")
    (kitchen.folder / "own" / "two.ipynb").write_text("{}")
    kitchen.start()
    assert nbformat.read(kept / "Group-2" / "two.ipynb", 4)["cells"] == []


def test_a_roster_alone_makes_the_groups_that_it_names(kitchen: Kitchen) -> None:
    event = prepare(Options(kitchen.root, kitchen.folder / "exercises", roster=kitchen.folder / "people.csv"))
    assert [g.name for g in event.roster.groups.values()] == list(GROUPS)
    assert not any(p.seat for p in event.roster.people.values())


def test_groups_alone_get_seats_as_an_event_without_a_file_does(kitchen: Kitchen) -> None:
    (kitchen.folder / "event.toml").write_text('[[groups]]\nname = "A"\n[[groups]]\nname = "B"\n')
    roster = kitchen.start().roster
    assert {folder: len(roster.of_group(folder)) for folder in roster.groups} == {"A": 7, "B": 7}
    assert all(p.unnamed for p in roster.people.values())
    assert len({p.name for p in roster.people.values()}) == 14


def test_flags_go_before_the_file(kitchen: Kitchen) -> None:
    event = kitchen.start(participants=3, link_days=2, ask_names=False, root=kitchen.folder / "else")
    assert event.options.folder == kitchen.folder / "else"
    assert event.roster.days == 2
    seats = [p for p in event.roster.people.values() if p.seat]
    assert {(p.seat, p.unnamed) for p in seats} == {("Übung-Ä", False), ("Group-2", False)}
    assert len(seats) == 6


# --- going on -----------------------------------------------------------------------------------------


def test_a_second_start_changes_nothing(kitchen: Kitchen) -> None:
    first = kitchen.start()
    (kitchen.root / "Group-2" / "two.ipynb").write_text("work")
    (kitchen.root / "Übung-Ä" / "one.ipynb").unlink()
    before = tree(kitchen.root)
    again = kitchen.start()
    assert again.continued
    assert again.links() == first.links()
    assert again.notes == ()
    assert tree(kitchen.root) == before, "what was deleted stays so, and nothing is written anew"


def test_new_rows_get_links_and_new_groups_get_folders(kitchen: Kitchen) -> None:
    first = kitchen.start()
    kitchen.edit("people.csv", "Bob;;participant;group 2\n", "Bob;;participant;group 2\nEve;;;Third\n")
    kitchen.edit("event.toml", "[[people]]", '[[groups]]\nname = "Third"\n[[people]]')
    second = kitchen.start()
    old, new = dict(first.links()), dict(second.links())
    assert {k: new[k] for k in old} == old
    assert sorted(p.name for p in set(new) - set(old)) == ["Eve", "Participant 2"]
    assert (kitchen.root / "Third" / "one.ipynb").is_file()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Bob;;participant;group 2", "Bob;;tutor;group 2", {"role": Role.TUTOR}),
        ("Bob;;participant;group 2", "Bob;;participant;Übung Ä", {"groups": ("Übung-Ä",)}),
        ("Bob;;participant;group 2", "Bob;bob@b.org;participant;group 2", {"email": "bob@b.org"}),
        ("Ann;ann2@example.org", "Anna;ann2@example.org", {"name": "Anna", "initials": "A"}),
    ],
)
def test_what_changed_in_the_file_is_taken_over(
    kitchen: Kitchen, old: str, new: str, expected: dict[str, object]
) -> None:
    first = kitchen.start()
    who = "ann-2" if "ann2" in old else "bob"
    kitchen.edit("people.csv", old, new)
    second = kitchen.start()
    before, after = first.roster.people[who], second.roster.people[who]
    assert replace(before, listed=after.listed, **expected) == after  # type: ignore[arg-type]  # by name
    assert len(second.roster.people) == len(first.roster.people)


def test_who_was_moved_or_sent_away_is_not_put_back(kitchen: Kitchen) -> None:
    event = kitchen.start()
    change(event.state_dir, lambda roster: revoked(moved(roster, "bob", ["Übung Ä"]), "vera"))
    again = kitchen.start()
    assert person(again, "Bob").groups == ("Übung-Ä",)
    assert person(again, "Vera").revoked
    assert [note.split(" ")[0] for note in again.notes] == ["Bob", "Vera's"]
    kitchen.edit("people.csv", "Bob;;participant;group 2", "Bob;;participant;Group 2")
    assert person(kitchen.start(), "Bob").groups == ("Übung-Ä",), "only the spelling changed"


def test_a_seat_that_was_taken_is_nobody_elses(kitchen: Kitchen) -> None:
    event = kitchen.start()

    def named(roster: Any) -> Any:
        return roster.with_person(replace(roster.people["participant-1"], name="Carl", unnamed=False))

    change(event.state_dir, named)
    again = kitchen.start()
    assert len(again.roster.people) == len(event.roster.people)
    assert person(again, "Carl").id == "participant-1"


def test_who_is_not_listed_any_more_is_told_of_and_stays(kitchen: Kitchen) -> None:
    first = kitchen.start()
    kitchen.edit("people.csv", "Bob;;participant;group 2\n", "")
    again = kitchen.start()
    assert again.roster == first.roster
    assert again.notes == (
        "Bob is not listed any more and still has a link; to take it back: jupyter collab revoke bob",
    )


def test_links_are_valid_for_as_long_as_the_file_says_now(kitchen: Kitchen) -> None:
    event = kitchen.start()
    bob = person(event, "Bob")
    assert event.roster.until(bob) - bob.issued == 14 * DAY
    kitchen.edit("event.toml", "spare_seats = 1\n", "spare_seats = 1\nlink_days = 30\n")
    again = kitchen.start()
    assert person(again, "Bob") == bob
    assert again.roster.until(bob) - bob.issued == 30 * DAY


def test_links_that_are_too_old_are_told_of(kitchen: Kitchen) -> None:
    event = kitchen.start()

    def too_old(roster: Roster) -> Roster:
        for who in ("bob", "vera"):
            roster = roster.with_person(replace(roster.people[who], issued=1.0))
        return roster

    change(event.state_dir, too_old)
    [note] = kitchen.start().notes
    assert note.startswith(
        "the links of Vera, Bob are older than 14 days and not valid any more; for longer:"
    )
    assert kitchen.start(link_days=366).notes != ()
    change(event.state_dir, lambda roster: revoked(revoked(roster, "bob"), "vera"))
    assert not any("older than" in note for note in kitchen.start().notes)


def test_data_may_lie_elsewhere_later(kitchen: Kitchen) -> None:
    kitchen.start()
    (kitchen.folder / "bigger").mkdir()
    kitchen.edit("event.toml", '"big"', '"bigger"')
    kitchen.start()
    assert (kitchen.root / "data").resolve() == kitchen.folder / "bigger"
    assert (kitchen.folder / "big" / "table.csv").is_file()


# --- mistakes -----------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a group that is none": (
        "people.csv", "Bob;;participant;group 2", "Bob;;participant;Grup 2",
        'people.csv, line 5: there is no group "Grup 2" (did you mean "Group 2"?)',
    ),
    "no group": (
        "people.csv", "Bob;;participant;group 2", "Bob;;;", 'people.csv, line 5: "Bob" is in no group: name'
    ),
    "two groups": (
        "people.csv", "Bob;;participant;group 2", 'Bob;;;"Group 2;Übung Ä"',
        "people.csv, line 5: a participant can be in one group only: name one, or write another role",
    ),
    "one name, no mail": (
        "people.csv", "Bob;", "ANN;",
        'people.csv, line 5: "ANN" is already at people.csv, line 3: give both an email',
    ),
    "one mail": (
        "people.csv", "ann2@example.org", "ANN@example.org",
        "people.csv, line 4: ANN@example.org is already at people.csv, line 3: remove one",
    ),
    "in both files": (
        "event.toml", '"Olga"', '"Bob"', 'people.csv, line 5: "Bob" is already at event.toml, line 14'
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_both_files_have_their_line(kitchen: Kitchen, case: str) -> None:
    name, old, new, expected = MISTAKES[case]
    kitchen.edit(name, old, new)
    told = kitchen.refused()
    assert len(told) == 1
    assert told[0].startswith(expected), told
    assert not kitchen.root.exists()


def test_mistakes_of_both_files_are_told_at_once(kitchen: Kitchen) -> None:
    kitchen.edit("event.toml", '"organiser"', '"boss"')
    kitchen.edit("people.csv", "tutor", "tuter")
    assert [line.split(":")[0] for line in kitchen.refused()] == ["event.toml, line 16", "people.csv, line 2"]


def test_two_topics_of_one_group(kitchen: Kitchen) -> None:
    (kitchen.folder / "event.toml").write_text('roster = "people.csv"\nnotebooks = "own"\n')
    (kitchen.folder / "people.csv").write_text("name,group,topic\nA,One,Ferries\nB,ONE,Trains\n")
    assert kitchen.refused() == [
        'people.csv, line 3: group "ONE" has the topic "Ferries" at people.csv, line 2: '
        "write the same, or leave it empty"
    ]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda k: (k.root / "data").mkdir(parents=True), "is in the way of the data folder: rename it"),
        (lambda k: k.edit("event.toml", '"big"', '"."'), "lie in each other"),
        (lambda k: (k.folder / "own" / "two.ipynb").unlink(), "there is no notebook in"),
    ],
    ids=["in the way", "in each other", "no notebook"],
)
def test_folders_that_can_not_be_used(
    kitchen: Kitchen, spoil: Callable[[Kitchen], object], expected: str
) -> None:
    spoil(kitchen)
    [told] = kitchen.refused()
    assert expected in told
    assert not (kitchen.root / ".collab").exists()


def test_a_group_called_data_does_not_take_its_place(kitchen: Kitchen) -> None:
    kitchen.edit("event.toml", '"Group 2"', '"Data"')
    (kitchen.folder / "people.csv").write_text("name,group\nAnn,DATA\n")
    assert set(kitchen.start().roster.groups) == {"Übung-Ä", "Data-2"}


# --- rehearsing, and an example -------------------------------------------------------------------------


def command(*words: str) -> Any:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(cli.app, list(words))


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    shown = io.StringIO()
    monkeypatch.setattr(screen, "console", Console(highlight=False, width=200, file=shown))
    return shown


def test_a_rehearsal_makes_nothing_and_says_what_would_be(kitchen: Kitchen, screened: io.StringIO) -> None:
    before = tree(kitchen.folder)
    outcome = command("start", str(kitchen.folder / "event.toml"), "--dry-run")
    assert outcome.exit_code == 0, outcome.output
    said = screened.getvalue()
    assert f"{kitchen.root} would be made" in said
    assert "Übung Ä in Übung-Ä/: 1 tutor, 2 participants, 1 observer (4 new)" in said
    assert f"gets deep, one.ipynb from {kitchen.folder / 'exercises'}" in said
    assert "No mistakes. Nothing was made" in said
    assert "key=" not in said
    assert tree(kitchen.folder) == before
    kitchen.start()
    before = tree(kitchen.folder)
    assert command("start", str(kitchen.folder / "event.toml"), "--dry-run").exit_code == 0
    assert f"{kitchen.root} would go on" in screened.getvalue()
    assert "new" not in screened.getvalue().split("would go on")[1]
    assert tree(kitchen.folder) == before


def test_a_rehearsal_tells_every_mistake_with_its_line(kitchen: Kitchen) -> None:
    kitchen.edit("event.toml", '"organiser"', '"boss"')
    kitchen.edit("people.csv", "tutor", "tuter")
    outcome = command("start", str(kitchen.folder / "event.toml"), "--dry-run")
    assert outcome.exit_code == 1
    assert "event.toml, line 16: " in outcome.output
    assert "people.csv, line 2: " in outcome.output
    assert "2 mistakes; nothing was made." in outcome.output
    assert not kitchen.root.exists()


def test_the_example_can_be_started_as_it_is(tmp_path: Path, screened: io.StringIO) -> None:
    path = tmp_path / "hackathon.toml"
    assert command("init", str(path)).exit_code == 0
    assert f"jupyter collab start {path} --dry-run" in screened.getvalue()
    event = prepare(Options(event_file=path))
    assert event.options.folder == tmp_path / "event"
    assert [len(event.roster.of_group(folder)) for folder in event.roster.groups] == [7, 7]
    path.write_text("mine")
    outcome = command("init", str(path))
    assert str(outcome.exception) == f"{path} is there already: name another file"
    assert path.read_text() == "mine"


def test_problems_are_a_config_error() -> None:
    assert issubclass(Problems, ConfigError)
