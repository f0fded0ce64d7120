"""Where a file is that another program moved: a rename keeps the inode. Blocking."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque

from notebook_sync.ports import FileStamp


def find_moved(root: str, path: str, stamp: FileStamp, most: int) -> str | None:
    """The path, below the folder ``root``, of the file that was at ``path`` (relative to ``root``, with
    forward slashes), had this stamp, and is not there any more.

    Its own folder is looked at first, then the whole tree by levels, hidden folders left out; at most
    ``most`` entries. None if it is not found. Hard links don't count: who makes one and removes the old
    name is seen as having moved the file, as it is.
    """
    own = path.rpartition("/")[0]
    folders = deque([own, ""])
    seen: set[str] = set()
    while folders and most > 0:
        folder = folders.popleft()
        if folder in seen:
            continue
        seen.add(folder)
        with contextlib.suppress(OSError), os.scandir(os.path.join(root, *folder.split("/"))) as entries:
            for entry in entries:
                most -= 1
                if entry.name.startswith("."):
                    continue
                below = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(below)
                elif entry.inode() == stamp.inode and below != path and _is(entry, stamp):
                    return below
    return None


def _is(entry: os.DirEntry[str], stamp: FileStamp) -> bool:
    """Whether this is that file and not another one, to which the system gave the inode of a deleted one."""
    status = entry.stat(follow_symlinks=False)
    unchanged = (status.st_mtime_ns, status.st_size) == (stamp.mtime_ns, stamp.size)
    return unchanged and stat.S_ISREG(status.st_mode)
