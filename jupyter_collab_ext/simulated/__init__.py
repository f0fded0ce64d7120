"""Simulated people: protocol clients that work in shared notebooks by a seeded script, and the oracle
that says what became of every word they wrote. Used by ``jupyter collab demo``, the system tests and
the benchmarks; written from the public protocol, so they work against any server that speaks it."""

from jupyter_collab_ext.simulated import frames
from jupyter_collab_ext.simulated.browser import Browser, LoginFailed
from jupyter_collab_ext.simulated.client import (
    Close,
    CollabClient,
    SessionRefused,
    SharedSession,
    plain_user,
    request_session,
)
from jupyter_collab_ext.simulated.group import Group
from jupyter_collab_ext.simulated.oracle import Report, TokenLog, judge
from jupyter_collab_ext.simulated.person import TYPING_ONLY, Habits, Person

__all__ = [
    "TYPING_ONLY",
    "Browser",
    "Close",
    "CollabClient",
    "Group",
    "Habits",
    "LoginFailed",
    "Person",
    "Report",
    "SessionRefused",
    "SharedSession",
    "TokenLog",
    "frames",
    "judge",
    "plain_user",
    "request_session",
]
