"""The open websockets of each person: how many there may be, and how all of them are ended at once.

Every websocket of Jupyter (documents, kernels, events, terminals) asks the identity provider who is
there before it opens; so those of extensions that nobody thought of are counted too.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import defaultdict
from typing import Any

from tornado import web

log = logging.getLogger(__name__)

REVOKED = 4403
"""Close code; y-websocket does not come back after 4400 to 4499."""
MOVED = 4409
"""Close code: the person belongs to another group now."""
HANDSHAKE = 60.0
"""Seconds: no handshake takes longer."""
REMEMBERED = 1_000
"""Users whose sockets are kept in mind before those without any are forgotten."""
LOOK_AGAIN = 0.05
TOO_MANY = "too many connections at once: close some pages"


class Sockets:
    """Args: ``most``: how many a person may have open at once (``Limits.sockets_per_person``)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._remembered = REMEMBERED
        self._open: defaultdict[str, weakref.WeakSet[Any]] = defaultdict(weakref.WeakSet)

    def admit(self, person: str, handler: Any) -> None:
        """Note a websocket that is about to open. Raises a 429 when the person has as many as may be."""
        mine = self._open[person]
        for other in [other for other in mine if _gone(other)]:
            mine.discard(other)
        if len(mine) >= self._most and handler not in mine:
            log.warning("%s has %d sockets open and gets no more", person, len(mine))
            raise web.HTTPError(429, TOO_MANY, reason="Too Many Requests")
        mine.add(handler)
        if len(self._open) > self._remembered:
            # Each call with the server's token is a user of its own.
            self._open = defaultdict(weakref.WeakSet, {p: s for p, s in self._open.items() if _any_open(s)})
            self._remembered = max(REMEMBERED, 2 * len(self._open))

    def count(self, person: str) -> int:
        """How many of a person's websockets are open or opening."""
        return sum(not _gone(handler) for handler in list(self._open.get(person, ())))

    def close(self, person: str, code: int, reason: str) -> int:
        """End all websockets of a person, whatever they are for; returns how many were open.

        One whose handshake is under way was let in by what held before; it ends as soon as it is open.
        """
        ended = 0
        for handler in list(self._open.pop(person, ())):
            if handler.ws_connection is not None:
                handler.close(code, reason)
                ended += 1
            elif not _gone(handler):
                _close_when_open(handler, code, reason, HANDSHAKE / LOOK_AGAIN)
        return ended


def _any_open(handlers: weakref.WeakSet[Any]) -> bool:
    return any(not _gone(handler) for handler in handlers)


def _gone(handler: Any) -> bool:
    """Whether a handler was open and is closed, or its request ended without a websocket."""
    return handler._on_close_called or (handler.ws_connection is None and handler._finished)


def _close_when_open(handler: Any, code: int, reason: str, looks: float) -> None:
    if handler.ws_connection is not None:
        handler.close(code, reason)
    elif looks > 0 and not _gone(handler):
        asyncio.get_running_loop().call_later(LOOK_AGAIN, _close_when_open, handler, code, reason, looks - 1)
