"""``links.csv`` in the state folder: everybody's link, for a mail merge. Readable by its owner only."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from jupyter_collab_ext.links import Links
from jupyter_collab_ext.names import cell
from jupyter_collab_ext.people import Roster
from jupyter_collab_ext.people_file import write_private

LINKS_FILE = "links.csv"
COLUMNS = ("name", "email", "group", "role", "link")


def write_links(roster: Roster, state_dir: Path) -> Path:
    """Make the file say what the roster does; who was sent away is not in it. Raises ``ConfigError``.

    With a byte order mark: spreadsheets read umlauts wrongly without one.
    """
    links, made = Links(state_dir), io.StringIO()
    table = csv.writer(made)
    table.writerow(COLUMNS)
    for person in roster.people.values():
        if not person.revoked:
            groups = ";".join(roster.groups[folder].name for folder in person.groups)
            row = (
                person.name,
                person.email,
                groups,
                person.role.value,
                links.link(roster.base, person, roster),
            )
            table.writerow(map(cell, row))
    path = state_dir / LINKS_FILE
    if not _holds(path, made.getvalue().encode("utf-8-sig")):
        write_private(path, made.getvalue(), "utf-8-sig")
    return path


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content and path.stat().st_mode & 0o077 == 0
    except OSError:
        return False
