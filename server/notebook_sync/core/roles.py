"""Who may do what, as one table that denies by default (design section 8).

=========== ==== ==== === ======= ======
role        READ EDIT RUN RESTORE MANAGE
=========== ==== ==== === ======= ======
observer    yes
participant yes  yes  yes yes
tutor       yes  yes  yes yes
organiser   yes  yes  yes yes     yes
=========== ==== ==== === ======= ======

A tutor and a participant may do the same in a notebook that both may open; they differ in which
notebooks those are, which is a question of groups and not of this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from notebook_sync.core.ids import UserId


class Role(enum.StrEnum):
    """What somebody is in a group."""

    ORGANISER = "organiser"
    TUTOR = "tutor"
    PARTICIPANT = "participant"
    OBSERVER = "observer"


class Action(enum.StrEnum):
    """What somebody wants to do with a document or with the event."""

    READ = "read"
    """See the document, its people and its outputs."""
    EDIT = "edit"
    """Change the document, in text or structure, and ask for a save."""
    RUN = "run"
    """Run code in the document's kernel, interrupt and restart it."""
    RESTORE = "restore"
    """Bring back an earlier version: an ordinary edit that everybody sees."""
    MANAGE = "manage"
    """Change people, groups and the server itself."""


_NOTEBOOK_WORK = frozenset({Action.READ, Action.EDIT, Action.RUN, Action.RESTORE})

_ALLOWED: Mapping[Role, frozenset[Action]] = MappingProxyType(
    {
        Role.OBSERVER: frozenset({Action.READ}),
        Role.PARTICIPANT: _NOTEBOOK_WORK,
        Role.TUTOR: _NOTEBOOK_WORK,
        Role.ORGANISER: _NOTEBOOK_WORK | {Action.MANAGE},
    }
)


def may(role: Role, action: Action) -> bool:
    """Whether ``role`` allows ``action``; what the table does not name is denied."""
    return action in _ALLOWED.get(role, frozenset())


@dataclass(frozen=True, slots=True)
class Member:
    """Who is on a connection.

    ``user`` is the stable user name that client ids are bound to (rule 13). ``identity`` is what the
    server stamps into the awareness field ``user``: ``username``, ``name``, ``display_name``,
    ``initials``, ``avatar_url``, ``color`` (strings, or None where unknown).
    """

    user: UserId
    role: Role
    identity: Mapping[str, object] = field(default_factory=dict)
