"""``jupyter collab start``: a group's folder, a server, and a link for each person."""

from __future__ import annotations

import os
import socket
import time
import warnings
import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jupyter_collab_ext import people
from jupyter_collab_ext.cli import folders, screen
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import GROUP, Person, Roster
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

FIRST_PORT = 8888
PORTS_TRIED = 50
REDIS_VARIABLE = "JUPYTER_COLLAB_REDIS_URL"
HELP = {
    "root": "The folder of the event; started again on it, it continues.",
    "notebooks": "A folder to copy for the group; an example if not given.",
    "people": "How many participants.",
    "port": "The port; 8888 or the next free one if not given.",
    "ip": "The address to listen on; 0.0.0.0 lets other machines in.",
    "public_url": "How people reach the server, if through a proxy.",
    "redis_url": "A Redis of yours; an embedded Valkey if not given.",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    root: Path
    notebooks: Path
    participants: int = 6
    tutors: int = 1
    observers: int = 0
    ip: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    redis_url: str | None = None
    browser: bool = True


@dataclass(frozen=True)
class Event:
    """A prepared root: its people and where they will find the server."""

    options: Options
    state_dir: Path
    roster: Roster
    port: int
    continued: bool

    @property
    def base(self) -> str:
        """Where links begin; ends with a slash."""
        if self.options.public_url:
            return self.options.public_url.rstrip("/") + "/"
        host = self.options.ip
        if host in ("0.0.0.0", "::", ""):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def links(self) -> list[tuple[Person, str]]:
        """Each person with a link, tutors first."""
        links = Links(self.state_dir)
        return [(person, links.link(self.base, person)) for person in self.roster.of_group(GROUP)]


def start(
    root: Annotated[Path, typer.Option(help=HELP["root"])] = Path("collab"),
    notebooks: Annotated[Path | None, typer.Option(help=HELP["notebooks"])] = None,
    participants: Annotated[int, typer.Option("--people", min=1, max=100, help=HELP["people"])] = 6,
    tutors: Annotated[int, typer.Option(min=0, max=20, help="How many tutors.")] = 1,
    observers: Annotated[int, typer.Option(min=0, max=100, help="How many who may only look.")] = 0,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help=HELP["port"])] = None,
    ip: Annotated[str, typer.Option(help=HELP["ip"])] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help=HELP["public_url"])] = None,
    redis_url: Annotated[str | None, typer.Option(envvar=REDIS_VARIABLE, help=HELP["redis_url"])] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open the first link here.")] = False,
) -> None:
    """Prepare a group's folder, start JupyterLab on it, and print a personal link for each person."""
    options = Options(
        root.expanduser().resolve(),
        (notebooks or folders.example()).expanduser().resolve(),
        participants,
        tutors,
        observers,
        ip,
        port,
        public_url,
        redis_url,
        not no_browser,
    )
    run(prepare(options))


def prepare(options: Options) -> Event:
    """Folders, people and a port, ready to be served. Raises ``ConfigError``."""
    state_dir = folders.prepare_root(options.root)
    known = people.load(state_dir)
    folders.prepare_group(options.root / GROUP, options.notebooks)
    roster = known or people.new_roster()
    roster = roster.with_people(GROUP, Role.TUTOR, "Tutor", options.tutors)
    roster = roster.with_people(GROUP, Role.PARTICIPANT, "Participant", options.participants)
    roster = roster.with_people(GROUP, Role.OBSERVER, "Observer", options.observers)
    port = _port(options, None if known is None else known.port)
    roster = replace(roster, port=port)
    people.save(roster, state_dir)
    return Event(options, state_dir, roster, port, continued=known is not None)


def _port(options: Options, before: int | None) -> int:
    """The port asked for, the one that links were given out with, or the first free one."""
    fixed = options.port or before
    if fixed is not None:
        if not _free(options.ip, fixed):
            hint = "end what uses it, or choose another with --port (links then begin anew)"
            raise ConfigError(f"port {fixed} is taken: {hint}")
        return fixed
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if _free(options.ip, port):
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
            if isinstance(error, socket.gaierror):
                raise ConfigError(f"{ip} is no address of this machine: correct --ip") from error
            return False
    return True


def server_for(event: Event) -> ServerApp:
    """A Jupyter server for the event, listening, not yet running."""
    from jupyter_server.utils import JupyterServerAuthWarning
    from jupyterlab.labapp import LabApp

    # Other extensions' endpoints, of which people here can't do anything about.
    warnings.simplefilter("ignore", JupyterServerAuthWarning)
    if event.options.redis_url:
        # Not as an argument: other users of the machine can read those.
        os.environ[REDIS_VARIABLE] = event.options.redis_url
    arguments = [
        "--no-browser",
        "-y",
        "--Application.log_level=WARN",
        f"--ServerApp.root_dir={event.options.root}",
        f"--ServerApp.ip={event.options.ip}",
        f"--ServerApp.port={event.port}",
        "--ServerApp.port_retries=0",
        "--JupyterCollab.people=True",
        f"--JupyterCollab.state_dir={event.state_dir}",
    ]
    if os.geteuid() == 0:
        arguments.append("--allow-root")
    server: ServerApp = LabApp.initialize_server(argv=arguments)
    # Else Jupyter prints an address with its token, with which everybody would be an organiser.
    server.identity_provider.token_generated = False
    return server


def run(event: Event) -> None:
    """Serve the event until Ctrl-C; links are printed when the server answers."""
    server = server_for(event)
    extension = server.web_app.settings["jupyter_server_ydoc"]
    extension.on_started = lambda: _greet(event)
    began = time.time()
    server.start()
    screen.goodbye(event, _saved_since(event.options.root / GROUP, began))


def _greet(event: Event) -> None:
    screen.greeting(event)
    if event.options.browser and (links := event.links()):
        webbrowser.open(links[0][1])


def _saved_since(folder: Path, moment: float) -> list[Path]:
    return sorted(path for path in folder.rglob("*.ipynb") if path.stat().st_mtime >= moment)
