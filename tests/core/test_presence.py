"""Who is here: one voice for each connection, and the server's word on who that is."""

from __future__ import annotations

import json

from notebook_sync.core.ids import ClientId, ConnectionId, NodeId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.presence import Presence, stamp
from notebook_sync.core.roles import Member, Role
from notebook_sync.core.wire import AwarenessEntry

ANNA = Member(UserId("anna"), Role.PARTICIPANT, {"username": "anna", "display_name": "Anna"})
BEN = Member(UserId("ben"), Role.PARTICIPANT, {"username": "ben", "display_name": "Ben"})
C1, C2, C3 = ConnectionId(1), ConnectionId(2), ConnectionId(3)
LIMITS = Limits(presence_ttl=30.0)


def says(client: int, clock: int, **state: object) -> AwarenessEntry:
    return AwarenessEntry(ClientId(client), clock, json.dumps(state))


def gone(client: int, clock: int) -> AwarenessEntry:
    return AwarenessEntry(ClientId(client), clock, None)


def user_of(entry: AwarenessEntry) -> object:
    assert entry.state is not None
    return json.loads(entry.state)["user"]


def test_the_server_says_who_it_is_and_keeps_the_clock() -> None:
    presence = Presence(LIMITS)
    (heard,) = presence.said(C1, ANNA, [says(10, 3, user={"name": "The Teacher"}, cursors=[1])], 0.0)
    assert heard.clock == 3
    assert user_of(heard) == {"username": "anna", "display_name": "Anna"}
    assert heard.state is not None
    assert json.loads(heard.state)["cursors"] == [1]


def test_a_state_that_names_the_right_person_is_passed_on_as_it_came() -> None:
    state = json.dumps({"user": dict(ANNA.identity), "autosave": True})
    assert stamp(state, ANNA) is state


def test_what_a_client_says_of_others_is_dropped() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    presence.said(C2, BEN, [says(20, 1)], 0.0)
    # A tab that wakes from sleep: everybody else timed out (rule 22).
    assert presence.said(C1, ANNA, [gone(20, 2), says(20, 9), gone(30, 1)], 40.0) == ()
    assert {entry.client for entry in presence.everybody()} == {10, 20}


def test_nobody_takes_over_the_voice_of_another_live_person() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    assert presence.said(C2, BEN, [says(10, 5)], 1.0) == ()
    assert user_of(presence.everybody()[0]) == dict(ANNA.identity)


def test_the_newest_socket_of_a_person_owns_the_client_and_the_old_one_does_not_remove_it() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    presence.said(C3, ANNA, [says(10, 2)], 1.0)
    assert presence.left(C1) == ()
    assert presence.left(C3) == (gone(10, 3),)
    assert presence.everybody() == ()


def test_leaving_removes_with_a_higher_clock() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 7)], 0.0)
    assert presence.left(C1) == (gone(10, 8),)
    assert presence.left(C1) == ()


def test_saying_goodbye_is_passed_on_once() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 7)], 0.0)
    assert presence.said(C1, ANNA, [gone(10, 8)], 1.0) == (gone(10, 8),)
    assert presence.left(C1) == ()


def test_an_old_clock_is_no_news() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 5, at="new")], 0.0)
    assert presence.said(C1, ANNA, [says(10, 5, at="same"), says(10, 4, at="old")], 1.0) == ()


def test_people_of_a_dead_node_expire_and_those_here_do_not() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    presence.heard(NodeId("other"), [says(20, 1)], 0.0)
    assert presence.expire(29.0) == ()
    assert presence.expire(31.0) == (gone(20, 2),)
    assert [entry.client for entry in presence.everybody()] == [10]


def test_another_node_does_not_speak_for_people_here() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    assert presence.heard(NodeId("other"), [gone(10, 2)], 1.0) == ()


def test_only_people_of_this_node_are_announced() -> None:
    presence = Presence(LIMITS)
    presence.said(C1, ANNA, [says(10, 1)], 0.0)
    presence.heard(NodeId("other"), [says(20, 1)], 0.0)
    assert [entry.client for entry in presence.everybody(connections_only=True)] == [10]
