"""From a plan to people: who is new gets an id, a colour and a link; who is known stays as they are.

A plan is taken in again and again: at each start of the event. Only what changed in it since the last time
is taken over, so that nobody who was moved, renamed or sent away while it ran is put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from jupyter_collab_ext import names
from jupyter_collab_ext.cli.plan import (
    SEVERAL_GROUPS,
    Plan,
    PlannedGroup,
    PlannedPerson,
    Problem,
    Problems,
    meant,
    shown,
)
from jupyter_collab_ext.people import GROUP, Group, Person, Roster, initials
from notebook_sync.core.roles import Role

DATA = "data"
"""The name of the folder that all groups see."""
AT_FIRST = {Role.TUTOR: 1, Role.PARTICIPANT: 6, Role.OBSERVER: 0}
"""Seats of each group of a new event that says nothing of people."""


@dataclass
class Enrolment:
    """The roster as it becomes, and what is to be told about it."""

    roster: Roster
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def enrol(
    roster: Roster, plan: Plan, seats: dict[Role, int | None], *, now: float, ask_names: bool, new: bool
) -> Enrolment:
    """``roster`` with all that the plan has.

    Args:
        roster: as it is.
        seats: seats of each role in each group, as flags say it; None for what they don't.
        now: seconds since 1970.
        ask_names: whether the links of seats ask for a name.
        new: whether the event begins now.

    Raises ``Problems``.
    """
    done = Enrolment(roster)
    _take_groups(done, plan, new)
    _take_people(done, plan.people, now)
    if done.problems:
        raise Problems(done.problems)
    _take_seats(done, plan, seats, now, ask_names, new)
    if plan.days is not None:
        done.roster = replace(done.roster, days=plan.days)
    return done


# --- groups -----------------------------------------------------------------------------------------


def _take_groups(done: Enrolment, plan: Plan, new: bool) -> None:
    planned = list(plan.groups)
    if not planned:
        # A roster alone makes the groups that it names.
        first: dict[str, PlannedGroup] = {}
        for person in plan.people:
            for group in person.groups:
                first.setdefault(names.same(group), PlannedGroup(group, person.place))
        planned = list(first.values())
    for each in planned:
        _take_group(done, each)
    if not planned and new:
        done.roster = done.roster.with_group(Group(GROUP, "Group 1"))
    _take_topics(done, plan)


def _take_group(done: Enrolment, planned: PlannedGroup) -> None:
    known = _group(done.roster, planned.name)
    if known is None:
        try:
            name = names.name(planned.name)
        except ValueError as error:
            done.problems.append(Problem(planned.place, f"group {shown(planned.name)} {error}"))
            return
        folder = names.folder_for(name, [*done.roster.groups, DATA])
        done.roster = done.roster.with_group(Group(folder, name, planned.topic, planned.meeting))
        return
    topic, meeting = planned.topic or known.topic, planned.meeting or known.meeting
    done.roster = done.roster.with_group(replace(known, topic=topic, meeting=meeting))


def _take_topics(done: Enrolment, plan: Plan) -> None:
    """A roster may say a group's topic on its people's lines; two that differ are a mistake."""
    said: dict[str, PlannedPerson] = {}
    for person in plan.people:
        if not person.topic or len(person.groups) != 1:
            continue
        first = said.setdefault(names.same(person.groups[0]), person)
        if first.topic != person.topic:
            sentence = (
                f"group {shown(person.groups[0])} has the topic {shown(first.topic)} at {first.place}: "
                "write the same, or leave it empty"
            )
            done.problems.append(Problem(person.place, sentence))
    for key, person in said.items():
        group = _group(done.roster, key)
        if group is not None and not any(g.topic and names.same(g.name) == key for g in plan.groups):
            done.roster = done.roster.with_group(replace(group, topic=person.topic))


def _group(roster: Roster, name: str) -> Group | None:
    return next((g for g in roster.groups.values() if names.same(g.name) == names.same(name)), None)


# --- people -----------------------------------------------------------------------------------------


def _take_people(done: Enrolment, planned: Iterable[PlannedPerson], now: float) -> None:
    _look_for_doubles(done, planned := list(planned))
    taken: set[str] = set()
    for person in planned:
        folders = _folders(done, person)
        if folders is None:
            continue
        known = _known(done.roster, person, taken)
        if known is None:
            known = _new(done.roster, person, folders, now)
        else:
            known = _changed(done, known, person, folders)
        taken.add(known.id)
        done.roster = done.roster.with_person(known)
    _tell_of_others(done, taken, planned)


def _look_for_doubles(done: Enrolment, planned: list[PlannedPerson]) -> None:
    by_name: dict[str, PlannedPerson] = {}
    by_email: dict[str, PlannedPerson] = {}
    for person in planned:
        if person.email:
            first = by_email.setdefault(person.email.casefold(), person)
            if first is not person:
                sentence = f"{person.email} is already at {first.place}: remove one of the two"
                done.problems.append(Problem(person.place, sentence))
                continue
        first = by_name.setdefault(names.same(person.name), person)
        if person.name and first is not person and not (first.email and person.email):
            sentence = (
                f"{shown(person.name)} is already at {first.place}: give both an email, or one another name"
            )
            done.problems.append(Problem(person.place, sentence))


def _folders(done: Enrolment, person: PlannedPerson) -> tuple[str, ...] | None:
    """The folders of the groups that a person is in; None when that is a mistake."""
    found = []
    for name in person.groups:
        group = _group(done.roster, name)
        if group is None:
            hint = meant(name, (g.name for g in done.roster.groups.values()))
            done.problems.append(Problem(person.place, f"there is no group {shown(name)}{hint}"))
            return None
        found.append(group.folder)
    if not found and person.role is not Role.ORGANISER:
        if len(done.roster.groups) != 1:
            sentence = f"{shown(person.name)} is in no group: name one"
            done.problems.append(Problem(person.place, sentence))
            return None
        found = list(done.roster.groups)
    if len(found) > 1 and person.role not in SEVERAL_GROUPS:
        sentence = f"a {person.role} can be in one group only: name one, or write another role"
        done.problems.append(Problem(person.place, sentence))
        return None
    return tuple(dict.fromkeys(found))


def _known(roster: Roster, person: PlannedPerson, taken: set[str]) -> Person | None:
    """Who a line is about: by email, else by name where that is clear."""
    others = [p for p in roster.people.values() if p.id not in taken and not p.seat]
    if person.email:
        for other in others:
            if other.email.casefold() == person.email.casefold():
                return other
    named = [
        p for p in others if (p.listed[:1] or (p.name,))[0] == person.name and not (p.email and person.email)
    ]
    return named[0] if len(named) == 1 else None


def _new(roster: Roster, person: PlannedPerson, folders: tuple[str, ...], now: float) -> Person:
    name = names.told_apart(person.name, [p.name for p in roster.people.values()])
    return Person(
        id=names.id_for(name, person.role, roster.people),
        name=name,
        initials=initials(name),
        color=roster.free_colour(folders),
        role=person.role,
        groups=folders,
        email=person.email,
        level=person.level,
        issued=now,
        listed=(person.name, person.role, *folders),
    )


def _changed(done: Enrolment, known: Person, person: PlannedPerson, folders: tuple[str, ...]) -> Person:
    """Somebody known with what the file says differently from the last time."""
    listed = (person.name, person.role.value, *folders)
    before = known.listed or (known.name, known.role.value, *known.groups)
    changed = replace(
        known, email=person.email or known.email, level=person.level or known.level, listed=listed
    )
    if listed[0] != before[0]:
        others = [p.name for p in done.roster.people.values() if p.id != known.id]
        name = names.told_apart(person.name, others)
        changed = replace(changed, name=name, initials=initials(name))
    if listed[1] != before[1]:
        changed = replace(changed, role=person.role)
    if listed[2:] != before[2:]:
        changed = replace(changed, groups=folders)
    if changed.groups != folders:
        done.notes.append(f"{known.name} was moved and stays there, whatever {person.place} says")
    if changed.revoked:
        done.notes.append(f"{known.name}'s link was taken back; a new one: jupyter collab relink {known.id}")
    return changed


def _tell_of_others(done: Enrolment, taken: set[str], planned: list[PlannedPerson]) -> None:
    if not planned:
        return
    for person in done.roster.people.values():
        if person.id not in taken and person.listed and not person.revoked:
            done.notes.append(
                f"{person.name} is not listed any more and still has a link; "
                f"to take it back: jupyter collab revoke {person.id}"
            )


# --- seats ------------------------------------------------------------------------------------------


def _take_seats(
    done: Enrolment, plan: Plan, asked: dict[Role, int | None], now: float, ask_names: bool, new: bool
) -> None:
    said = {names.same(group.name): group.seats for group in plan.groups}
    nobody = new and not plan.people
    for group in list(done.roster.groups.values()):
        own = said.get(names.same(group.name))
        planned = {Role.PARTICIPANT: plan.seats if own is None else own}
        for role, at_first in AT_FIRST.items():
            count = next(
                (n for n in (asked.get(role), planned.get(role)) if n is not None), at_first if nobody else 0
            )
            title = role.value.capitalize()
            done.roster = done.roster.with_people(
                group.folder, role, title, count, unnamed=ask_names, now=now
            )
