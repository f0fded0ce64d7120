"""What an organiser wants: the event file and the roster, read and checked, before anything is made."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

MOST_GROUPS = 200
MOST_PEOPLE = 2000
MOST_SEATS = 100
"""Of one role in one group."""
LARGEST_FILE = 2**20
"""Bytes of an event file or a roster."""
MOST_PROBLEMS = 50
"""That are told at once."""
ROLES = {role.value: role for role in Role} | {"organizer": Role.ORGANISER}
SEVERAL_GROUPS = (Role.TUTOR, Role.OBSERVER, Role.ORGANISER)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1; 0 means the file as a whole."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file.name}, line {self.line}" if self.line else self.file.name


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and what to change, as one sentence without a full stop."""

    place: Place | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}" if self.place else self.sentence


class Problems(ConfigError):
    """All that is wrong, each with its line."""

    def __init__(self, found: Iterable[Problem]) -> None:
        self.found = tuple(dict.fromkeys(found))
        lines = [str(problem) for problem in self.found[:MOST_PROBLEMS]]
        if len(self.found) > MOST_PROBLEMS:
            lines.append(f"and {len(self.found) - MOST_PROBLEMS} more")
        super().__init__("\n".join(lines))


def bytes_of(path: Path, *, unreadable: str, too_long: str) -> bytes:
    """The content of a file that somebody wrote, up to a bound. Raises ``Problems``; ``unreadable`` and
    ``too_long`` say what to do then."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise Problems([Problem(Place(path), f"can't be read ({error.strerror}): {unreadable}")]) from error
    if len(data) > LARGEST_FILE:
        raise Problems([Problem(Place(path), f"is longer than {LARGEST_FILE} bytes: {too_long}")])
    return data


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """A group as the event file has it; what is None was not said."""

    name: str
    place: Place | None = None
    topic: str = ""
    meeting: str = ""
    notebooks: Path | None = None
    seats: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedPerson:
    """Somebody as the event file or the roster has them; ``groups`` are names."""

    name: str
    place: Place
    role: Role = Role.PARTICIPANT
    groups: tuple[str, ...] = ()
    email: str = ""
    level: str = ""
    topic: str = ""
    """Of the group, as a roster may say it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it; what is None was not said."""

    root: Path | None = None
    notebooks: Path | None = None
    data: Path | None = None
    days: int | None = None
    seats: int | None = None
    ask_names: bool | None = None
    roster: Path | None = None
    groups: tuple[PlannedGroup, ...] = ()
    people: tuple[PlannedPerson, ...] = ()
    server: Mapping[str, str] = field(default_factory=dict)


def meant(said: str, known: Iterable[str]) -> str:
    """What somebody who wrote ``said`` will have meant: `` (did you mean "x"?)``, or nothing."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(said.casefold(), names, n=1)
    return f' (did you mean "{names[close[0]]}"?)' if close else ""


def shown(text: str) -> str:
    """``text`` for a message: short, and without anything that a terminal would act on."""
    plain = "".join(sign if sign.isprintable() else "�" for sign in text[:61])
    return f'"{plain[:60]}…"' if len(text) > 60 else f'"{plain}"'
