"""What ``jupyter collab add, move, relink, revoke`` do to a roster: pure, and refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jupyter_collab_ext import names
from jupyter_collab_ext.cli.plan import MOST_PEOPLE, ROLES, SEVERAL_GROUPS, meant, shown
from jupyter_collab_ext.people import Group, Person, Roster, initials
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role


def added(roster: Roster, said: str, groups: list[str], role: str, email: str, now: float) -> Roster:
    """With a new person, the last of all. Raises ``ConfigError``."""
    name = _checked("the name", names.name, said)
    if role.lower() not in ROLES:
        raise ConfigError(f"there is no role {shown(role)}: write tutor, participant, observer or organiser")
    if len(roster.people) >= MOST_PEOPLE:
        raise ConfigError(f"there are {MOST_PEOPLE} people already: make another event")
    for other in roster.people.values():
        if names.same(other.name) == names.same(name):
            raise ConfigError(
                f"{other.name} is in {where_in(roster, other)} already (id {other.id}): "
                "add a letter of the family name, or move them with jupyter collab move"
            )
    kind = ROLES[role.lower()]
    folders = _folders(roster, groups, kind)
    person = Person(
        id=names.id_for(name, kind, roster.people),
        name=name,
        initials=initials(name),
        color=roster.free_colour(folders),
        role=kind,
        groups=folders,
        email=_checked("the email", names.email, email),
        issued=now,
    )
    return roster.with_person(person)


def newest(roster: Roster) -> Person:
    """Who was added last."""
    return list(roster.people.values())[-1]


def moved(roster: Roster, person: str, groups: list[str]) -> Roster:
    """With the person in these groups. Raises ``ConfigError``."""
    known = roster.people[person]
    return roster.with_person(replace(known, groups=_folders(roster, groups, known.role)))


def relinked(roster: Roster, person: str, now: float) -> Roster:
    """With a new link for the person, who is let in again if they were not."""
    known = roster.people[person]
    return roster.with_person(replace(known, invitation=known.invitation + 1, issued=now, revoked=False))


def revoked(roster: Roster, person: str) -> Roster:
    """With the person kept out."""
    return roster.with_person(replace(roster.people[person], revoked=True))


def find(roster: Roster, said: str) -> Person:
    """The one person meant by a name, an email address or an id. Raises ``ConfigError``."""
    people = roster.people
    wanted = names.same(said)
    found = [p for p in people.values() if wanted in (names.same(p.name), p.email.casefold())]
    if not found and said in people:
        found = [people[said]]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{p.id} in {where_in(roster, p)}" for p in found)
        raise ConfigError(f"several are called {shown(said)}: say which by the id ({which})")
    raise ConfigError(f"nobody is called {shown(said)}{meant(said, (p.name for p in people.values()))}")


def find_group(roster: Roster, said: str) -> Group:
    """The group meant by a name or a folder. Raises ``ConfigError``."""
    for group in roster.groups.values():
        if names.same(said) in (names.same(group.name), names.same(group.folder)):
            return group
    known = [group.name for group in roster.groups.values()]
    raise ConfigError(
        f"there is no group {shown(said)}{meant(said, known)}: there are {', '.join(known[:20])}"
    )


def _folders(roster: Roster, said: list[str], role: Role) -> tuple[str, ...]:
    folders = tuple(dict.fromkeys(find_group(roster, group).folder for group in said))
    if not folders and role is not Role.ORGANISER:
        if len(roster.groups) > 1:
            raise ConfigError("name a group with --group")
        folders = tuple(roster.groups)
    if len(folders) > 1 and role not in SEVERAL_GROUPS:
        raise ConfigError(f"a {role} can be in one group only: name one")
    return folders


def _checked(what: str, check: Callable[[str], str], said: str) -> str:
    try:
        return check(said)
    except ValueError as error:
        raise ConfigError(f"{what} {error}") from None


def where_in(roster: Roster, person: Person) -> str:
    """The names of the person's groups."""
    return ", ".join(roster.groups[folder].name for folder in person.groups) or "no group"
