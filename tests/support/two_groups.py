"""Two groups, a folder for all, and people of every kind, on a server in the test's own event loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat

from jupyter_collab_ext.people import Person, Roster, new_roster
from jupyter_collab_ext.people_file import save
from jupyter_collab_ext.simulated import Browser
from notebook_sync.core.roles import Role
from tests.support.people_here import Event

OWN, OTHER, DATA, OUTSIDE = "group-1", "group-2", "data", "elsewhere"
FOLDERS = (OWN, OTHER, DATA, OUTSIDE)
LONG_AGO = 1.0
"""Seconds since 1970: a link issued then ended some time ago."""


def roster() -> Roster:
    """Group 1 with a tutor, three participants and an observer; group 2; an organiser with a link."""
    people = new_roster().with_people(OWN, Role.TUTOR, "Tutor", 1)
    people = people.with_people(OWN, Role.PARTICIPANT, "Participant", 3)
    people = people.with_people(OWN, Role.OBSERVER, "Observer", 1)
    people = people.with_people(OTHER, Role.PARTICIPANT, "Participant", 1)
    host = Person("organiser-1", "Ada", "A", "#123456", Role.ORGANISER, ())
    return replace(people.with_person(host), data=DATA)


def prepared(root: Path, state_dir: Path) -> Roster:
    """Write roster and folders."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    people = roster()
    save(people, state_dir)
    for folder in FOLDERS:
        (root / folder).mkdir()
        cells = [nbformat.v4.new_code_cell(f"'{folder}'")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), root / folder / "work.ipynb")
        (root / folder / "notes.txt").write_text(f"of {folder}\n")
    return people


def change(event: Event, person: str, **fields: Any) -> None:
    """What a command does to somebody, as the server sees it a moment later."""
    people = event.seen()
    type(event.provider).roster = people.with_person(replace(people.people[person], **fields))


async def logged_in(event: Event, who: str) -> Browser:
    """A browser of its own: a person's id, "token", or "nobody". To be closed by the caller."""
    browser = Browser(event.url, token=event.token if who == "token" else None)
    if who not in ("token", "nobody"):
        await browser.open_link(event.link(who))
    return browser
