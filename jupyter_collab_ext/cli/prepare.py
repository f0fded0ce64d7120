"""An event's folders, people and port, made ready to be served, or made out on paper only."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_collab_ext import people_file
from jupyter_collab_ext.cli import folders
from jupyter_collab_ext.cli.enrol import DATA, enrol
from jupyter_collab_ext.cli.options import EVERYWHERE, REMEMBERED, Options, check, read
from jupyter_collab_ext.cli.plan import Plan
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.names import same
from jupyter_collab_ext.people import Person, Roster, new_roster
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

FIRST_PORT = 8888
PORTS_TRIED = 50


@dataclass(frozen=True)
class Event:
    """A prepared root: its people and where they will find the server."""

    options: Options
    state_dir: Path
    roster: Roster
    port: int
    continued: bool
    scheme: str = "http"
    base_url: str = "/"
    notes: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """Where links begin; ends with a slash."""
        if self.options.public_url:
            return self.options.public_url.rstrip("/") + "/"
        host = self.options.address
        if host in EVERYWHERE:
            host = own_address()
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{self.base_url}"

    def served_by(self, server: ServerApp) -> Event:
        """As the server has it: the user's own configuration may name a certificate, or a base URL."""
        event = replace(self, scheme="https" if server.certfile else "http", base_url=server.base_url)
        return replace(event, roster=replace(event.roster, base=event.base))

    def links(self) -> list[tuple[Person, str]]:
        """Each person once with a link, by groups, tutors first; who is in no group comes first of all."""
        links = Links(self.state_dir)
        return [(person, links.link(self.base, person, self.roster)) for person in in_order(self.roster)]


def in_order(roster: Roster) -> list[Person]:
    """All people once: those without a group, then group by group."""
    listed = roster.without_group()
    for group in roster.groups:
        listed += roster.of_group(group)
    return [person for person in dict.fromkeys(listed) if not person.revoked]


@dataclass
class Draft:
    """What would be made."""

    options: Options
    roster: Roster
    known: Roster | None
    notes: list[str] = field(default_factory=list)
    notebooks: dict[str, Path] = field(default_factory=dict)
    """Group's folder -> the notebooks for it."""

    @property
    def state_dir(self) -> Path:
        """Keys, roster, originals."""
        return self.options.state_dir or self.options.folder / folders.STATE


def draft(options: Options) -> Draft:
    """What a start would make; nothing is made. Raises ``ConfigError`` with all that is wrong."""
    options, plan = read(options)
    state_dir = options.state_dir or options.folder / folders.STATE
    return _draft(options, plan, people_file.load(state_dir))


def _draft(options: Options, plan: Plan, known: Roster | None) -> Draft:
    if known is not None:
        options = options.with_server(known.server, REMEMBERED)
    check(options)
    seats = {
        Role.TUTOR: options.tutors,
        Role.PARTICIPANT: options.participants,
        Role.OBSERVER: options.observers,
    }
    ask = options.ask_names is not False
    roster = known or new_roster()
    enrolled = enrol(roster, plan, seats, now=time.time(), ask_names=ask, new=known is None)
    made = Draft(
        options, enrolled.roster, known, enrolled.notes, _notebooks(options, plan, enrolled.roster, known)
    )
    if plan.data is not None:
        folders.check_data(options.folder, DATA, plan.data)
        made.roster = replace(made.roster, data=DATA)
    for source in dict.fromkeys(made.notebooks.values()):
        folders.check_notebooks(source)
    made.roster = replace(made.roster, server=options.server())
    made.notes += _ended(made.roster)
    return made


def _ended(roster: Roster) -> list[str]:
    """What is to be told about links that are out and too old."""
    now = time.time()
    old = [person for person in in_order(roster) if now >= roster.until(person)]
    if not old:
        return []
    who = ", ".join(person.name for person in old[:3]) + (f" and {len(old) - 3} more" if len(old) > 3 else "")
    return [
        f"the links of {who} are older than {roster.days} days and not valid any more; "
        "for longer: --link-days or link_days in the event file, for new ones: jupyter collab relink"
    ]


def _notebooks(options: Options, plan: Plan, roster: Roster, known: Roster | None) -> dict[str, Path]:
    """The notebooks of each group: its own, the event's, or at first the example."""
    own = {same(group.name): group.notebooks for group in plan.groups if group.notebooks}
    found = {}
    for folder, group in roster.groups.items():
        fresh = known is None or folder not in known.groups
        source = (
            options.notebooks
            or own.get(same(group.name))
            or plan.notebooks
            or (folders.example() if fresh else None)
        )
        if source is not None:
            found[folder] = source
    return found


def prepare(options: Options) -> Event:
    """Folders, people and a port, ready to be served. Raises ``ConfigError``.

    An event that continues gets no example, and no more people, than it was asked for.
    """
    drafted = draft(options)
    state_dir = folders.prepare_root(drafted.options.folder, drafted.options.state_dir)
    with people_file.locked(state_dir):
        # Once more, alone: a command may have changed somebody since.
        options, plan = read(options)
        drafted = _draft(options, plan, people_file.load(state_dir))
        roster = _fill(drafted, plan, state_dir)
        port = _port(drafted.options, None if drafted.known is None else drafted.known.port)
        roster = replace(roster, port=port)
        if roster != drafted.known:
            people_file.save(roster, state_dir)
    scheme = "https" if drafted.options.certfile else "http"
    continued = drafted.known is not None
    return Event(drafted.options, state_dir, roster, port, continued, scheme, notes=tuple(drafted.notes))


def _fill(drafted: Draft, plan: Plan, state_dir: Path) -> Roster:
    root, roster = drafted.options.folder, drafted.roster
    for folder, source in drafted.notebooks.items():
        roster = roster.with_group(folders.give(root, state_dir, roster.groups[folder], source))
    if plan.data is not None:
        folders.show_data(root, DATA, plan.data)
    return roster


# --- where it is reached ----------------------------------------------------------------------------


def own_address() -> str:
    """The address that others in the network reach this machine by, as far as it knows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of nobody, to which nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _port(options: Options, before: int | None) -> int:
    """The port asked for, the one that links were given out with, or the first free one."""
    fixed = options.port or before
    if fixed is not None:
        if not _free(options.address, fixed):
            hint = "end what uses it, or choose another with --port (links then begin anew)"
            raise ConfigError(f"port {fixed} is taken: {hint}")
        return fixed
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _free(options.address, port):
            return port
    raise ConfigError(
        f"ports {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} are taken: choose one with --port"
    )


def _free(ip: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EACCES:
                raise ConfigError(
                    f"port {port} needs more rights: choose one above 1023 with --port"
                ) from error
            raise ConfigError(f"{ip} is no address of this machine: correct --ip") from error
    return True
