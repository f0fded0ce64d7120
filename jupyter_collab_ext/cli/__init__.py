"""``jupyter collab``: prepare and run an event, look after its people, or see a group at work.

Only what a command needs is imported: who must be sent away is not to wait for what a server needs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import typer

from notebook_sync.core.errors import ConfigError

COMMANDS = {
    "init": "init",
    "doctor": "doctor",
    "start": "start",
    "links": "people_commands",
    "add": "people_commands",
    "move": "people_commands",
    "relink": "people_commands",
    "revoke": "people_commands",
    "demo": "demo",
}
"""Command -> the module that has it, as a function of the command's name."""


def application(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands, in this order."""
    app = typer.Typer(
        name="jupyter collab",
        help="Shared notebooks that people can trust.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_with_commands)
    for command in commands:
        app.command()(getattr(import_module(f"{__name__}.{COMMANDS[command]}"), command))
    return app


def __getattr__(name: str) -> Any:
    """``app``: the program with all commands."""
    if name == "app":
        return application()
    raise AttributeError(name)


def _with_commands() -> None:
    """Shared notebooks that people can trust."""
    # Else a program of one command would take no command's name.


def main() -> None:
    """The program ``jupyter-collab``; what can't be done is said in a sentence for each, with exit code 1."""
    asked = sys.argv[1:2]
    try:
        application(asked if asked and asked[0] in COMMANDS else COMMANDS)(prog_name="jupyter collab")
    except ConfigError as error:
        said = str(error)
        print(f"jupyter collab:{chr(10) if chr(10) in said else ' '}{said}", file=sys.stderr)
        sys.exit(1)
