"""Who takes part: people and their groups. ``people_file`` keeps them, ``reach`` says what each may open."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from jupyter_collab_ext.colours import pick
from notebook_sync.core.ids import UserId
from notebook_sync.core.roles import Member, Role

GROUP = "group-1"
"""The group of an event that names none."""
DAY = 86400.0
LINK_DAYS = 14
"""How long links are valid when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a link.

    Args:
        id: lower-case letters, digits and dashes; never changes.
        groups: folders of groups, which are their ids; a link leads to the first.
        invitation: rises when a link is replaced, which ends the old link and its logins.
        issued: seconds since 1970 when the link was made; from here its days count.
        revoked: whether the link and its logins were taken back.
        unnamed: whether the link asks for a name first.
        seat: the folder of the group whose spare seat this is; empty for somebody who was named beforehand.
        listed: role and groups as the roster or event file last said, so that only what changes there
            is taken over and nobody who was moved by hand is moved back.
    """

    id: str
    name: str
    initials: str
    color: str
    role: Role
    groups: tuple[str, ...]
    invitation: int = 1
    email: str = ""
    level: str = ""
    issued: float = 0.0
    revoked: bool = False
    unnamed: bool = False
    seat: str = ""
    listed: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The first group; empty for somebody who has none (an organiser may)."""
        return self.groups[0] if self.groups else ""

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


@dataclass(frozen=True, slots=True)
class Group:
    """People who work in one folder.

    Args:
        folder: directly below the root; it is the group's id and never changes.
        name: for people.
        meeting: the address of its video meeting, or empty.
        given: what was copied into its folder, so that nothing is given out twice.
    """

    folder: str
    name: str
    topic: str = ""
    meeting: str = ""
    given: tuple[str, ...] = ()


def initials(name: str) -> str:
    """Up to two letters or digits for a small round picture: "Participant 3" is P3."""
    words = name.split()
    return "".join(word[0] for word in words[:2]).upper() or "?"


@dataclass(frozen=True, slots=True)
class Roster:
    """All people of one event.

    Args:
        event: a random name, so that another event's cookies are not ours.
        port: the port that links were given out with.
        people: by id.
        groups: by folder.
        data: the folder below the root that everybody reads and nobody writes; empty if there is none.
        days: how long a link is valid.
        base: where links begin, as the server was last reached; ends with a slash.
        server: options of the server as they were last given.
    """

    event: str
    port: int | None
    people: Mapping[str, Person]
    groups: Mapping[str, Group] = field(default_factory=lambda: MappingProxyType({}))
    data: str = ""
    days: int = LINK_DAYS
    base: str = ""
    server: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    # --- people -------------------------------------------------------------------------------

    def with_person(self, person: Person) -> Roster:
        """With this person, in the place of the one with the same id."""
        return replace(self, people={**self.people, person.id: person})

    def with_group(self, group: Group) -> Roster:
        """With this group, in the place of the one with the same folder."""
        return replace(self, groups={**self.groups, group.folder: group})

    def with_people(
        self, group: str, role: Role, name: str, count: int, *, unnamed: bool = False, now: float = 0.0
    ) -> Roster:
        """At least ``count`` spare seats of this role in the group; those who are there stay as they are.

        A group that is not there yet is made, called like its folder. ``unnamed``: their links ask for a
        name first. ``now``: from when their links' days count, in seconds since 1970; 0: they never end.
        """
        roster = self if group in self.groups else self.with_group(Group(group, group))
        have = sum(p.role is role and p.seat == group for p in self.people.values())
        for _ in range(have, count):
            # Not the next after how many there are: somebody may have been taken out of the file.
            number = next(n for n in itertools.count(1) if f"{role.value}-{n}" not in roster.people)
            full = name if count == 1 and number == 1 else f"{name} {number}"
            roster = roster.with_person(
                Person(
                    id=f"{role.value}-{number}",
                    name=full,
                    initials=initials(full),
                    color=roster.free_colour((group,)),
                    role=role,
                    groups=(group,),
                    issued=now,
                    unnamed=unnamed,
                    seat=group,
                )
            )
        return roster

    def with_base(self, base: str) -> Roster:
        """With links that begin with ``base``."""
        return replace(self, base=base)

    def free_colour(self, groups: tuple[str, ...]) -> str:
        """A colour that nobody in these groups has, as far as they go round."""
        taken = {p.color for p in self.people.values() if not set(groups).isdisjoint(p.groups)}
        return pick(taken, len(taken))

    def of_group(self, group: str) -> list[Person]:
        """The group's people, tutors first. A tutor of several groups is in each."""
        return sorted((p for p in self.people.values() if group in p.groups), key=_order)

    def without_group(self) -> list[Person]:
        """Who is in no group: organisers, usually."""
        return sorted((p for p in self.people.values() if not p.groups), key=_order)

    def admitted(self, person: Person | None, invitation: int, now: float) -> bool:
        """Whether a person's link or login with this invitation number holds at ``now`` (seconds)."""
        if person is None or person.revoked:
            return False
        return person.invitation == invitation and now < self.until(person)

    def until(self, person: Person) -> float:
        """Seconds since 1970 until which the person's link is valid; endless for one without a date."""
        return person.issued + self.days * DAY if person.issued else float("inf")


def _order(person: Person) -> tuple[int, int, str]:
    return list(Role).index(person.role), len(person.id), person.id


def new_roster() -> Roster:
    """Nobody yet."""
    return Roster(secrets.token_hex(8), None, {})
