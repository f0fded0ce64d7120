"""``jupyter collab``: prepare and run an event, look after its people, or see a group at work."""

from __future__ import annotations

import sys

import typer

from jupyter_collab_ext.cli.demo import demo
from jupyter_collab_ext.cli.doctor import doctor
from jupyter_collab_ext.cli.init import init
from jupyter_collab_ext.cli.people_commands import add, links, move, relink, revoke
from jupyter_collab_ext.cli.start import start
from notebook_sync.core.errors import ConfigError

app = typer.Typer(
    name="jupyter collab",
    help="Shared notebooks that people can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (init, doctor, start, links, add, move, relink, revoke, demo):
    app.command()(command)


def main() -> None:
    """The program ``jupyter-collab``; what can't be done is said in a sentence for each, with exit code 1."""
    try:
        app(prog_name="jupyter collab")
    except ConfigError as error:
        said = str(error)
        print(f"jupyter collab:{chr(10) if chr(10) in said else ' '}{said}", file=sys.stderr)
        sys.exit(1)
