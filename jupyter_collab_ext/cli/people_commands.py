"""``jupyter collab links, add, move, relink, revoke``: people of an event, while it runs or before.

Each changes the file of people, which a running server follows, and waits until it has: what is printed is
what came of it, not what is hoped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jupyter_collab_ext import people_file
from jupyter_collab_ext.cli import screen
from jupyter_collab_ext.cli.folders import STATE
from jupyter_collab_ext.cli.people_changes import (
    added,
    find,
    find_group,
    moved,
    newest,
    relinked,
    revoked,
    where_in,
)
from jupyter_collab_ext.cli.prepare import in_order
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.links_file import write_links
from jupyter_collab_ext.people import Person, Roster
from jupyter_collab_ext.people_watch import served, signature, taken
from notebook_sync.core.errors import ConfigError

CONFIRM = 5.0
"""Seconds to wait for a running server."""
LOOK = 0.05
CLOSED = "closed."

HELP = {
    "root": "The event's folder; the one here, or the only one below, if not given.",
    "state_dir": "The folder of keys and people, if not ROOT/.collab.",
    "who": "A name, an email address, or an id.",
    "group": "A group's name or folder.",
    "groups": "A group's name or folder; several for a tutor or observer.",
}
Root = Annotated[Path | None, typer.Option(help=HELP["root"])]
State = Annotated[Path | None, typer.Option(help=HELP["state_dir"])]
Who = Annotated[str, typer.Argument(help=HELP["who"], metavar="NAME")]


# --- the commands -----------------------------------------------------------------------------------


def links(
    group: Annotated[str | None, typer.Option(help="Of this group only.")] = None,
    root: Root = None,
    state_dir: State = None,
) -> None:
    """Print everybody's link, and write links.csv anew."""
    state = state_folder(root, state_dir)
    roster = _event(state)
    folder = None if group is None else find_group(roster, group).folder
    write_links(_reached(roster), state)
    screen.links(roster, _rows(roster, state, folder), state)
    ended = [person for person in in_order(roster) if time.time() >= roster.until(person)]
    if ended:
        screen.say(
            f"{len(ended)} of them are not valid any more; "
            "for new ones: jupyter collab relink, or more link_days at the next start"
        )


def add(
    name: Annotated[str, typer.Argument(help="What the others see.", metavar="NAME")],
    group: Annotated[list[str] | None, typer.Option(help=HELP["groups"])] = None,
    role: Annotated[str, typer.Option(help="participant, tutor, observer or organiser.")] = "participant",
    email: Annotated[str, typer.Option(help="For links.csv.")] = "",
    root: Root = None,
    state_dir: State = None,
) -> None:
    """Add a person; they can come in at once."""
    state = state_folder(root, state_dir)
    done = change(state, lambda roster: added(roster, name, group or [], role, email, time.time()))
    person = newest(done)
    told = _confirmed(state, person)
    _show_link(state, done, person, "is in")
    if not told.endswith(CLOSED):
        screen.say(told)


def move(
    name: Who,
    group: Annotated[list[str], typer.Argument(help=HELP["groups"])],
    root: Root = None,
    state_dir: State = None,
) -> None:
    """Put a person into another group; the link stays and leads there."""
    state = state_folder(root, state_dir)
    person = find(_event(state), name)
    done = change(state, lambda roster: moved(roster, person.id, group))
    where = escape(where_in(done, done.people[person.id]))
    screen.say(f"{escape(person.name)} is in {where} now, by the same link. {_confirmed(state, person)}")


def relink(name: Who, root: Root = None, state_dir: State = None) -> None:
    """Give a person a new link; the old one, and what was opened with it, ends at once."""
    state = state_folder(root, state_dir)
    person = find(_event(state), name)
    done = change(state, lambda roster: relinked(roster, person.id, time.time()))
    screen.say(_confirmed(state, person))
    _show_link(state, done, done.people[person.id], "has a new link for")


def revoke(name: Who, root: Root = None, state_dir: State = None) -> None:
    """Take a person's link back; open pages of theirs end at once. Their work stays."""
    state = state_folder(root, state_dir)
    person = find(_event(state), name)
    change(state, lambda roster: revoked(roster, person.id))
    screen.say(
        f"{escape(person.name)} is out. {_confirmed(state, person)} "
        f"To let them in again by a new link: jupyter collab relink {person.id}"
    )


# --- the event, and its server ----------------------------------------------------------------------


def state_folder(root: Path | None, state_dir: Path | None) -> Path:
    """The state folder of the event that a command is about: named, here, or the only one below.

    Raises ``ConfigError``.
    """
    if state_dir is not None:
        return state_dir.expanduser().resolve()
    here = (Path.cwd() if root is None else root.expanduser()).resolve()
    candidates = [here] if root is not None or _holds_event(here) else [here, *_below(here)]
    found = [folder / STATE for folder in candidates if _holds_event(folder)]
    if len(found) == 1:
        return found[0]
    what = f"several events are in {here}" if found else f"no event is in {here}"
    raise ConfigError(f"{what}: name its folder with --root")


def _holds_event(folder: Path) -> bool:
    return (folder / STATE / people_file.ROSTER).is_file()


def _below(folder: Path) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_dir()]
    except OSError:
        return []


def _event(state: Path) -> Roster:
    roster = people_file.load(state)
    if roster is None:
        raise ConfigError(f"there is no event in {state}: name its folder with --root")
    return roster


def change(state: Path, how: Callable[[Roster], Roster]) -> Roster:
    """Change the roster, and links.csv with it. Raises ``ConfigError``."""
    done = people_file.change(state, how)
    if done.base:
        write_links(done, state)
    return done


def _confirmed(state: Path, person: Person) -> str:
    """What a running server made of the change, in a sentence."""
    if not served(state):
        return "No server is running; this holds from its next start."
    mine, waited = signature(state), threading.Event()
    deadline = time.monotonic() + CONFIRM
    while mine is not None and time.monotonic() < deadline:
        ended = taken(state, mine)
        if ended is not None:
            count = ended.get(person.id, 0)
            return f"{count} connection{'s' * (count != 1)} {CLOSED}"
        waited.wait(LOOK)
    return f"The server did not say within {CONFIRM:.0f} s that it knows: is it busy or hanging?"


def _reached(roster: Roster) -> Roster:
    if not roster.base:
        raise ConfigError("links begin with the server's address, which its first start tells: start it once")
    return roster


def _rows(roster: Roster, state: Path, folder: str | None) -> list[tuple[Person, str]]:
    made = Links(state)
    people = [p for p in in_order(roster) if folder is None or folder in p.groups]
    return [(person, made.link(roster.base, person, roster)) for person in people]


def _show_link(state: Path, roster: Roster, person: Person, what: str) -> None:
    where = escape(where_in(roster, person))
    screen.say(f"{escape(person.name)} {what} {where}:\n")
    screen.links(roster, [(person, Links(state).link(_reached(roster).base, person, roster))], state)
