"""The event file, TOML: ``jupyter collab init`` writes one with comments, ``start`` reads it.

Every mistake is told with its line, all at once. TOML's parser gives no lines of values; they are found by
asking it for the shortest beginning of the file that has the value, so that nothing guesses at syntax.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jupyter_collab_ext import names
from jupyter_collab_ext.cli.plan import (
    MOST_GROUPS,
    MOST_PEOPLE,
    MOST_SEATS,
    ROLES,
    Place,
    Plan,
    PlannedGroup,
    PlannedPerson,
    Problem,
    Problems,
    bytes_of,
    meant,
    shown,
)
from notebook_sync.core.roles import Role

Path_ = tuple[str | int, ...]
T = TypeVar("T")

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$|\(at end of document\)$")
SERVER = ("ip", "public_url", "certfile", "keyfile", "redis_url", "state_dir")


def read_event_file(path: Path) -> Plan:
    """What the file says; its relative paths are meant from its folder. Raises ``Problems``."""
    plan, problems = load_event_file(path)
    if problems:
        raise Problems(problems)
    return plan


def load_event_file(path: Path) -> tuple[Plan, list[Problem]]:
    """As much as can be read, and the mistakes in it: so those of its roster are told with them."""
    try:
        text = _text(path)
        table = Table(_parsed(path, text), path, Lines(text), [])
    except Problems as error:
        return Plan(), list(error.found)
    plan = _plan(table)
    return plan, sorted(table.problems, key=lambda problem: problem.place.line if problem.place else 0)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        sentence = _AT_LINE.sub("", str(error)).strip()
        raise Problems([Problem(Place(path, line), f"this is no TOML: {sentence}")]) from None
    except RecursionError:
        raise Problems([Problem(Place(path), "this is no event file: it is nested too deeply")]) from None


def _text(path: Path) -> str:
    data = bytes_of(
        path,
        unreadable="check its name and its rights; jupyter collab init writes a new one",
        too_long="put people into a roster",
    )
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Problems([Problem(Place(path, line), "is not UTF-8: save the file as UTF-8")]) from None


class Lines:
    """Which line of a TOML text a value is on."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def of(self, path: Path_) -> int:
        """The line on which the value, table or (the missing one's) surroundings begin; 1 if unknown."""
        while path and not _has(self._beginning(len(self._lines))[0], path):
            path = path[:-1]
        if not path:
            return 1
        low, high = 0, len(self._lines)
        while high - low > 1:
            middle = (low + high) // 2
            if _has(self._beginning(middle)[0], path):
                high = middle
            else:
                low = middle
        # Between what parses without the value and what parses with it lies its statement.
        start = self._beginning(high - 1)[1]
        while start < high - 1 and not self._lines[start].split("#")[0].strip():
            start += 1
        return start + 1

    def _beginning(self, count: int) -> tuple[dict[str, Any], int]:
        """The longest beginning of at most ``count`` lines that is TOML, and how many lines it has."""
        while count > 0:
            try:
                return tomllib.loads("\n".join(self._lines[:count])), count
            except tomllib.TOMLDecodeError:
                count -= 1
        return {}, 0


def _has(data: Any, path: Path_) -> bool:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


class Table:
    """A table of the file while it is checked: each ``get`` takes one key, ``done`` tells the others."""

    def __init__(
        self, data: Mapping[str, Any], file: Path, lines: Lines, problems: list[Problem], path: Path_ = ()
    ) -> None:
        self._data = data
        self._file = file
        self._lines = lines
        self._path = path
        self._asked: list[str] = []
        self.problems = problems

    def place(self, *path: str | int) -> Place:
        """Where a value of this table is."""
        return Place(self._file, self._lines.of((*self._path, *path)))

    def wrong(self, sentence: str, *path: str | int) -> None:
        """Note a mistake."""
        self.problems.append(Problem(self.place(*path), sentence))

    def get(self, key: str, kind: type[T], what: str) -> T | None:
        """The value, None if there is none or it is not of this kind."""
        self._asked.append(key)
        value = self._data.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.wrong(f"{key} must be {what}", key)
            return None
        return value

    def text(self, key: str, check: Callable[[str], str] = names.line) -> str:
        """A text that passes ``check``; empty if it is not there."""
        value = self.get(key, str, "text in quotation marks")
        try:
            return check(value) if value is not None else ""
        except ValueError as error:
            self.wrong(f"{key} {error}", key)
            return ""

    def number(self, key: str, low: int, high: int) -> int | None:
        """A whole number in these bounds."""
        value = self.get(key, int, f"a number from {low} to {high}")
        if value is not None and not low <= value <= high:
            self.wrong(f"{key} must be a number from {low} to {high}", key)
            return None
        return value

    def path(self, key: str) -> Path | None:
        """A path, from the file's folder."""
        value = self.get(key, str, "a path in quotation marks")
        if value is None:
            return None
        if not value or "\0" in value:
            self.wrong(f"{key} must be a path in quotation marks", key)
            return None
        return (self._file.parent / Path(value).expanduser()).resolve()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one."""
        self._asked.append(key)
        value = self._data.get(key, [])
        many = [value] if isinstance(value, str) else value
        if not isinstance(many, list) or not all(isinstance(each, str) for each in many):
            self.wrong(f'{key} must be like "Group 1" or ["Group 1", "Group 2"]', key)
            return ()
        return tuple(" ".join(each.split()) for each in many)

    def table(self, key: str) -> Table:
        """A table in this one; empty if it is not there."""
        value = self.get(key, dict, f"a table: write [{key}] on a line of its own") or {}
        return Table(value, self._file, self._lines, self.problems, (*self._path, key))

    def tables(self, key: str, most: int) -> list[Table]:
        """A list of tables."""
        value: list[Any] = self.get(key, list, f"tables: write [[{key}]] before each") or []
        if len(value) > most:
            self.wrong(f"there are more than {most} {key}: make several events", key, most)
        found = []
        for number, row in enumerate(value[:most]):
            if isinstance(row, dict):
                found.append(Table(row, self._file, self._lines, self.problems, (*self._path, key, number)))
            else:
                self.wrong(f"{key} must be tables: write [[{key}]] before each", key)
        return found

    def done(self) -> None:
        """Tell what is there and was not asked for."""
        for key in self._data:
            if key not in self._asked:
                self.wrong(f"there is no setting {shown(key)}{meant(key, self._asked)}", key)


def _plan(table: Table) -> Plan:
    groups = tuple(_group(row) for row in table.tables("groups", MOST_GROUPS))
    people = tuple(_person(row) for row in table.tables("people", MOST_PEOPLE))
    server = table.table("server")
    plan = Plan(
        root=table.path("root"),
        notebooks=_folder(table, "notebooks"),
        data=_folder(table, "data"),
        days=table.number("link_days", 1, 366),
        seats=table.number("spare_seats", 0, MOST_SEATS),
        ask_names=table.get("ask_names", bool, "true or false"),
        roster=table.path("roster"),
        groups=groups,
        people=people,
        server=_server(server),
    )
    _told_once(table, groups)
    server.done()
    table.done()
    return plan


def _folder(table: Table, key: str) -> Path | None:
    path = table.path(key)
    if path is not None and not path.is_dir():
        table.wrong(f"there is no folder {path}: correct {key}", key)
        return None
    return path


def _told_once(table: Table, groups: tuple[PlannedGroup, ...]) -> None:
    seen: dict[str, PlannedGroup] = {}
    for number, group in enumerate(groups):
        first = seen.setdefault(names.same(group.name), group)
        if group.name and first is not group and first.place is not None:
            sentence = f"group {shown(group.name)} is on line {first.place.line} already: choose another name"
            table.wrong(sentence, "groups", number, "name")


def _group(row: Table) -> PlannedGroup:
    group = PlannedGroup(
        name=row.text("name", names.name),
        place=row.place(),
        topic=row.text("topic"),
        meeting=row.text("meeting", names.address),
        notebooks=_folder(row, "notebooks"),
        seats=row.number("spare_seats", 0, MOST_SEATS),
    )
    _needs_name(row, "group", group.name)
    row.done()
    return group


def _person(row: Table) -> PlannedPerson:
    said = row.text("role", str.strip).lower()
    role = ROLES.get(said, Role.PARTICIPANT)
    if said and said not in ROLES:
        row.wrong(f"there is no role {shown(said)}: write tutor, participant, observer or organiser", "role")
    person = PlannedPerson(
        name=row.text("name", names.name),
        place=row.place(),
        role=role,
        groups=tuple(dict.fromkeys((*row.texts("group"), *row.texts("groups")))),
        email=row.text("email", names.email),
        level=row.text("level"),
    )
    _needs_name(row, "person", person.name)
    row.done()
    return person


def _needs_name(row: Table, what: str, name: str) -> None:
    if not name and not any(p.place == row.place("name") for p in row.problems):
        row.wrong(f'this {what} has no name: write name = "…"')


def _server(table: Table) -> dict[str, str]:
    found = {}
    port = table.number("port", 1, 65535)
    if port is not None:
        found["port"] = str(port)
    for key in SERVER:
        if key in ("certfile", "keyfile", "state_dir"):
            path = table.path(key)
            value = "" if path is None else str(path)
        else:
            value = table.text(key, _plain)
        if value:
            found[key] = value
    if urlsplit(found.get("redis_url", "")).password:
        table.wrong("a password belongs into the environment: set JUPYTER_COLLAB_REDIS_URL", "redis_url")
    return found


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has a sign that can't be used: remove it")
    return text.strip()
