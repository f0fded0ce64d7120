"""The roster: a CSV file with a line for each person, as a spreadsheet or a registration form exports it.

Columns ``name, email, role, group, topic, level`` in any order, only ``name`` needed; others are left
alone. Comma, semicolon or tab between them, UTF-8 with or without a mark, UTF-16, or what Windows
calls ANSI; any kind of line end. Several groups of a person are joined by ``;``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from jupyter_collab_ext import names
from jupyter_collab_ext.cli.plan import (
    MOST_PEOPLE,
    ROLES,
    Place,
    PlannedPerson,
    Problem,
    Problems,
    bytes_of,
    meant,
    shown,
)
from notebook_sync.core.roles import Role

COLUMNS = ("name", "email", "role", "group", "topic", "level")
DELIMITERS = (",", ";", "\t")
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def read_roster(path: Path) -> tuple[PlannedPerson, ...]:
    """The people in the file, in its order. Raises ``Problems``."""
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    problems: list[Problem] = []
    people: list[PlannedPerson] = []
    try:
        header = _header(path, next(reader, []))
        for line, row in _rows(reader):
            people.append(_person(path, line, header, row, problems))
            if len(people) > MOST_PEOPLE:
                sentence = f"there are more than {MOST_PEOPLE} people: make several events"
                raise Problems([Problem(Place(path, line), sentence)])
    except csv.Error as error:
        sentence = f"this is no CSV ({error}): look for a quotation mark without its second"
        problems.append(Problem(Place(path, reader.line_num), sentence))
    if problems:
        raise Problems(problems)
    return tuple(people)


def _text(path: Path) -> str:
    data = bytes_of(path, unreadable="check its name and its rights", too_long="make several events")
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise Problems([Problem(Place(path), "can't be read: save it as CSV UTF-8")]) from error
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        sentence = "has a letter that can't be read: save the file as CSV UTF-8"
        raise Problems([Problem(Place(path, line), sentence)]) from error


def _delimiter(text: str) -> str:
    """What the first line has most of; a comma if it has one column only."""
    first = text.lstrip("\r\n").splitlines()[:1]
    return max(DELIMITERS, key=lambda sign: first[0].count(sign)) if first else ","


def _header(path: Path, row: list[str]) -> dict[str, int]:
    """Column -> place in a row. Raises ``Problems``."""
    found: dict[str, int] = {}
    for number, title in enumerate(row):
        key = title.strip().casefold()
        if key in COLUMNS and key in found:
            sentence = f"column {shown(key)} is there twice: rename one"
            raise Problems([Problem(Place(path, 1), sentence)])
        found[key] = number
    if "name" not in found:
        close = next((meant("name", [title]) for title in row if meant("name", [title.strip()])), "")
        sentence = (
            f"there is no column name{close}: the first line must name the columns: {','.join(COLUMNS)}"
        )
        raise Problems([Problem(Place(path, 1), sentence)])
    return found


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each row that has something in it, with the line on which it begins."""
    before = reader.line_num  # type: ignore[attr-defined]  # csv's reader has it
    for row in reader:
        if any(value.strip() for value in row):
            yield before + 1, row
        before = reader.line_num  # type: ignore[attr-defined]  # as above


def _person(
    path: Path, line: int, header: dict[str, int], row: list[str], problems: list[Problem]
) -> PlannedPerson:
    place = Place(path, line)
    if len(row) > len(header):
        sentence = (
            f"this line has {len(row)} columns instead of {len(header)}: put quotation marks around text"
        )
        problems.append(Problem(place, sentence))

    def value(key: str, check: Callable[[str], str]) -> str:
        number = header.get(key, len(row))
        try:
            return check(names.from_cell(row[number].strip()) if number < len(row) else "")
        except ValueError as error:
            problems.append(Problem(place, f"{key} {error}"))
            return ""

    return PlannedPerson(
        name=value("name", names.name),
        place=place,
        role=ROLES[value("role", _role) or Role.PARTICIPANT.value],
        groups=tuple(
            dict.fromkeys(filter(None, (" ".join(g.split()) for g in value("group", str).split(";"))))
        ),
        email=value("email", names.email),
        level=value("level", names.line),
        topic=value("topic", names.line),
    )


def _role(said: str) -> str:
    word = said.casefold()
    if word and word not in ROLES:
        raise ValueError(f"{shown(said)} is none: write tutor, participant, observer or organiser")
    return word
