"""``jupyter collab init``: an event file with comments, to be changed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jupyter_collab_ext.cli import screen
from notebook_sync.core.errors import ConfigError

TEMPLATE = "templates/event.toml"


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.", metavar="[hackathon.toml]")] = Path(
        "hackathon.toml"
    ),
) -> None:
    """Write an example of an event file; one that is there is left alone."""
    text = (files("jupyter_collab_ext") / TEMPLATE).read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: name another file") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be written ({error.strerror}): name another file") from error
    name = escape(str(path))
    screen.say(f"{name} is written. Change it, then:\n\n  jupyter collab start {name} --dry-run\n")
