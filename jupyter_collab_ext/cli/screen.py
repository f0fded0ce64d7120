"""What the commands print. Links go to the terminal only, whole, never to a log."""

from __future__ import annotations

import shlex
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from jupyter_collab_ext.cli.start import Event

console = Console(highlight=False)


def greeting(event: Event) -> None:
    """The links, and what to do with them."""
    again = "goes on" if event.continued else "is ready"
    console.print(f"\n[bold]{event.options.root.name}[/bold] {again}. Send each person their link:\n")
    _links(event)
    console.print("\nTo try several people on this machine, open each link in a private window of its own.")
    _how_others_get_in(event)
    console.print("Ctrl-C saves and stops.\n")


def _links(event: Event) -> None:
    rows = event.links()
    needed = max((len(link) + len(person.name) + len(person.role) + 10 for person, link in rows), default=0)
    if needed <= console.width:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Name", "Role", "Link"):
            table.add_column(heading, no_wrap=True, header_style="dim")
        for person, link in rows:
            table.add_row(f"[{person.color}]●[/] {person.name}", person.role.value, link)
        console.print(table)
        return
    for person, link in rows:
        # A link that is cut or wrapped is no link: it gets a line of its own, however long.
        console.print(f"[{person.color}]●[/] {person.name} ({person.role.value})")
        console.print(link, soft_wrap=True)


def _how_others_get_in(event: Event) -> None:
    from jupyter_collab_ext.cli.start import LOOPBACK

    if event.options.ip not in LOOPBACK or event.options.public_url:
        return
    port = event.port
    console.print(
        "\n[bold]These links work on this machine only.[/bold] To let others in:\n"
        f"  in your own network   {_command(event)} --ip 0.0.0.0\n"
        "  over the internet     put a proxy with TLS in front, and add --public-url https://your.name/\n"
        f"  for one person        they run  ssh -L {port}:127.0.0.1:{port} you@this-machine\n",
        soft_wrap=True,
    )


def _command(event: Event) -> str:
    return f"jupyter collab start --root {shlex.quote(str(event.options.root))}"


def goodbye(event: Event, saved: list[Path]) -> None:
    """What is where, and how to go on."""
    console.print()
    if saved:
        console.print("Saved:")
        for path in saved:
            at = time.strftime("%H:%M:%S", time.localtime(path.stat().st_mtime))
            console.print(f"  {path.relative_to(event.options.root)}  [dim]{at}[/dim]", soft_wrap=True)
    else:
        console.print("No notebook was changed.")
    console.print("To go on with the same links:")
    console.print(f"  {_command(event)}\n", soft_wrap=True)


def demo_greeting(name: str, link: str, actors: int, *, open_it: bool) -> None:
    """One link, and what there is to see."""
    if open_it:
        webbrowser.open(link)
    console.print(f"\n{actors} people are at work in the example notebook. You are {name}:\n")
    console.print(link, soft_wrap=True)
    console.print("\nOpen it, and write along. Ctrl-C ends the demonstration.\n")
