"""The roster as spreadsheets and forms write it, and each mistake with its line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_collab_ext.cli.plan import LARGEST_FILE, Problems
from jupyter_collab_ext.cli.roster_csv import read_roster
from notebook_sync.core.roles import Role

TABLE = """\
name,email,role,group,topic,level
Ada Lovelace,ada@example.org,tutor,Group 1;Übung 2,,
Zoë Müller,zoe@example.org,participant,Übung 2,Ferries,beginner
Bob,,,Group 1,,
"""


def written(folder: Path, text: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "people.csv"
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def check_table(path: Path) -> None:
    ada, zoe, bob = read_roster(path)
    assert (ada.name, ada.email, ada.role) == ("Ada Lovelace", "ada@example.org", Role.TUTOR)
    assert ada.groups == ("Group 1", "Übung 2")
    assert (zoe.name, zoe.role, zoe.topic, zoe.level) == (
        "Zoë Müller", Role.PARTICIPANT, "Ferries", "beginner"
    )  # fmt: skip
    assert (bob.email, bob.role, bob.groups, str(bob.place)) == (
        "",
        Role.PARTICIPANT,
        ("Group 1",),
        "people.csv, line 4",
    )


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_way_of_writing_it(tmp_path: Path, encoding: str, ends: str) -> None:
    check_table(written(tmp_path, TABLE.replace("\n", ends), encoding))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_as_a_spreadsheet_exports_it(tmp_path: Path, delimiter: str) -> None:
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter).writerows(csv.reader(io.StringIO(TABLE)))
    assert delimiter != ";" or '"Group 1;Übung 2"' in made.getvalue()
    check_table(written(tmp_path, made.getvalue(), "utf-8-sig"))


def test_columns_in_any_order_and_more_of_them(tmp_path: Path) -> None:
    text = "Registered, Group , NAME\n2026-11-01,Group 1,Ada\n,,\n\n2026-11-02,,Bob\n"
    ada, bob = read_roster(written(tmp_path, text))
    assert (ada.name, ada.groups, ada.place.line) == ("Ada", ("Group 1",), 2)
    assert (bob.name, bob.groups, bob.place.line) == ("Bob", (), 5)


def test_only_names(tmp_path: Path) -> None:
    assert [person.name for person in read_roster(written(tmp_path, "name\nAda\nBob\n"))] == ["Ada", "Bob"]


def test_what_links_csv_wrote_is_a_roster_again(tmp_path: Path) -> None:
    text = "name,group\n'=1+1,Group 1\n'@ada,Group 1\n'Tis,Group 1\n"
    assert [person.name for person in read_roster(written(tmp_path, text))] == ["=1+1", "@ada", "'Tis"]


def test_a_person_of_several_lines(tmp_path: Path) -> None:
    text = 'name,note\nAda,"one\ntwo"\nBob,x\n'
    assert [person.place.line for person in read_roster(written(tmp_path, text))] == [2, 4]


MISTAKES: dict[str, tuple[str | bytes, int, str]] = {
    "no header": ("Ada,ada@example.org\n", 1, "there is no column name"),
    "a misspelt header": ("nmae,email\n", 1, "there is no column name"),
    "nothing": ("", 1, "there is no column name"),
    "twice a column": ("name,name\n", 1, 'column "name" is there twice'),
    "no name": ("name,email\n,a@b.org\n", 2, "name has no letter: write a name"),
    "an endless name": (f"name\n{'x' * 61}\n", 2, "name is too long"),
    "a control character": ("name\nA\x1b[31m\n", 2, "name has a sign that can't be shown (U+001B)"),
    "a zero": ("name\nA\x00b\n", 2, "U+0000"),
    "a line in a name": ('name\n"A\nb"\n', 2, "U+000A"),
    "no mail": ("name,email\nA,x\n", 2, "email is no email address"),
    "no role": ("name,role\nA,boss\n", 2, 'role "boss" is none: write tutor, participant'),
    "too many columns": ("name,email\nA,a@b.org,x\n", 2, "this line has 3 columns instead of 2"),
    "an open quotation mark": ('name\n"A\nB\n', 3, "this is no CSV"),
    "a half quotation mark": ('name\n"A"b\n', 2, "this is no CSV"),
    "unreadable": (b"name\nA\x81\n", 2, "has a letter that can't be read: save the file as CSV UTF-8"),
    "half a letter": (b"\xff\xfen\x00a", 0, "can't be read: save it as CSV UTF-8"),
    "too many people": ("name\n" + "A\n" * 2001, 2002, "there are more than 2000 people"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_its_line_and_what_to_change(tmp_path: Path, case: str) -> None:
    text, line, expected = MISTAKES[case]
    with pytest.raises(Problems) as error:
        read_roster(written(tmp_path, text))
    told = str(error.value).split("\n")
    where = f"people.csv, line {line}: " if line else "people.csv: "
    assert any(each.startswith(where) and expected in each for each in told), told
    assert all(each.isprintable() for each in told)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Problems) as error:
        read_roster(written(tmp_path, "name,role,email\n,x,\nA,tutor,a@b.org\nB,,y\n"))
    assert [str(problem).split(":")[0] for problem in error.value.found] == [
        "people.csv, line 2", "people.csv, line 2", "people.csv, line 4"
    ]  # fmt: skip


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="No such file or directory"):
        read_roster(tmp_path / "none.csv")


def test_an_endless_file(tmp_path: Path) -> None:
    with pytest.raises(Problems, match="is longer than"):
        read_roster(written(tmp_path, b"x" * (LARGEST_FILE + 1)))


@given(st.binary(max_size=300))
def test_any_bytes_are_people_or_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"name,role\n" + data)
    try:
        people = read_roster(path)
    except Problems as error:
        told = str(error)
    else:
        told = "".join(person.name for person in people)
    assert told.replace("\n", "").replace("\u200c", "").replace("\u200d", "").isprintable()
