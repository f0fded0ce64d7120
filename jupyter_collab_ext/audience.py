"""Awareness for those whom it concerns: people of the same group, and organisers.

The engine's rooms know no groups. Where people of several groups meet (the global awareness, files
that all groups read), each one's socket gets only what is said by people of a common group. The
``user`` of a state is stamped by the server (rule 22), so it can be gone by.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from jupyter_collab_ext.reach import Reach
from notebook_sync.app import Transport
from notebook_sync.core import wire
from notebook_sync.core.errors import ProtocolError
from notebook_sync.core.limits import Limits

AWARENESS = 1
"""The first byte of such frames."""
PLACES = ("current", "documents")
"""Fields of the global awareness that say which files somebody has open."""


class Audience:
    """A transport that leaves out what the person behind it is not meant to hear.

    Args:
        inner: the socket.
        may_hear: whether the person may hear of a user name; asked for each state, since people move.
        reach: what the person may open now.
        limits: of frames.
    """

    def __init__(
        self,
        inner: Transport,
        may_hear: Callable[[str], bool],
        reach: Callable[[], Reach],
        limits: Limits,
    ) -> None:
        self._inner = inner
        self._may_hear = may_hear
        self._reach = reach
        self._limits = limits

    @property
    def backlog(self) -> int:
        """The socket's."""
        return self._inner.backlog

    def write(self, frame: bytes) -> None:
        """Send what is left of the frame, if anything is."""
        if frame[:1] == bytes((AWARENESS,)):
            left = self._left_of(frame)
            if left is not None:
                self._inner.write(left)
        else:
            self._inner.write(frame)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """As the socket's."""
        self._inner.when_drained(callback)

    def close(self, code: int, reason: str) -> None:
        """As the socket's."""
        self._inner.close(code, reason)

    def _left_of(self, frame: bytes) -> bytes | None:
        try:
            message = wire.parse(frame, self._limits)
        except ProtocolError:
            return None  # the engine makes no such frame; whoever does is not passed on
        if not isinstance(message, wire.AwarenessUpdate):
            return None
        reach = self._reach()
        heard = [said for entry in message.entries if (said := self._said(entry, reach)) is not None]
        return wire.encode_awareness(heard) if heard else None

    def _said(self, entry: wire.AwarenessEntry, reach: Reach) -> wire.AwarenessEntry | None:
        if entry.state is None:
            return entry  # of a random number that nobody can be known by
        state = json.loads(entry.state)
        if not self._may_hear(_username(state)):
            return None
        shown = _in_reach(state, reach)
        if shown == state:
            return entry
        text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
        return wire.AwarenessEntry(entry.client, entry.clock, text)


def _username(state: Any) -> str:
    user = state.get("user")
    name = user.get("username") if isinstance(user, dict) else None
    return name if isinstance(name, str) else ""


def _in_reach(state: dict[str, Any], reach: Reach) -> dict[str, Any]:
    """The state without files that the reader may not open: a tutor of two groups is seen in both."""
    shown = dict(state)
    for field in PLACES:
        value = shown.get(field)
        if isinstance(value, list):
            shown[field] = [place for place in value if _open(place, reach)]
        elif value is not None and not _open(value, reach):
            shown[field] = None
    return shown


def _open(place: object, reach: Reach) -> bool:
    """``notebook:RTC:group-1/a.ipynb``: what stands before the path are names of widget and drive."""
    return isinstance(place, str) and (reach.everything or reach.sees(place.rpartition(":")[2]))
