"""What the commands print. Links go to a terminal only, whole, never to a log."""

from __future__ import annotations

import socket
import threading
import time
import webbrowser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jupyter_collab_ext.cli import folders
from jupyter_collab_ext.links_file import LINKS_FILE
from jupyter_collab_ext.people import Group, Person, Roster

if TYPE_CHECKING:
    from jupyter_collab_ext.cli.prepare import Draft, Event

console = Console(highlight=False)
Rows = Sequence[tuple[Person, str]]


def open_browser(link: str) -> None:
    """Open a link in the browser here, without waiting for it: one in the terminal ends when it is left."""
    threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()


def greeting(event: Event) -> None:
    """The links, and what to do with them."""
    again = "goes on" if event.continued else "is ready"
    name = escape(event.options.folder.name)
    say(f"\n[bold]{name}[/bold] {again}. Send each person their link:\n")
    links(event.roster, event.links(), event.state_dir)
    for note in event.notes:
        say(f"\nNote: {escape(note)}.")
    if _to_a_terminal():
        say("\nTo try several people on this machine, open each link in a private window of its own.")
    _how_others_get_in(event)
    say("Ctrl-C saves and stops.\n")


def _to_a_terminal() -> bool:
    """Whether somebody sits before it: a log that wants colours (FORCE_COLOR) is none."""
    return console.file.isatty()


def say(text: str) -> None:
    """Print a line as it is, however wide the terminal is."""
    console.print(text, soft_wrap=True)


def links(roster: Roster, rows: Rows, state_dir: Path) -> None:
    """Everybody's link, group by group; only where they are kept when this is no terminal."""
    kept = state_dir / LINKS_FILE
    if not _to_a_terminal():
        say(f"{len(rows)} links are in {escape(str(kept))}; this is no terminal, so they are not printed.")
        return
    for group, some in _by_group(roster, rows):
        if group is not None and (len(roster.groups) > 1 or group.topic or group.meeting):
            more = "  ".join(filter(None, (group.topic, group.meeting)))
            say(f"[bold]{escape(group.name)}[/bold]  {escape(more)}")
        _table(roster, some)
        if len(roster.groups) > 1:
            console.print()
    say(f"[dim]All of them, for a mail merge: {escape(str(kept))}[/dim]")


def _by_group(roster: Roster, rows: Rows) -> list[tuple[Group | None, Rows]]:
    """Each person once, in their first group."""
    found: list[tuple[Group | None, Rows]] = [(None, [row for row in rows if not row[0].groups])]
    found += [
        (group, [row for row in rows if row[0].group == folder]) for folder, group in roster.groups.items()
    ]
    return [(group, some) for group, some in found if some]


def _table(roster: Roster, rows: Rows) -> None:
    described = [(person, _role(roster, person), link) for person, link in rows]
    columns = zip(
        *((_width(person.name) + 2, _width(role), len(link)) for person, role, link in described), strict=True
    )
    if sum(map(max, columns)) + 6 <= console.width:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Name", "Role", "Link"):
            table.add_column(heading, no_wrap=True, header_style="dim")
        for person, role, link in described:
            table.add_row(f"[{person.color}]●[/] {escape(person.name)}", escape(role), link)
        console.print(table)
        return
    for person, role, link in described:
        # A link that is cut or wrapped is no link: it gets a line of its own, however long.
        say(f"[{person.color}]●[/] {escape(person.name)} ({escape(role)})")
        say(link)


def _role(roster: Roster, person: Person) -> str:
    """The role, and which groups more."""
    more = [roster.groups[folder].name for folder in person.groups[1:]]
    return f"{person.role.value}, also in {', '.join(more)}" if more else person.role.value


def _width(text: str) -> int:
    return console.measure(escape(text)).maximum


def _how_others_get_in(event: Event) -> None:
    from jupyter_collab_ext.cli.options import LOOPBACK

    options = event.options
    if not options.encrypted:
        say(
            "\n[bold]Nothing is encrypted on the way:[/bold] the network can read links and notebooks.\n"
            "Put a proxy with TLS in front (--public-url), or give a certificate (--certfile, --keyfile).\n"
        )
    if options.address not in LOOPBACK or options.public_url:
        return
    port, again = event.port, escape(options.again())
    here = escape(f"you@{socket.gethostname()}")
    say(
        "\n[bold]These links work on this machine only.[/bold] To let others in:\n"
        f"  in your own network   {again} --ip 0.0.0.0\n"
        f"  over the internet     {again} --public-url https://your.name/\n"
        f"                        behind a proxy with TLS that passes websockets on to 127.0.0.1:{port}\n"
        f"  for one person        they run  ssh -L {port}:127.0.0.1:{port} {here}\n"
    )


def rehearsal(drafted: Draft) -> None:
    """What a start would make."""
    options, roster, known = drafted.options, drafted.roster, drafted.known
    before = {} if known is None else known.people
    say(
        f"\n[bold]{escape(str(options.folder))}[/bold] {'would go on' if known else 'would be made'}, with:\n"
    )
    for folder, group in roster.groups.items():
        people = roster.of_group(folder)
        fresh = sum(person.id not in before for person in people)
        count = ", ".join(
            f"{n} {role.value}{'s' * (n > 1)}" for role, n in Counter(p.role for p in people).items()
        )
        new = f" ({fresh} new)" if fresh else ""
        say(f"  {escape(group.name)} in {escape(folder)}/: {count or 'nobody'}{new}")
        _would_give(drafted, folder, group)
    if roster.data:
        say(f"  {roster.data}/ for all groups to read")
    for person in roster.without_group():
        say(f"  {escape(person.name)}, {person.role.value}")
    for note in drafted.notes:
        say(f"\nNote: {escape(note)}.")
    say("\nNo mistakes. Nothing was made; the same command without --dry-run does it.\n")


def _would_give(drafted: Draft, folder: str, group: Group) -> None:
    source = drafted.notebooks.get(folder)
    if source is None:
        return
    given = folders.to_give(drafted.options.folder / folder, source, group.given)
    if given:
        names = ", ".join(escape(path.name) for path in given[:5])
        more = f" and {len(given) - 5} more" if len(given) > 5 else ""
        say(f"    gets {names}{more} from {escape(str(source))}")


def goodbye(event: Event, saved: list[Path]) -> None:
    """What is where, and how to go on."""
    console.print()
    if saved:
        say("Saved:")
        for path in saved:
            at = time.strftime("%H:%M:%S", time.localtime(path.stat().st_mtime))
            name = escape(str(path.relative_to(event.options.folder)))
            say(f"  {name}  [dim]{at}[/dim]")
    else:
        say("No notebook was changed.")
    say("To go on with the same links:")
    say(f"  {escape(event.options.again())}\n")


def demo_greeting(name: str, link: str, actors: int, *, open_it: bool) -> None:
    """One link, and what there is to see. It ends with the demonstration: so it is printed anywhere."""
    if open_it:
        open_browser(link)
    say(f"\n{actors} people are at work in the example notebook. You are {escape(name)}:\n")
    say(link)
    say("\nOpen it, and write along. Ctrl-C ends the demonstration.\n")
