"""The event file: what it may say, and each mistake with its line and what to change, all at once."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_collab_ext.cli.event_file import Lines, read_event_file
from jupyter_collab_ext.cli.plan import LARGEST_FILE, Place, Plan, PlannedPerson, Problems
from notebook_sync.core.roles import Role

WHOLE = """\
root = "there"            # a comment
notebooks = "exercises"
data = "big"
link_days = 30
spare_seats = 2
ask_names = false
roster = "people.csv"

[server]
public_url = "https://your.name/"
port = 9000
certfile = "cert.pem"

[[groups]]
name = "Übung  1"
topic = "Ferries"
meeting = "https://meet.example.org/1"
notebooks = "exercises"
spare_seats = 0

[[groups]]
name = "Group 2"

[[people]]
name = "Ada Lovelace"
role = "Tutor"
groups = ["Übung 1", "Group 2"]
email = "ada@example.org"

[[people]]
name = "Bob"
group = "Group 2"
level = "beginner"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("exercises", "big"):
        (tmp_path / name).mkdir()
    return tmp_path


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "event.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def said(folder: Path, text: str | bytes) -> list[str]:
    """What is told about a file."""
    with pytest.raises(Problems) as error:
        read_event_file(written(folder, text))
    return str(error.value).split("\n")


# --- what it may say --------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["{}", "\ufeff{}"], ids=["plain", "with a mark"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["unix", "windows"])
def test_all_of_it(folder: Path, spoil: str, ends: str) -> None:
    plan = read_event_file(written(folder, spoil.format(WHOLE).replace("\n", ends)))
    assert (plan.root, plan.notebooks, plan.data) == (folder / "there", folder / "exercises", folder / "big")
    assert (plan.days, plan.seats, plan.ask_names) == (30, 2, False)
    assert plan.roster == folder / "people.csv"
    assert plan.server == {
        "public_url": "https://your.name/", "port": "9000", "certfile": str(folder / "cert.pem")
    }  # fmt: skip
    one, two = plan.groups
    assert (one.name, one.topic, one.meeting) == ("Übung 1", "Ferries", "https://meet.example.org/1")
    assert (one.notebooks, one.seats, two.notebooks, two.seats) == (folder / "exercises", 0, None, None)
    place = plan.people[0].place
    assert str(place) == "event.toml, line 24"
    assert plan.people[0] == PlannedPerson(
        "Ada Lovelace", place, Role.TUTOR, ("Übung 1", "Group 2"), "ada@example.org"
    )
    assert (plan.people[1].groups, plan.people[1].level) == (("Group 2",), "beginner")


def test_an_empty_file_says_nothing(folder: Path) -> None:
    assert read_event_file(written(folder, "")) == Plan()


def test_the_example_is_a_good_one(folder: Path) -> None:
    text = (files("jupyter_collab_ext") / "templates" / "event.toml").read_text(encoding="utf-8")
    plan = read_event_file(written(folder, text))
    assert [group.name for group in plan.groups] == ["Group 1", "Group 2"]
    # What is commented out is good too.
    for name in ("exercises-1", "big-data"):
        (folder / name).mkdir()
    lines = [line.removeprefix("# ") if " = " in line else line for line in text.split("\n")]
    plan = read_event_file(written(folder, "\n".join(lines)))
    assert plan.roster == folder / "people.csv"
    assert plan.server["ip"] == "0.0.0.0"


# --- mistakes ---------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[str | bytes, int, str]] = {
    "no TOML": ("a = 1\nroot = event\n", 2, "this is no TOML: "),
    "an open quotation mark": ('root = "event\n', 1, "this is no TOML: "),
    "an open list": ('a = 1\nroot = [\n"x",\n', 4, "this is no TOML: "),
    "twice the same": ('root = "a"\nroot = "b"\n', 2, "this is no TOML: Cannot overwrite a value"),
    "not UTF-8": (b'a = 1\n# x\nroot = "\xfc"\n', 3, "is not UTF-8: save the file as UTF-8"),
    "an unknown word": ("\nlink_day = 3", 2, 'there is no setting "link_day" (did you mean "link_days"?)'),
    "an unknown table": ("[sever]\nport = 1", 1, 'there is no setting "sever" (did you mean "server"?)'),
    "unknown in a table": (
        '[[groups]]\nname = "a"\n\ntopc = "x"', 4, 'there is no setting "topc" (did you mean "topic"?)'
    ),
    "a control character in a word": ('"a\\u001b" = 1', 1, 'there is no setting "a�"'),
    "days as text": ('link_days = "14"', 1, "link_days must be a number from 1 to 366"),
    "days that are none": ("link_days = 0", 1, "link_days must be a number from 1 to 366"),
    "days as true": ("link_days = true", 1, "link_days must be a number from 1 to 366"),
    "a number as a name": ("[[groups]]\nname = 1", 2, "name must be text in quotation marks"),
    "a group without a name": ('a_comment_before = 1\n[[groups]]\ntopic = "x"', 2, "this group has no name"),
    "a person without a name": ('[[people]]\nrole = "tutor"', 1, 'this person has no name: write name = "…"'),
    "an endless name": (f'[[groups]]\nname = "{"x" * 61}"', 2, "name is too long: shorten it to 60"),
    "a name of signs": ('[[groups]]\nname = "a\\u202eb"', 2, "name has a sign that can't be shown (U+202E)"),
    "a topic over lines": (
        '[[groups]]\nname = "a"\n# so\ntopic = """\na\nb"""', 4, "topic has a sign that can't be shown (U+000"
    ),
    "a group twice": (
        '[[groups]]\nname = "Group 1"\n[[groups]]\nname = "GROUP 1"', 4, "is on line 1 already: choose"
    ),
    "groups that are none": ("groups = [1]", 1, "groups must be tables: write [[groups]] before each"),
    "groups as one table": ('[groups]\nname = "a"', 1, "groups must be tables: write [[groups]] before each"),
    "a role that is none": (
        '[[people]]\nname = "A"\nrole = "boss"', 3, 'there is no role "boss": write tutor, participant'
    ),
    "a list of numbers": ('[[people]]\nname = "A"\ngroups = [1]', 3, 'groups must be like "Group 1" or'),
    "mail that is none": ('[[people]]\nname = "A"\nemail = "x"', 3, "email is no email address"),
    "a meeting that is none": (
        '[[groups]]\nname = "a"\nmeeting = "javascript:x"', 3, "meeting is no address: write one like https://"
    ),
    "a folder that is none": ('x_ = 1\nnotebooks = "none"', 2, "correct notebooks"),
    "a path that is none": ('root = ""', 1, "root must be a path in quotation marks"),
    "a server that is none": ("server = 1", 1, "server must be a table: write [server] on a line of its own"),
    "a port that is none": ("[server]\n\nport = 70000", 3, "port must be a number from 1 to 65535"),
    "a password": ('[server]\nredis_url = "redis://:x@y"', 2, "set JUPYTER_COLLAB_REDIS_URL"),
    "too many seats": ("spare_seats = 101", 1, "spare_seats must be a number from 0 to 100"),
    "too many groups": (
        "".join(f'[[groups]]\nname = "{n}"\n' for n in range(201)), 401, "there are more than 200 groups"
    ),
    "inline": ('people = [\n  {name = "A", role = "boss"},\n]', 1, "there is no role"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_each_mistake_has_its_line_and_what_to_change(folder: Path, case: str) -> None:
    text, line, expected = MISTAKES[case]
    told = said(folder, text)
    assert any(each.startswith(f"event.toml, line {line}: ") and expected in each for each in told), told
    assert all(each.isprintable() for each in told)


def test_all_mistakes_are_told_at_once_in_their_order(folder: Path) -> None:
    text = 'link_days = 0\n[[groups]]\nname = ""\n[[people]]\nname = "A"\nrole = "x"\nemail = "y"\n'
    assert [each.split(":")[0] for each in said(folder, text)] == [
        f"event.toml, line {line}" for line in (1, 3, 6, 7)
    ]


def test_more_mistakes_than_anybody_reads(folder: Path) -> None:
    told = said(folder, "\n".join(f"x{number} = 1" for number in range(80)))
    assert len(told) == 51
    assert told[-1] == "and 30 more"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Problems, match=r"event\.toml: can't be read \(No such file or directory\): check"):
        read_event_file(tmp_path / "event.toml")
    with pytest.raises(Problems, match="Is a directory"):
        read_event_file(tmp_path)


def test_an_endless_file(tmp_path: Path) -> None:
    assert "is longer than" in said(tmp_path, b"#" * (LARGEST_FILE + 1))[0]


def test_a_file_that_is_nested_without_end(tmp_path: Path) -> None:
    assert "event.toml" in said(tmp_path, "a = " + "[" * 100_000)[0]


@given(
    st.lists(
        st.sampled_from(["", "# x", "a = 1", "b = [\n 1,\n 2]", '[t]\nc = """\nx\n"""', "d = 4"]), unique=True
    )
)
def test_a_values_line_is_where_its_statement_begins(statements: list[str]) -> None:
    text = "\n".join(statements)
    data = tomllib.loads(text)
    lines = text.split("\n")
    for key in ("a", "b", "d", "t"):
        holder = data["t"] if key not in data and "t" in data else data
        path = (key,) if key in data else ("t", key)
        if key in holder:
            assert lines[Lines(text).of(path) - 1].startswith((f"{key} =", f"[{key}]"))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_lines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_event_file(path)
        return
    except Problems as problems:
        told = problems
    assert told.found
    assert all(isinstance(problem.place, Place) for problem in told.found)
    assert str(told).replace("\n", "").isprintable()
