"""``jupyter collab``: start a group's session, or see one at work."""

from __future__ import annotations

import sys

import typer

from jupyter_collab_ext.cli.demo import demo
from jupyter_collab_ext.cli.start import start
from notebook_sync.core.errors import ConfigError

app = typer.Typer(
    name="jupyter collab",
    help="Shared notebooks that people can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(start)
app.command()(demo)


def main() -> None:
    """The program ``jupyter-collab``; what can't be done is said in one sentence, with exit code 1."""
    try:
        app(prog_name="jupyter collab")
    except ConfigError as error:
        print(f"jupyter collab: {error}", file=sys.stderr)
        sys.exit(1)
