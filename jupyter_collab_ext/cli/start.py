"""``jupyter collab start``: a group's folder, a server, and a link for each person."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from jupyter_collab_ext import people_file
from jupyter_collab_ext.cli import folders, screen
from jupyter_collab_ext.links import Links
from jupyter_collab_ext.people import GROUP, Person, Roster, new_roster
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.roles import Role

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

FIRST_PORT = 8888
PORTS_TRIED = 50
REDIS_VARIABLE = "JUPYTER_COLLAB_REDIS_URL"
HELP = {
    "root": "The folder of the event; started again on it, it continues.",
    "notebooks": "A folder to copy for the group, less what is there; at first an example if not given.",
    "people": "How many participants; 6 at first. Nobody is taken out by a smaller number.",
    "tutors": "How many tutors; 1 at first.",
    "observers": "How many who may only look.",
    "state_dir": "The folder of keys, people and the embedded Valkey; ROOT/.collab if not given.",
    "port": "The port; 8888 or the next free one if not given.",
    "ip": "The address to listen on; 0.0.0.0 lets other machines in.",
    "public_url": "How people reach the server, if through a proxy.",
    "redis_url": "A Redis of yours; an embedded Valkey if not given.",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "*", "")
AT_FIRST = {Role.TUTOR: 1, Role.PARTICIPANT: 6, Role.OBSERVER: 0}
"""People of a new event when it is not said how many; one that continues keeps its own."""


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    root: Path
    notebooks: Path | None = None
    participants: int | None = None
    tutors: int | None = None
    observers: int | None = None
    ip: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    redis_url: str | None = None
    browser: bool = True
    state_dir: Path | None = None

    def again(self) -> str:
        """The command that goes on with the same event. A Redis's address may hold a password: left out."""
        words = ["jupyter", "collab", "start", "--root", str(self.root)]
        if self.state_dir:
            words += ["--state-dir", str(self.state_dir)]
        if self.ip not in LOOPBACK:
            words += ["--ip", self.ip]
        if self.public_url:
            words += ["--public-url", self.public_url]
        return (f"{REDIS_VARIABLE}=… " if self.redis_url else "") + shlex.join(words)


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

    @property
    def base(self) -> str:
        """Where links begin; ends with a slash."""
        if self.options.public_url:
            return self.options.public_url.rstrip("/") + "/"
        host = self.options.ip
        if host in EVERYWHERE:
            host = _own_address()
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}{self.base_url}"

    def served_by(self, server: ServerApp) -> Event:
        """As the server has it: the user's own configuration may name a certificate, or a base URL."""
        return replace(self, scheme="https" if server.certfile else "http", base_url=server.base_url)

    def links(self) -> list[tuple[Person, str]]:
        """Each person with a link, tutors first."""
        links = Links(self.state_dir)
        return [
            (person, links.link(self.base, person, self.roster)) for person in self.roster.of_group(GROUP)
        ]


def start(
    root: Annotated[Path, typer.Option(help=HELP["root"])] = Path("collab"),
    notebooks: Annotated[Path | None, typer.Option(help=HELP["notebooks"])] = None,
    participants: Annotated[int | None, typer.Option("--people", min=1, max=100, help=HELP["people"])] = None,
    tutors: Annotated[int | None, typer.Option(min=0, max=20, help=HELP["tutors"])] = None,
    observers: Annotated[int | None, typer.Option(min=0, max=100, help=HELP["observers"])] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help=HELP["port"])] = None,
    ip: Annotated[str, typer.Option(help=HELP["ip"])] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help=HELP["public_url"])] = None,
    redis_url: Annotated[str | None, typer.Option(envvar=REDIS_VARIABLE, help=HELP["redis_url"])] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open the first link here.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help=HELP["state_dir"])] = None,
) -> None:
    """Prepare a group's folder, start JupyterLab on it, and print a personal link for each person."""
    options = Options(
        _absolute(root),
        None if notebooks is None else _absolute(notebooks),
        participants,
        tutors,
        observers,
        ip,
        port,
        public_url,
        redis_url,
        not no_browser,
        None if state_dir is None else _absolute(state_dir),
    )
    run(prepare(options))


def _absolute(path: Path) -> Path:
    return path.expanduser().resolve()


def prepare(options: Options) -> Event:
    """Folders, people and a port, ready to be served. Raises ``ConfigError``.

    An event that continues gets no example, and no more people, than it was asked for.
    """
    _check_address(options.public_url)
    state_dir = folders.prepare_root(options.root, options.state_dir)
    known = people_file.load(state_dir)
    if known is None or options.notebooks is not None:
        folders.prepare_group(options.root / GROUP, options.notebooks or folders.example())
    roster = known or new_roster()
    asked = {
        Role.TUTOR: options.tutors,
        Role.PARTICIPANT: options.participants,
        Role.OBSERVER: options.observers,
    }
    for role, count in asked.items():
        at_first = AT_FIRST[role] if known is None else 0
        wanted = at_first if count is None else count
        roster = roster.with_people(GROUP, role, role.value.capitalize(), wanted)
    port = _port(options, None if known is None else known.port)
    roster = replace(roster, port=port)
    if roster != known:
        people_file.save(roster, state_dir)
    return Event(options, state_dir, roster, port, continued=known is not None)


def _check_address(public_url: str | None) -> None:
    """Raises ``ConfigError`` unless links can begin with it."""
    try:
        parts = urlsplit(public_url or "http://localhost/")
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError(f"{public_url} is no address: write --public-url like https://your.name/")


def _own_address() -> str:
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
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno == errno.EACCES:
                raise ConfigError(
                    f"port {port} needs more rights: choose one above 1023 with --port"
                ) from error
            raise ConfigError(f"{ip} is no address of this machine: correct --ip") from error
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
    if event.options.public_url:
        # Behind a proxy requests come by another name, and only the proxy knows whether it spoke TLS.
        base_url = urlsplit(event.options.public_url).path or "/"
        arguments += [
            f"--ServerApp.base_url={base_url}",
            "--ServerApp.allow_remote_access=True",
            "--ServerApp.trust_xheaders=True",
        ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    server: ServerApp = LabApp.initialize_server(argv=arguments)
    # Else Jupyter prints an address with its token, with which everybody would be an organiser.
    server.identity_provider.token_generated = False
    return server


def run(event: Event) -> None:
    """Serve the event until Ctrl-C; links are printed when the server answers."""
    server = server_for(event)
    event = event.served_by(server)
    extension = server.web_app.settings["jupyter_server_ydoc"]
    extension.on_started = lambda: _greet(event)
    began = time.time()
    server.start()
    screen.goodbye(event, _saved_since(event.options.root / GROUP, began))


def _greet(event: Event) -> None:
    screen.greeting(event)
    if event.options.browser and (links := event.links()):
        screen.open_browser(links[0][1])


def _saved_since(folder: Path, moment: float) -> list[Path]:
    return sorted(path for path in folder.rglob("*.ipynb") if path.stat().st_mtime >= moment)
