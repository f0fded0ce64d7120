"""The role table is as the docs say, and whatever it does not name is denied."""

from __future__ import annotations

from typing import cast

import pytest

from notebook_sync.core.ids import UserId
from notebook_sync.core.roles import Action, Member, Role, may

EXPECTED = {
    Role.OBSERVER: {Action.READ},
    Role.PARTICIPANT: {Action.READ, Action.EDIT, Action.RUN, Action.RESTORE},
    Role.TUTOR: {Action.READ, Action.EDIT, Action.RUN, Action.RESTORE},
    Role.ORGANISER: set(Action),
}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", list(Action))
def test_table(role: Role, action: Action) -> None:
    assert may(role, action) is (action in EXPECTED[role])


def test_every_role_is_decided() -> None:
    assert set(EXPECTED) == set(Role)


@pytest.mark.parametrize(("role", "action"), [("visitor", "read"), ("organiser", "delete"), ("", "")])
def test_unknown_is_denied(role: str, action: str) -> None:
    assert may(cast(Role, role), cast(Action, action)) is False


def test_roles_read_from_text() -> None:
    assert Role("tutor") is Role.TUTOR
    with pytest.raises(ValueError, match="boss"):
        Role("boss")


def test_member_is_a_value() -> None:
    one = Member(UserId("anna"), Role.TUTOR, {"color": "#005a9c"})
    assert one == Member(UserId("anna"), Role.TUTOR, {"color": "#005a9c"})
    assert Member(UserId("anna"), Role.TUTOR).identity == {}
