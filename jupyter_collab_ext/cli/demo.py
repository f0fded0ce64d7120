"""``jupyter collab demo``: five scripted people at work, so that one person alone sees it live."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jupyter_collab_ext.cli import folders, screen
from jupyter_collab_ext.cli.options import Options
from jupyter_collab_ext.cli.prepare import Event, prepare
from jupyter_collab_ext.cli.start import server_for, settled
from jupyter_collab_ext.people import GROUP
from notebook_sync.core.roles import Role

ACTORS = 5


def demo(
    seconds: Annotated[int, typer.Option(min=10, max=3600, help="How long they work.")] = 600,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open your link here.")] = False,
) -> None:
    """Start the example with five scripted people in it, and a link for you to watch and join in."""
    with tempfile.TemporaryDirectory(prefix="collab-demo-", ignore_cleanup_errors=True) as root:
        options = Options(
            Path(root).resolve(), folders.example(), ACTORS + 1, 0, 0, port=port, browser=not no_browser,
            ask_names=False,
        )  # fmt: skip
        run(prepare(options), seconds)


def run(event: Event, seconds: int) -> None:
    """Serve until Ctrl-C; the scripted people are a process of their own, as real ones are."""
    server = server_for(event)
    event = settled(event, server)
    actors: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        (you, your_link), *others = [
            (person, link) for person, link in event.links() if person.role is Role.PARTICIPANT
        ]
        screen.demo_greeting(you.name, your_link, ACTORS, open_it=event.options.browser)
        notebook = sorted((event.options.folder / GROUP).glob("*.ipynb"))[0].name
        command = [
            sys.executable,
            "-m",
            "jupyter_collab_ext.simulated.show",
            str(seconds),
            f"{GROUP}/{notebook}",
        ]
        # Through stdin, so that links are in no list of processes. Ctrl-C here is for us, not for them.
        actors.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
        assert actors[0].stdin is not None
        actors[0].stdin.write("\n".join(link for _, link in others).encode())
        actors[0].stdin.close()

    server.web_app.settings["jupyter_server_ydoc"].on_started = begin
    try:
        server.start()
    finally:
        for actor in actors:
            actor.terminate()
            actor.wait(10)
    screen.console.print("\nThe demonstration is over; its folder is removed.\n")
