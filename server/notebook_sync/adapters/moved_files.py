"""Where a file is that another program moved: a rename keeps the inode. Blocking."""

from __future__ import annotations

import contextlib
import os
from collections import deque


def find_moved(root: str, path: str, inode: int, most: int) -> str | None:
    """The path, below the folder ``root``, of the file with this inode that was at ``path`` (relative to
    ``root``, with forward slashes) and is not there any more.

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
                elif entry.inode() == inode and below != path and entry.is_file(follow_symlinks=False):
                    return below
    return None
