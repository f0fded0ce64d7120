"""The file that keeps an event's people: whole, private, and changed by one program at a time.

The server watches it (``people_watch``), so a command that changes it needs no other way to the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from jupyter_collab_ext.people import Group, Person, Roster
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

ROSTER = "people.json"
LOCK = "people.lock"
FORMAT = 2
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LARGEST_FILE = 16 * 2**20
"""Bytes; about 40 000 people."""

T = TypeVar("T")


# --- reading ----------------------------------------------------------------------------------------


def load(state_dir: Path) -> Roster | None:
    """The roster in ``state_dir``, None if there is none. Raises ``ConfigError`` if it can't be read."""
    path = state_dir / ROSTER
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} can't be read ({error}): repair it, or start with another --root"
        ) from error
    try:
        if data["format"] not in (1, FORMAT):
            raise ConfigError(
                f"{path} was written by another version: upgrade this one, or use another --root"
            )
        return _roster(data if data["format"] == FORMAT else _from_first_format(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is damaged ({error!r}): repair it, or start with another --root"
        ) from error


def _from_first_format(data: Mapping[str, Any]) -> dict[str, Any]:
    """The first format had one group for each person, of which the name was the folder."""
    people = [
        {name: value for name, value in row.items() if name != "group"}
        | {"groups": [row["group"]], "seat": row["group"]}
        for row in data["people"]
    ]
    names = dict.fromkeys(row["group"] for row in data["people"])
    groups = [{"folder": name, "name": name} for name in names]
    return {**data, "people": people, "groups": groups}


def _roster(data: Mapping[str, Any]) -> Roster:
    """Raises ``KeyError``, ``TypeError`` or ``ValueError`` for what `save` does not write."""
    event, port, days = _text(data, "event"), data["port"], data.get("days", Roster("", None, {}).days)
    if port is not None and not (_is_number(port) and port < 65536):
        raise ValueError("port is no port")
    if not _is_number(days):
        raise ValueError("days is no number")
    groups = [_group(row) for row in data["groups"]]
    people = [_person(row, {group.folder for group in groups}) for row in data["people"]]
    server = {str(name): str(value) for name, value in data.get("server", {}).items()}
    return Roster(
        event,
        port,
        _by("id", people),
        _by("folder", groups),
        data=_text(data, "data", empty=True),
        days=days,
        base=_text(data, "base", empty=True),
        server=server,
    )


def _by(key: str, rows: list[T]) -> dict[str, T]:
    found = {getattr(row, key): row for row in rows}
    if len(found) < len(rows):
        raise ValueError(f"two have the same {key}")
    return found


def _text(row: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = row.get(name, "") if empty else row[name]
    if not isinstance(value, str) or not (value or empty):
        raise ValueError(f"{name} is no text")
    return value


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = row.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ValueError(f"{name} is no list of texts")
    return tuple(values)


def _group(row: Mapping[str, Any]) -> Group:
    _only(row, Group)
    folder = _text(row, "folder")
    if "/" in folder or "\\" in folder or "\0" in folder or folder.startswith("."):
        raise ValueError("folder is no name of a folder")
    topic, meeting = (_text(row, name, empty=True) for name in ("topic", "meeting"))
    return Group(folder, _text(row, "name"), topic, meeting, _texts(row, "given"))


def _person(row: Mapping[str, Any], groups: set[str]) -> Person:
    _only(row, Person)
    texts: dict[str, Any] = {name: _text(row, name) for name in ("id", "name", "initials", "color")}
    texts |= {name: _text(row, name, empty=True) for name in ("email", "level", "seat")}
    flags: dict[str, Any] = {name: row.get(name, False) for name in ("revoked", "unnamed")}
    person = Person(
        **texts,
        **flags,
        role=Role(row["role"]),
        groups=_texts(row, "groups"),
        invitation=row.get("invitation", 1),
        issued=row.get("issued", 0.0),
        listed=_texts(row, "listed"),
    )
    if not ID.fullmatch(person.id):
        raise ValueError("id is no id")
    if not COLOUR.fullmatch(person.color):
        raise ValueError("color is not #rrggbb")
    if not _is_number(person.invitation):
        raise ValueError("invitation is no number")
    if (
        isinstance(person.issued, bool)
        or not isinstance(person.issued, int | float)
        or not person.issued >= 0
    ):
        raise ValueError("issued is no time")
    if not all(isinstance(value, bool) for value in flags.values()):
        raise ValueError("revoked or unnamed is neither true nor false")
    if unknown := set(person.groups) - groups:
        raise ValueError(f"there is no group {sorted(unknown)[0]}")
    if not person.groups and person.role is not Role.ORGANISER:
        raise ValueError(f"{person.id} is in no group")
    return person


def _only(row: Mapping[str, Any], kind: type[Group] | type[Person]) -> None:
    if unknown := set(row) - {each.name for each in fields(kind)}:
        raise ValueError(f"{sorted(unknown)[0]} is nothing that is kept")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


# --- writing ----------------------------------------------------------------------------------------


def save(roster: Roster, state_dir: Path) -> None:
    """Write the roster, readable by its owner only, whole or not at all. Raises ``ConfigError``."""
    data = {
        "format": FORMAT,
        "event": roster.event,
        "port": roster.port,
        "days": roster.days,
        "base": roster.base,
        "server": dict(roster.server),
        "data": roster.data,
        "groups": [asdict(group) for group in roster.groups.values()],
        "people": [asdict(person) for person in roster.people.values()],
    }
    write_private(state_dir / ROSTER, json.dumps(data, indent=1, ensure_ascii=False))


def write_private(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Put ``text`` at ``path``, mode 0600, whole or not at all. Raises ``ConfigError``."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding=encoding, newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(
            f"{path} can't be written ({error.strerror}): check the folder's rights and space"
        ) from error


@contextlib.contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Nobody else changes the roster meanwhile. Raises ``ConfigError``."""
    path = state_dir / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} can't be used ({error.strerror}): check the folder's rights") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def change(state_dir: Path, how: Callable[[Roster], Roster]) -> Roster:
    """Read, change and write the roster, alone. Returns the new one.

    What ``how`` raises leaves the file as it is. Raises ``ConfigError`` when there is no event here.
    """
    with locked(state_dir):
        before = load(state_dir)
        if before is None:
            raise ConfigError(f"there is no event in {state_dir}: name its folder with --root")
        after = how(before)
        if after != before:
            save(after, state_dir)
        return after
