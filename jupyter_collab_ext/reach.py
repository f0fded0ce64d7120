"""Which paths somebody may see and change: their groups' folders, and folders that all may read.

Pure text and no disk, but for ``Reach.really``: paths are those of the contents API, relative to the
server's folder, and are compared letter by letter. What looks almost like one's own folder (other case,
another Unicode form, ``..``) is not one's own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from jupyter_collab_ext.people import Person, Roster
from notebook_sync.core.paths import within
from notebook_sync.core.roles import Action, may

LONGEST_NAME = 255
"""Bytes of one part of a path, on every usual file system."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LONGEST_PATH = 4096
"""Characters; as the operating system, which would refuse a longer one less clearly."""


def cleaned(path: str) -> str | None:
    """A path without slashes around it; None for one that has no business in a request.

    Those have parts that are empty, too long, ``.`` or ``..``, backslashes, or control characters.
    """
    clean = path.strip("/")
    if len(clean) > LONGEST_PATH or "\\" in clean or CONTROL.search(clean):
        return None
    parts = clean.split("/")
    if clean and ({"", ".", ".."} & set(parts) or any(len(part.encode()) > LONGEST_NAME for part in parts)):
        return None
    return clean


@dataclass(frozen=True, slots=True)
class Reach:
    """Of one person. ``everything`` is an organiser's; else what is not below a named folder is closed.

    Args:
        folders: to work in.
        shared: to look at only; all groups see them.
        everything: whether nothing is closed.
    """

    folders: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    everything: bool = False

    def sees(self, path: str) -> bool:
        """Whether a file or folder, and what is in it, may be read."""
        if self.everything:
            return True
        clean = cleaned(path)
        return clean is not None and any(within(clean, f) for f in (*self.folders, *self.shared))

    def changes(self, path: str) -> bool:
        """Whether a file may be made, written, renamed or deleted there. A group's folder itself stays."""
        if self.everything:
            return True
        clean = cleaned(path)
        if not clean or clean in self.folders or self.only_looks(clean):
            return False
        return any(within(clean, folder) for folder in self.folders)

    def only_looks(self, path: str) -> bool:
        """Whether a path may be read and not changed, whatever the person's role."""
        clean = cleaned(path)
        if self.everything or clean is None:
            return False
        return any(within(clean, folder) for folder in self.shared)

    def passes(self, path: str) -> bool:
        """Whether a folder lies on the way to what may be read, so that it may be listed in part."""
        clean = cleaned(path)
        if self.everything or clean is None:
            return self.everything
        return any(not clean or within(folder, clean) for folder in (*self.folders, *self.shared))

    def really(self, root: Path, real: str) -> bool:
        """Whether a file, links resolved, lies where the person may look: else links lead anywhere.

        Args:
            root: the server's folder.
            real: an absolute path on disk, made by ``os.path.realpath``.
        """
        if self.everything:
            return True
        homes = (os.path.realpath(root / folder) for folder in (*self.folders, *self.shared))
        return any(real == home or real.startswith(home.rstrip(os.sep) + os.sep) for home in homes)

    def really_changes(self, root: Path, real: str) -> bool:
        """As ``really``, for writing: a link into a folder that all groups read must not open it."""
        if self.everything:
            return True
        return Reach(self.folders).really(root, real) and not Reach(self.shared).really(root, real)

    @property
    def home(self) -> str:
        """Where somebody's things go that have no path of their own; empty for an organiser."""
        return next(iter(self.folders), "")


EVERYTHING = Reach(everything=True)
NOTHING = Reach()


def reach_of(person: Person, roster: Roster) -> Reach:
    """What a person may open: an organiser everything, others their groups' folders and the data."""
    if may(person.role, Action.MANAGE):
        return EVERYTHING
    return Reach(person.groups, (roster.data,) if roster.data else ())
