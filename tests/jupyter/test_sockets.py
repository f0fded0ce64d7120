"""The open websockets of each person: counted, bounded, and ended at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tornado import web

from jupyter_collab_ext.sockets import REMEMBERED, REVOKED, Sockets
from tests.support.waiting import wait_until


class Handler:
    """What is looked at of tornado's handler."""

    def __init__(self) -> None:
        self.ws_connection: Any = None
        self._finished = False
        self._on_close_called = False
        self.closed: tuple[int, str] | None = None

    def opens(self) -> Handler:
        self.ws_connection, self._finished = object(), True
        return self

    def close(self, code: int, reason: str) -> None:
        self.ws_connection, self.closed = None, (code, reason)

    def refused(self) -> Handler:
        self._finished = True
        return self


def test_one_too_many_is_refused_until_another_is_gone() -> None:
    sockets, first, second = Sockets(2), Handler(), Handler()
    sockets.admit("ann", first)
    sockets.admit("ann", first)  # a handler asks more than once who is there
    sockets.admit("ann", second)
    with pytest.raises(web.HTTPError) as refused:
        sockets.admit("ann", Handler())
    assert refused.value.status_code == 429
    third = Handler()
    sockets.admit("bob", third)
    assert (sockets.count("ann"), sockets.count("bob"), sockets.count("cem")) == (2, 1, 0)
    first.opens().close(1000, "")
    fourth = Handler()
    sockets.admit("ann", fourth)
    second.refused()
    fifth = Handler()
    sockets.admit("ann", fifth)
    assert sockets.count("ann") == 2


def test_all_of_one_person_are_ended() -> None:
    sockets, mine, other = Sockets(9), [Handler().opens() for _ in range(3)], Handler().opens()
    for handler in mine:
        sockets.admit("ann", handler)
    sockets.admit("bob", other)
    assert sockets.close("ann", REVOKED, "taken back") == 3
    assert {handler.closed for handler in mine} == {(REVOKED, "taken back")}
    assert other.closed is None
    assert sockets.close("ann", REVOKED, "taken back") == 0


async def test_a_handshake_under_way_ends_when_it_is_open() -> None:
    sockets, slow, never = Sockets(9), Handler(), Handler()
    for handler in (slow, never):
        sockets.admit("ann", handler)
    assert sockets.close("ann", REVOKED, "taken back") == 0
    never.refused()
    asyncio.get_running_loop().call_later(0.12, slow.opens)
    await wait_until(lambda: slow.closed is not None, 10, "the late one is closed")
    assert slow.closed == (REVOKED, "taken back")
    assert never.closed is None


def test_users_without_sockets_are_forgotten() -> None:
    sockets, kept = Sockets(9), Handler().opens()
    sockets.admit("ann", kept)
    for number in range(3 * REMEMBERED):
        sockets.admit(f"token-{number}", Handler().refused())
    assert len(sockets._open) <= REMEMBERED + 1
    assert sockets.count("ann") == 1
