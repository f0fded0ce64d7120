"""One person is sent away: all their sockets, at once, and nothing of what they wrote before."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from notebook_sync.app import NotebookSync
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, UserId
from notebook_sync.core.roles import Member, Role
from tests.engine.test_app import KEY, running, sources
from tests.support.tabs import Tab
from tests.support.waiting import wait_until

OTHER = DocumentKey(NOTEBOOK, "other.ipynb")


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="jc"))
    (path / "root").mkdir()
    for name in ("work.ipynb", "other.ipynb"):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1", id="one")])
        nbformat.write(notebook, path / "root" / name)
    yield path
    shutil.rmtree(path)


class Anns(Tab):
    """A page of the person who is sent away."""

    def join(self, sync: NotebookSync, key: DocumentKey | None = KEY, session_id: str | None = None) -> Tab:
        member = Member(UserId("ann"), Role.PARTICIPANT, {"name": "Ann"})
        self._connection = sync.connect(key, self, member)
        return self


async def test_all_sockets_of_one_person_end_and_their_last_words_stay(root: Path) -> None:
    async with running(root) as sync:
        ann, too, lobby, bob = Anns(), Anns(), Anns(), Tab()
        bob.join(sync)
        for page, key in ((ann, KEY), (too, OTHER), (lobby, None)):
            page.join(sync, key)
        connection = ann._connection
        assert connection is not None
        await wait_until(lambda: bob.synced and len(sync.rooms()) == 2)
        await wait_until(lambda: all(room.state == "live" for room in sync.rooms()))
        ann.doc.apply_update(bob.doc.get_update())
        ann.type(" last words")

        assert sync.disconnect(UserId("ann"), 4403, "your link was taken back") == 3

        assert [page.closed for page in (ann, too, lobby)] == [(4403, "your link was taken back")] * 3
        assert bob.closed is None
        assert not any(member.user == "ann" for room in sync.rooms() for member in room.people)
        ann.type(" too late")
        connection.receive(b"\x00\x02\x02\x00\x00")
        await wait_until(lambda: bob.cells() == ["x = 1 last words"])
        await wait_until(lambda: sources(root) == ["x = 1 last words"])
        assert sync.disconnect(UserId("ann"), 4403, "again") == 0
        back = Anns().join(sync)
        back.leave()


async def test_nobody_is_sent_away_when_nobody_is_there(root: Path) -> None:
    async with running(root) as sync:
        assert sync.disconnect(UserId("ann"), 4403, "x") == 0
