"""A running server follows the file of people: what a command changes there holds within a moment.

The file is looked at a few times a second. So a command needs no way into the server and no secret of its
own beside the rights to the file, it works the same while no server runs, and several servers on one state
folder all follow (ADR 0014). When what a change ended is ended, the server says so in a second file, so that
a command can tell its user what came of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.ioloop import PeriodicCallback

from jupyter_collab_ext.links_file import write_links
from jupyter_collab_ext.people import Roster, new_roster
from jupyter_collab_ext.people_file import ROSTER, load, write_private
from notebook_sync.core.errors import ConfigError
from notebook_sync.core.ids import UserId
from notebook_sync.core.roles import Role

log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between looks."""
TAKEN = "people.taken"
SERVING = "serving.lock"
REVOKED = 4403
"""Close code: the login is worth nothing any more. y-websocket does not come back after 4400 to 4499."""
MOVED = 4409
"""Close code: the login is good, and leads somewhere else now."""

Signature = tuple[int, int, int]
"""Inode, time and size of the file: another one for each write."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What somebody's sockets were opened with holds no more.

    Args:
        person: the id.
        code: the close code for them.
        reason: for people.
    """

    person: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Standing:
    """What somebody's sockets rest on."""

    invitation: int
    role: Role
    groups: tuple[str, ...]


class PeopleWatch:
    """Hands on what the file says, and ends what rested on what it said before.

    Args:
        state_dir: where the file is.
        take: is given the people, now and whenever they change.
        end: called for each person of whom something ended; returns how many sockets it closed.
        clock: seconds since 1970.

    Making one reads the file; raises ``ConfigError`` when it can't be read. Nothing is watched before
    ``start``.
    """

    def __init__(
        self,
        state_dir: Path,
        take: Callable[[Roster], None],
        end: Callable[[Ended], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state_dir = state_dir
        self._take = take
        self._end = end
        self._clock = clock
        self._timer = PeriodicCallback(self.look, LOOK * 1000)
        self._held: int | None = None
        self._signature = signature(state_dir)
        self._roster = load(state_dir) or new_roster()
        self._standing = self._standings()
        take(self._roster)

    def start(self) -> None:
        """Follow the file, on the running loop."""
        self._held = _hold(self._state_dir)
        self._say({})
        self._timer.start()

    def stop(self) -> None:
        """Follow it no more. May be called again."""
        self._timer.stop()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def look(self) -> None:
        """Take over what changed in the file, and end what time ended. Never raises."""
        found = signature(self._state_dir)
        if found == self._signature:
            self._end_what_ended()
            return
        self._signature = found
        try:
            roster = load(self._state_dir)
        except ConfigError as error:
            log.error("people stay as they were: %s", error)
            return
        if roster is None:
            log.error("people stay as they were: their file is gone; undo that, or stop the server")
            return
        self._roster = roster
        self._take(roster)
        self._say(self._end_what_ended())

    def _end_what_ended(self) -> dict[str, int]:
        before, self._standing = self._standing, self._standings()
        ended = {}
        for person, had in before.items():
            what = self._ended(person, had, self._standing.get(person))
            if what is not None:
                ended[person] = self._end(what)
        return ended

    def _standings(self) -> dict[str, _Standing]:
        now = self._clock()
        return {
            person.id: _Standing(person.invitation, person.role, person.groups)
            for person in self._roster.people.values()
            if self._roster.admitted(person, person.invitation, now)
        }

    def _ended(self, person: str, had: _Standing, has: _Standing | None) -> Ended | None:
        if has == had:
            return None
        if has is None:
            known = self._roster.people.get(person)
            late = known is not None and not known.revoked
            return Ended(
                person, REVOKED, "your link is not valid any more" if late else "your link was taken back"
            )
        if has.invitation != had.invitation:
            return Ended(person, REVOKED, "your link was replaced by a new one")
        if has.role is had.role and set(had.groups) <= set(has.groups):
            return None
        return Ended(person, MOVED, "you were moved: open your link again")

    def _say(self, ended: dict[str, int]) -> None:
        """Tell the commands that wait for it what was taken over, and whose sockets were closed."""
        said = {"signature": self._signature, "ended": ended}
        try:
            write_private(self._state_dir / TAKEN, json.dumps(said))
        except ConfigError as error:
            log.warning("commands will not hear what came of them: %s", error)


def signature(state_dir: Path) -> Signature | None:
    """Of the file as it is now; None if there is none."""
    try:
        found = (state_dir / ROSTER).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _hold(state_dir: Path) -> int:
    """Show that a server runs, until the process ends or the file is closed."""
    descriptor = os.open(state_dir / SERVING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # Commands that ask hold it for a moment only.
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def served(state_dir: Path) -> bool:
    """Whether a server runs on this state folder."""
    try:
        descriptor = os.open(state_dir / SERVING, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def taken(state_dir: Path, since: Signature) -> dict[str, int] | None:
    """Whose sockets a server closed (person id: how many) when it took over the file of ``since``.

    None as long as it has not.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((state_dir / TAKEN).read_text(encoding="utf-8"))
        if said["signature"][1] >= since[1]:
            return {str(person): int(count) for person, count in said["ended"].items()}
    return None


def _write_links(roster: Roster, state_dir: Path) -> None:
    """People give themselves names, and commands may have been killed before they wrote the links."""
    try:
        write_links(roster, state_dir)
    except ConfigError as error:
        log.error("the file of links is not up to date: %s", error)


def follow(provider: Any, service: Any, state_dir: Path) -> PeopleWatch:
    """A watch for a running server, started.

    Args:
        provider: the identity provider; its class holds ``roster`` and ``sockets``, and gets
            ``look_at_people`` for whoever has just changed the file.
        service: the extension's, whose engine has the documents' sockets.
    """
    kind = type(provider)

    def take(roster: Roster) -> None:
        kind.roster = roster
        if roster.base:
            _write_links(roster, state_dir)

    def end(ended: Ended) -> int:
        open_now = int(kind.sockets.count(ended.person))
        if service.engine is not None:
            service.engine.disconnect(UserId(ended.person), ended.code, ended.reason)
        kind.sockets.close(ended.person, ended.code, ended.reason)
        log.info("%d connections of %s were closed: %s", open_now, ended.person, ended.reason)
        return open_now

    watch = PeopleWatch(state_dir, take, end)
    kind.look_at_people = staticmethod(watch.look)
    watch.start()
    return watch
