"""What the commands print. Links go to the terminal only, whole, never to a log."""

from __future__ import annotations

import socket
import threading
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from jupyter_collab_ext.cli.start import Event

console = Console(highlight=False)


def open_browser(link: str) -> None:
    """Open a link in the browser here, without waiting for it: one in the terminal ends when it is left."""
    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()


def greeting(event: Event) -> None:
    """The links, and what to do with them."""
    again = "goes on" if event.continued else "is ready"
    console.print(f"\n[bold]{escape(event.options.root.name)}[/bold] {again}. Send each person their link:\n")
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
            table.add_row(f"[{person.color}]●[/] {escape(person.name)}", person.role.value, link)
        console.print(table)
        return
    for person, link in rows:
        # A link that is cut or wrapped is no link: it gets a line of its own, however long.
        console.print(f"[{person.color}]●[/] {escape(person.name)} ({person.role.value})")
        console.print(link, soft_wrap=True)


def _how_others_get_in(event: Event) -> None:
    from jupyter_collab_ext.cli.start import LOOPBACK

    if event.options.ip not in LOOPBACK or event.options.public_url:
        return
    port, again = event.port, escape(event.options.again())
    here = escape(f"you@{socket.gethostname()}")
    console.print(
        "\n[bold]These links work on this machine only.[/bold] To let others in:\n"
        f"  in your own network   {again} --ip 0.0.0.0\n"
        f"  over the internet     {again} --public-url https://your.name/\n"
        f"                        behind a proxy with TLS that passes websockets on to 127.0.0.1:{port}\n"
        f"  for one person        they run  ssh -L {port}:127.0.0.1:{port} {here}\n",
        soft_wrap=True,
    )


def goodbye(event: Event, saved: list[Path]) -> None:
    """What is where, and how to go on."""
    console.print()
    if saved:
        console.print("Saved:")
        for path in saved:
            at = time.strftime("%H:%M:%S", time.localtime(path.stat().st_mtime))
            name = escape(str(path.relative_to(event.options.root)))
            console.print(f"  {name}  [dim]{at}[/dim]", soft_wrap=True)
    else:
        console.print("No notebook was changed.")
    console.print("To go on with the same links:")
    console.print(f"  {escape(event.options.again())}\n", soft_wrap=True)


def demo_greeting(name: str, link: str, actors: int, *, open_it: bool) -> None:
    """One link, and what there is to see."""
    if open_it:
        open_browser(link)
    console.print(f"\n{actors} people are at work in the example notebook. You are {escape(name)}:\n")
    console.print(link, soft_wrap=True)
    console.print("\nOpen it, and write along. Ctrl-C ends the demonstration.\n")
