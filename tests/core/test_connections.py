"""Frame numbers, acknowledgements, and who owns a client id."""

from __future__ import annotations

import json

from notebook_sync.core.connections import ClientOwners, Connected
from notebook_sync.core.ids import ClientId, ConnectionId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member, Role

ANNA, BEN = UserId("anna"), UserId("ben")
C1, C2 = ConnectionId(1), ConnectionId(2)
X = ClientId(77)


def connected(role: Role = Role.PARTICIPANT, wants: frozenset[str] = frozenset({"stored"})) -> Connected:
    return Connected(Member(ANNA, role, {}), wants)


def told(connection: Connected, durable: int) -> dict[str, object] | None:
    message = connection.stored_message(durable, "redis", final=True)
    return None if message is None else json.loads(message)


def test_frames_are_acknowledged_cumulatively_when_their_position_is_durable() -> None:
    connection = connected()
    connection.counted(1)
    connection.counted(2)
    connection.counted(2)  # an empty SyncStep2 waits for what was applied before it (rule 2)
    assert told(connection, 0) is None
    assert told(connection, 1) == {"type": "stored", "n": 1, "level": "redis", "refused": []}
    assert told(connection, 1) is None
    assert told(connection, 2) == {"type": "stored", "n": 3, "level": "redis", "refused": []}


def test_refused_frames_count_and_are_named() -> None:
    connection = connected()
    connection.counted(1)
    connection.counted_refused(1)
    connection.counted(2)
    assert told(connection, 1) == {"type": "stored", "n": 2, "level": "redis", "refused": [2]}
    assert told(connection, 2) == {"type": "stored", "n": 3, "level": "redis", "refused": []}


def test_a_client_that_did_not_ask_is_told_nothing_and_costs_nothing() -> None:
    connection = connected(wants=frozenset())
    connection.counted(1)
    connection.counted_refused(1)
    assert told(connection, 5) is None
    assert not connection.awaiting
    assert not connection.refused


def test_new_clocks_of_another_persons_live_client_are_theirs_alone() -> None:
    owners = ClientOwners(Limits())
    owners.bind(X, C1, ANNA)
    assert owners.owner(X, C2, BEN) == C1
    assert owners.owner(X, C1, ANNA) is None


def test_the_same_person_on_a_new_socket_may_write_on() -> None:
    owners = ClientOwners(Limits())
    owners.bind(X, C1, ANNA)
    assert owners.owner(X, C2, ANNA) is None
    owners.bind(X, C2, ANNA)
    owners.left(C1)
    assert owners.owner(X, ConnectionId(3), BEN) == C2


def test_an_id_is_free_when_its_owner_left() -> None:
    owners = ClientOwners(Limits())
    owners.bind(X, C1, ANNA)
    owners.left(C1)
    assert owners.owner(X, C2, BEN) is None


def test_an_owner_that_does_not_answer_loses_the_id_and_the_challenger_is_asked_again() -> None:
    owners = ClientOwners(Limits(repair_interval=2.0))
    owners.bind(X, C1, ANNA)
    owners.challenge(C1, C2, now=10.0)
    assert owners.deadline() == 12.0
    assert owners.decided(11.0) == []
    assert owners.decided(12.0) == [C2]
    assert owners.owner(X, C2, BEN) is None


def test_an_owner_that_answers_keeps_the_id() -> None:
    owners = ClientOwners(Limits(repair_interval=2.0))
    owners.bind(X, C1, ANNA)
    owners.challenge(C1, C2, now=10.0)
    owners.alive(C1)
    assert owners.decided(13.0) == []
    assert owners.owner(X, C2, BEN) == C1


def test_all_challengers_of_a_silent_owner_are_asked_again() -> None:
    owners = ClientOwners(Limits(repair_interval=2.0))
    owners.bind(X, C1, ANNA)
    owners.challenge(C1, C2, now=10.0)
    owners.challenge(C1, ConnectionId(3), now=10.5)
    owners.challenge(C1, C2, now=10.6)
    assert owners.decided(12.0) == [C2, ConnectionId(3)]
    assert owners.decided(99.0) == []


def test_challengers_are_asked_again_when_the_owner_has_left() -> None:
    owners = ClientOwners(Limits(repair_interval=2.0))
    owners.bind(X, C1, ANNA)
    owners.challenge(C1, C2, now=10.0)
    owners.left(C1)
    assert owners.decided(10.0) == [C2]
