"""Who takes part: a roster in a file, so that links and colours stay over restarts."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jupyter_collab_ext.colours import pick
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.ids import UserId
from notebook_sync.core.roles import Member, Role

ROSTER = "people.json"
GROUP = "group-1"
FORMAT = 1
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a link. ``invitation`` rises when a link is replaced, which ends the old one."""

    id: str
    name: str
    initials: str
    color: str
    role: Role
    group: str
    invitation: int = 1

    def member(self) -> Member:
        """This person as the engine knows people."""
        return Member(
            UserId(self.id),
            self.role,
            {
                "username": self.id,
                "name": self.name,
                "display_name": self.name,
                "initials": self.initials,
                "avatar_url": None,
                "color": self.color,
            },
        )


def initials(name: str) -> str:
    """Up to two letters or digits for a small round picture: "Participant 3" is P3."""
    words = name.split()
    return "".join(word[0] for word in words[:2]).upper() or "?"


@dataclass(frozen=True, slots=True)
class Roster:
    """All people of one event. ``event`` is a random name, so that another event's cookies are not ours."""

    event: str
    port: int | None
    people: Mapping[str, Person]

    def with_people(self, group: str, role: Role, name: str, count: int) -> Roster:
        """At least ``count`` people of this role in the group; those who are there stay as they are."""
        people = dict(self.people)
        have = sum(p.role is role for p in people.values() if p.group == group)
        for _ in range(have, count):
            # Not the next after how many there are: somebody may have been taken out of the file.
            number = next(n for n in itertools.count(1) if f"{role.value}-{n}" not in people)
            full = name if count == 1 and number == 1 else f"{name} {number}"
            taken = {p.color for p in people.values() if p.group == group}
            person = Person(
                id=f"{role.value}-{number}",
                name=full,
                initials=initials(full),
                color=pick(taken, len(taken)),
                role=role,
                group=group,
            )
            people[person.id] = person
        return Roster(self.event, self.port, people)

    def of_group(self, group: str) -> list[Person]:
        """The group's people, tutors first."""
        order = list(Role)
        return sorted(
            (p for p in self.people.values() if p.group == group),
            key=lambda p: (order.index(p.role), len(p.id), p.id),
        )


def new_roster() -> Roster:
    """Nobody yet."""
    return Roster(secrets.token_hex(8), None, {})


def load(state_dir: Path) -> Roster | None:
    """The roster in ``state_dir``, None if there is none. Raises ``ConfigError`` if it can't be read."""
    path = state_dir / ROSTER
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} can't be read ({error}): repair it, or start with another --root"
        ) from error
    try:
        if data["format"] != FORMAT:
            raise ConfigError(
                f"{path} was written by another version: upgrade this one, or use another --root"
            )
        return _roster(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is damaged ({error!r}): repair it, or start with another --root"
        ) from error


def _roster(data: Mapping[str, Any]) -> Roster:
    """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what `save` does not write."""
    event, port = data["event"], data["port"]
    if not isinstance(event, str) or not event:
        raise ValueError("event is no name")
    if port is not None and not (_is_number(port) and port < 65536):
        raise ValueError("port is no port")
    people = [_person(row) for row in data["people"]]
    by_id = {person.id: person for person in people}
    if len(by_id) < len(people):
        raise ValueError("two people have the same id")
    return Roster(event, port, by_id)


def _person(row: Mapping[str, Any]) -> Person:
    person = Person(**{**row, "role": Role(row["role"])})
    for name in ("id", "name", "initials", "color", "group"):
        value = getattr(person, name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} is no text")
    if not COLOUR.fullmatch(person.color):
        raise ValueError("color is not #rrggbb")
    if not _is_number(person.invitation):
        raise ValueError("invitation is no number")
    return person


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def save(roster: Roster, state_dir: Path) -> None:
    """Write the roster, readable by its owner only, whole or not at all. Raises ``ConfigError``."""
    data = {
        "format": FORMAT,
        "event": roster.event,
        "port": roster.port,
        "people": [asdict(person) for person in roster.people.values()],
    }
    path = state_dir / ROSTER
    temporary = state_dir / f".{ROSTER}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(
            f"{path} can't be written ({error.strerror}): check the folder's rights and space"
        ) from error
