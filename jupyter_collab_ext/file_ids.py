"""File ids that stay with their files when these are replaced.

A save gives the file another inode. ``ArbitraryFileIdManager`` goes by paths and does not mind;
``LocalFileIdManager`` goes by inodes, and its own ``save`` and ``move`` look for the new one only, which
would make every save a new file to it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from jupyter_server_fileid.manager import LocalFileIdManager

TRIES = 3
PAUSE = 0.1
"""Seconds between two questions for a file that is perhaps being replaced at this moment."""


async def path_of(ids: Any, file_id: str) -> str | None:
    """The API path of the file with this id; None if there is none."""
    path: str | None = ids.get_path(file_id)
    for _ in range(TRIES - 1 if isinstance(ids, LocalFileIdManager) else 0):
        if path is None:
            await asyncio.sleep(PAUSE)
            path = ids.get_path(file_id)
    return path


def replaced(ids: Any, path: str, inode: int) -> None:
    """The file at the API path ``path`` had this inode and has another one now. On the event loop's
    thread, which the database belongs to. Raises ``sqlite3.Error``."""
    if not isinstance(ids, LocalFileIdManager):
        ids.save(path)
        return
    full = os.path.normpath(os.path.normcase(os.path.join(str(ids.root_dir), path)))
    try:
        status = os.lstat(os.path.realpath(full))
    except OSError:
        return  # gone again
    full = os.path.realpath(full) if os.path.islink(full) else full
    born = getattr(status, "st_birthtime", None)
    created = None if born is None else int(born * 1e9)
    with ids.con:
        known = ids.con.execute("SELECT id FROM Files WHERE ino = ? AND path = ?", (inode, full)).fetchone()
        if known is None:
            return
        # Whoever asked in between was given an id for the new inode; and an inode may be used again that
        # a file had which is deleted.
        ids.con.execute("DELETE FROM Files WHERE ino = ? AND id <> ?", (status.st_ino, known[0]))
        ids.con.execute(
            "UPDATE Files SET ino = ?, crtime = ?, mtime = ? WHERE id = ?",
            (status.st_ino, created, status.st_mtime_ns, known[0]),
        )
