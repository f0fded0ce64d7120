"""``jupyter collab start``: groups' folders, a server, and a link for each person."""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from jupyter_collab_ext import people_file
from jupyter_collab_ext.cli import screen
from jupyter_collab_ext.cli.options import DEFAULT_ROOT, REDIS_VARIABLE, Options
from jupyter_collab_ext.cli.plan import MOST_SEATS, Problems
from jupyter_collab_ext.cli.prepare import Event, draft, prepare
from jupyter_collab_ext.links_file import write_links

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

HELP = {
    "event": "The event file; jupyter collab init writes one. Flags go before what it says.",
    "root": f"The folder of the event; started again on it, it continues. {DEFAULT_ROOT} if not given.",
    "roster": "A CSV of people: name,email,role,group,topic,level.",
    "notebooks": "A folder to copy for each group, less what it was given; at first an example if not given.",
    "data": "A folder that all groups see, read-only; it is not copied.",
    "people": "How many seats for participants in each group; 6 at first. Nobody is taken out.",
    "tutors": "How many seats for tutors in each group; 1 at first.",
    "observers": "How many seats in each group for people who may only look.",
    "days": "How many days links are valid; 14 if not given.",
    "names": "Whether the link of a seat asks its person for a name, once.",
    "state_dir": "The folder of keys, people and the embedded Valkey; ROOT/.collab if not given.",
    "port": "The port; the one of before, else 8888 or the next free one if not given.",
    "ip": "The address to listen on; 0.0.0.0 lets other machines in.",
    "public_url": "How people reach the server, if through a proxy.",
    "certfile": "A certificate: the server then speaks TLS by itself.",
    "keyfile": "The certificate's key.",
    "redis_url": "A Redis of yours; an embedded Valkey if not given.",
    "dry_run": "Say what would be made, and all mistakes with their lines; make nothing.",
}
Folder = Annotated[Path | None, typer.Option(help=HELP["root"])]
Count = int | None


def start(
    event: Annotated[Path | None, typer.Argument(help=HELP["event"], metavar="[hackathon.toml]")] = None,
    root: Folder = None,
    roster: Annotated[Path | None, typer.Option(help=HELP["roster"])] = None,
    notebooks: Annotated[Path | None, typer.Option(help=HELP["notebooks"])] = None,
    data: Annotated[Path | None, typer.Option(help=HELP["data"])] = None,
    participants: Annotated[
        Count, typer.Option("--people", min=0, max=MOST_SEATS, help=HELP["people"])
    ] = None,
    tutors: Annotated[Count, typer.Option(min=0, max=MOST_SEATS, help=HELP["tutors"])] = None,
    observers: Annotated[Count, typer.Option(min=0, max=MOST_SEATS, help=HELP["observers"])] = None,
    link_days: Annotated[Count, typer.Option(min=1, max=366, help=HELP["days"])] = None,
    ask_names: Annotated[bool | None, typer.Option(help=HELP["names"])] = None,
    port: Annotated[Count, typer.Option(min=1, max=65535, help=HELP["port"])] = None,
    ip: Annotated[str | None, typer.Option(help=HELP["ip"])] = None,
    public_url: Annotated[str | None, typer.Option(help=HELP["public_url"])] = None,
    certfile: Annotated[Path | None, typer.Option(help=HELP["certfile"])] = None,
    keyfile: Annotated[Path | None, typer.Option(help=HELP["keyfile"])] = None,
    redis_url: Annotated[str | None, typer.Option(envvar=REDIS_VARIABLE, help=HELP["redis_url"])] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open the first link here.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help=HELP["state_dir"])] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=HELP["dry_run"])] = False,
) -> None:
    """Prepare the groups' folders, start JupyterLab on them, and print a personal link for each person."""
    options = Options(
        root=_absolute(root),
        root_given=root is not None,
        notebooks=_absolute(notebooks),
        participants=participants,
        tutors=tutors,
        observers=observers,
        ip=ip,
        port=port,
        public_url=public_url,
        redis_url=redis_url,
        browser=not no_browser,
        state_dir=_absolute(state_dir),
        event_file=_absolute(event),
        roster=_absolute(roster),
        data=_absolute(data),
        link_days=link_days,
        ask_names=ask_names,
        certfile=_absolute(certfile),
        keyfile=_absolute(keyfile),
    )
    if dry_run:
        rehearse(options)
    else:
        run(prepare(options))


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().resolve()


def rehearse(options: Options) -> None:
    """Say what a start would make, or all that is wrong with it."""
    try:
        drafted = draft(options)
    except Problems as problems:
        count = len(problems.found)
        print(f"{problems}\n\n{count} mistake{'s' if count > 1 else ''}; nothing was made.", file=sys.stderr)
        raise typer.Exit(1) from None
    screen.rehearsal(drafted)


def server_for(event: Event) -> ServerApp:
    """A Jupyter server for the event, listening, not yet running."""
    from jupyter_server.utils import JupyterServerAuthWarning
    from jupyterlab.labapp import LabApp

    # Other extensions' endpoints, of which people here can't do anything about.
    warnings.simplefilter("ignore", JupyterServerAuthWarning)
    if event.options.redis_url:
        # Not as an argument: other users of the machine can read those.
        os.environ[REDIS_VARIABLE] = event.options.redis_url
    server: ServerApp = LabApp.initialize_server(argv=_arguments(event))
    # Else Jupyter prints an address with its token, with which everybody would be an organiser.
    server.identity_provider.token_generated = False
    return server


def _arguments(event: Event) -> list[str]:
    options = event.options
    arguments = [
        "--no-browser",
        "-y",
        "--Application.log_level=WARN",
        f"--ServerApp.root_dir={options.folder}",
        f"--ServerApp.ip={options.address}",
        f"--ServerApp.port={event.port}",
        "--ServerApp.port_retries=0",
        "--JupyterCollab.people=True",
        f"--JupyterCollab.state_dir={event.state_dir}",
    ]
    if options.certfile:
        arguments.append(f"--ServerApp.certfile={options.certfile}")
    if options.keyfile:
        arguments.append(f"--ServerApp.keyfile={options.keyfile}")
    if options.public_url:
        # Behind a proxy requests come by another name, and only the proxy knows whether it spoke TLS.
        base_url = urlsplit(options.public_url).path or "/"
        arguments += [
            f"--ServerApp.base_url={base_url}",
            "--ServerApp.allow_remote_access=True",
            "--ServerApp.trust_xheaders=True",
        ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    return arguments


def run(event: Event) -> None:
    """Serve the event until Ctrl-C; links are printed when the server answers."""
    server = server_for(event)
    event = settled(event, server)
    extension = server.web_app.settings["jupyter_server_ydoc"]
    extension.on_started = lambda: _greet(event)
    began = time.time()
    server.start()
    screen.goodbye(event, _saved_since(event, began))


def settled(event: Event, server: ServerApp) -> Event:
    """The event with where it is reached, which is kept, and with its file of links."""
    event = event.served_by(server)
    base = event.roster.base
    roster = people_file.change(event.state_dir, lambda known: known.with_base(base))
    write_links(roster, event.state_dir)
    return event


def _greet(event: Event) -> None:
    screen.greeting(event)
    if event.options.browser and (links := event.links()):
        screen.open_browser(links[0][1])


def _saved_since(event: Event, moment: float) -> list[Path]:
    folders = (event.options.folder / folder for folder in event.roster.groups)
    notebooks = (path for folder in folders for path in folder.rglob("*.ipynb"))
    return sorted(path for path in notebooks if path.stat().st_mtime >= moment)
