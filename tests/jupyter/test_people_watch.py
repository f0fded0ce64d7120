"""A running server follows its file of people: what ends is ended, what does not goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_collab_ext.people import DAY, GROUP, Group, Roster
from jupyter_collab_ext.people_file import LOCK, ROSTER, change, load, save
from jupyter_collab_ext.people_watch import (
    MOVED,
    REVOKED,
    SERVING,
    TAKEN,
    Ended,
    PeopleWatch,
    served,
    signature,
    taken,
)
from notebook_sync.core.roles import Role
from tests.support.people_here import seven_and_an_observer
from tests.support.waiting import wait_until

ANN = "participant-1"
OTHER = "group-2"


class Watched:
    """A watch, what it handed on and what it ended."""

    def __init__(self, state_dir: Path, roster: Roster | None = None) -> None:
        self.folder = state_dir
        self.now = 1000.0
        self.ended: list[Ended] = []
        self.given: list[Roster] = []
        save(roster or seven_and_an_observer().with_group(Group(OTHER, "Two")), state_dir)
        self.watch = PeopleWatch(state_dir, self.given.append, self._end, lambda: self.now)

    def _end(self, ended: Ended) -> int:
        self.ended.append(ended)
        return 3

    def change(self, how: Callable[[Roster], Roster]) -> list[Ended]:
        """What a change ends."""
        change(self.folder, how)
        before = len(self.ended)
        self.watch.look()
        return self.ended[before:]

    def person(self, **changes: object) -> Callable[[Roster], Roster]:
        return lambda roster: roster.with_person(replace(roster.people[ANN], **changes))  # type: ignore[arg-type]  # by name


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_it_begins_with_what_the_file_says(watched: Watched) -> None:
    assert watched.given == [load(watched.folder)]
    watched.watch.look()
    assert len(watched.given) == 1


def test_who_is_added_is_there_and_nobody_is_ended(watched: Watched) -> None:
    ended = watched.change(lambda roster: roster.with_people(GROUP, Role.PARTICIPANT, "Participant", 7))
    assert ended == []
    assert "participant-7" in watched.given[-1].people


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"revoked": True}, REVOKED, "your link was taken back"),
        ({"invitation": 2}, REVOKED, "your link was replaced by a new one"),
        ({"groups": (OTHER,)}, MOVED, "you were moved: open your link again"),
        ({"role": Role.OBSERVER}, MOVED, "you were moved: open your link again"),
        ({"issued": 1.0}, REVOKED, "your link is not valid any more"),
    ],
)
def test_what_ends_somebodys_sockets(
    watched: Watched, changes: dict[str, object], code: int, reason: str
) -> None:
    watched.now = 20 * DAY
    assert watched.change(watched.person(**changes)) == [Ended(ANN, code, reason)]
    watched.watch.look()
    assert len(watched.ended) == 1, "once"


@pytest.mark.parametrize(
    "changes", [{"name": "Ann", "unnamed": False}, {"groups": (GROUP, OTHER)}, {"level": "beginner"}]
)
def test_what_does_not(watched: Watched, changes: dict[str, object]) -> None:
    assert watched.change(watched.person(**changes)) == []


def test_who_is_let_in_again_is_not_ended_anew(watched: Watched) -> None:
    watched.change(watched.person(revoked=True))
    assert watched.change(watched.person(revoked=False)) == []
    assert watched.change(watched.person(revoked=True)) != []


def test_who_left_the_file_is_ended(watched: Watched) -> None:
    def without(roster: Roster) -> Roster:
        return replace(roster, people={i: p for i, p in roster.people.items() if i != ANN})

    assert watched.change(without) == [Ended(ANN, REVOKED, "your link was taken back")]


def test_time_ends_links_without_any_change(watched: Watched) -> None:
    assert watched.change(watched.person(issued=1000.0)) == []
    watched.now = 1000.0 + 14 * DAY - 1
    watched.watch.look()
    assert watched.ended == []
    watched.now += 1
    watched.watch.look()
    assert watched.ended == [Ended(ANN, REVOKED, "your link is not valid any more")]


@pytest.mark.parametrize("damage", ["", "{", '{"format": 9}', None])
def test_a_damaged_or_missing_file_changes_nothing(
    watched: Watched, damage: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = watched.folder / ROSTER
    good = path.read_text()
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    watched.watch.look()
    watched.watch.look()
    assert len(watched.given) == 1
    assert watched.ended == []
    assert caplog.text.count("people stay as they were") == 1
    path.write_text(good)
    watched.watch.look()
    assert watched.given[-1] == watched.given[0]
    assert watched.ended == []


async def test_a_command_hears_what_came_of_it(watched: Watched) -> None:
    assert not served(watched.folder)
    watched.watch.start()
    try:
        assert served(watched.folder)
        assert served(watched.folder), "asking does not end it"
        change(watched.folder, watched.person(revoked=True))
        mine = signature(watched.folder)
        assert mine is not None
        await wait_until(lambda: taken(watched.folder, mine) is not None, 2)
        assert taken(watched.folder, mine) == {ANN: 3}
        assert taken(watched.folder, (0, mine[1] + 1, 0)) is None
        for name in (SERVING, TAKEN, LOCK, ROSTER):
            assert (watched.folder / name).stat().st_mode & 0o777 == 0o600, name
    finally:
        watched.watch.stop()
    assert not served(watched.folder)
    watched.watch.stop()


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"signature": null, "ended": {}}'])
def test_what_was_said_may_be_damaged(tmp_path: Path, said: str) -> None:
    assert taken(tmp_path, (0, 0, 0)) is None
    (tmp_path / TAKEN).write_text(said)
    assert taken(tmp_path, (0, 0, 0)) is None


def test_a_killed_server_serves_no_more(tmp_path: Path) -> None:
    """The lock is the kernel's: no file of a process that died is taken for a running one."""
    code = (
        "import sys, pathlib; from jupyter_collab_ext.people_watch import _hold;"
        "_hold(pathlib.Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert served(tmp_path)
        holder.kill()
        holder.wait()
        assert not served(tmp_path)
