"""The engine put together, on the embedded Valkey and real files, without Jupyter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Map, Text

from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.app import NotebookSync, SyncSettings
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from notebook_sync.core.limits import Limits
from notebook_sync.engine.workshop import Told
from tests.support.tabs import Tab
from tests.support.waiting import wait_until

LIMITS = Limits(save_delay=0.1, save_ceiling=0.5, file_poll_interval=0.1, cleanup_delay=0.2)
KEY = DocumentKey(NOTEBOOK, "work.ipynb")


@asynccontextmanager
async def running(folder: Path, told: list[Told] | None = None) -> AsyncIterator[NotebookSync]:
    settings = SyncSettings(state_dir=folder / "state", root_dir=folder / "root", limits=LIMITS)
    hear: Callable[[Told], None] = (lambda event: None) if told is None else told.append
    async with (
        LocalFiles(settings.root_dir, settings.limits) as files,
        NotebookSync(settings, files, hear) as sync,
    ):
        yield sync


def sources(folder: Path) -> list[str]:
    notebook = json.loads((folder / "root" / "work.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"]]


async def test_seven_tabs_see_each_other_and_the_file_follows(folder: Path) -> None:
    async with running(folder) as sync:
        tabs = [Tab().join(sync) for _ in range(7)]
        await wait_until(lambda: all(tab.synced for tab in tabs))
        for number, tab in enumerate(tabs):
            tab.type(f" t{number}")
        assert len({tuple(tab.cells()) for tab in tabs}) == 1
        assert all(f"t{number}" in tabs[0].cells()[0] for number in range(7))
        await wait_until(lambda: sources(folder) == tabs[0].cells())
        await wait_until(lambda: all(tab.raw and tab.raw[-1]["n"] == 2 for tab in tabs))


async def test_everything_survives_a_restart_under_the_same_session(folder: Path) -> None:
    async with running(folder) as sync:
        before, new = await sync.session_id(KEY)
        assert new
        tab = Tab().join(sync, session_id=before)
        await wait_until(lambda: tab.synced)
        tab.type(" kept")
    assert sources(folder) == ["x = 1 kept"]
    async with running(folder) as sync:
        after, new = await sync.session_id(KEY)
        assert (after, new) == (before, False)
        tab.join(sync, session_id=before)
        fresh = Tab().join(sync)
        await wait_until(lambda: fresh.synced)
        assert fresh.cells() == tab.cells() == ["x = 1 kept"]
        assert tab.closed is None


async def test_a_session_that_was_made_up_is_refused(folder: Path) -> None:
    async with running(folder) as sync:
        tab = Tab().join(sync, session_id="0" * 32 + "." + "0" * 32)
        await wait_until(lambda: tab.closed is not None)
        assert tab.closed is not None
        assert tab.closed[0] == 1003


@pytest.mark.parametrize(
    ("path", "code"),
    [("missing.ipynb", 4404), ("folder", 4400), ("../outside.ipynb", 4404), ("broken.ipynb", 4400)],
)
async def test_what_can_not_be_opened_says_so_and_the_others_go_on(
    folder: Path, path: str, code: int
) -> None:
    (folder / "root" / "folder").mkdir()
    (folder / "root" / "broken.ipynb").write_text("{ not json")
    async with running(folder) as sync:
        good = Tab().join(sync)
        bad = Tab().join(sync, DocumentKey(NOTEBOOK, path))
        await wait_until(lambda: bad.closed is not None and good.synced)
        assert bad.closed is not None
        assert bad.closed[0] == code
        assert bad.closed[1]
        other = Tab().join(sync)
        await wait_until(lambda: other.synced)
        good.type(" fine")
        assert other.cells() == ["x = 1 fine"]


async def test_an_edit_by_another_program_is_merged_while_somebody_types(folder: Path) -> None:
    told: list[Told] = []
    async with running(folder, told) as sync:
        tab = Tab().join(sync)
        await wait_until(lambda: tab.synced and any(event.kind == "save" for event in told))
        cells: Array[Any] = tab.doc.get("cells", type=Array)
        cells.append(
            Map({"id": "two", "cell_type": "markdown", "source": Text("hello"), "metadata": Map({})})
        )
        await wait_until(lambda: sources(folder) == ["x = 1", "hello"])
        path = folder / "root" / "work.ipynb"
        outside = json.loads(path.read_text())
        outside["cells"][0]["source"] = ["x = 2"]
        path.write_text(json.dumps(outside))
        source: Text = cells[1]["source"]
        source += " typed"
        await wait_until(lambda: tab.cells() == ["x = 2", "hello typed"])
        await wait_until(lambda: sources(folder) == ["x = 2", "hello typed"])
        assert any(event.kind == "overwrite" for event in told)


async def test_a_touched_file_changes_nothing(folder: Path) -> None:
    async with running(folder) as sync:
        tab = Tab().join(sync)
        await wait_until(lambda: tab.synced and sync.rooms()[0].saved and sync.rooms()[0].stored)
        before = tab.doc.get_state()
        (folder / "root" / "work.ipynb").touch()
        assert await sync.save(KEY)
        assert tab.doc.get_state() == before


async def test_a_renamed_file_keeps_its_room_and_history(folder: Path) -> None:
    async with running(folder) as sync:
        session, _ = await sync.session_id(KEY)
        tab = Tab().join(sync, session_id=session)
        await wait_until(lambda: tab.synced and sync.rooms()[0].saved)
        (folder / "root" / "work.ipynb").rename(folder / "root" / "new.ipynb")
        await sync.renamed("work.ipynb", "new.ipynb")
        tab.type(" after")
        renamed = DocumentKey(NOTEBOOK, "new.ipynb")
        await wait_until(lambda: "after" in (folder / "root" / "new.ipynb").read_text())
        assert not (folder / "root" / "work.ipynb").exists()
        assert (await sync.session_id(renamed))[0] == session
        assert tab.closed is None


async def test_a_deleted_file_ends_its_room_and_a_new_one_is_another_document(folder: Path) -> None:
    async with running(folder) as sync:
        session, _ = await sync.session_id(KEY)
        tab = Tab().join(sync, session_id=session)
        await wait_until(lambda: tab.synced and sync.rooms()[0].saved)
        content = (folder / "root" / "work.ipynb").read_bytes()
        (folder / "root" / "work.ipynb").unlink()
        await sync.deleted("work.ipynb")
        await wait_until(lambda: tab.closed is not None and not sync.rooms())
        assert not (folder / "root" / "work.ipynb").exists()
        (folder / "root" / "work.ipynb").write_bytes(content)
        assert (await sync.session_id(KEY))[0] != session


async def test_an_empty_room_is_freed_and_opens_again_with_its_history(folder: Path) -> None:
    async with running(folder) as sync:
        tab = Tab().join(sync)
        await wait_until(lambda: tab.synced)
        tab.type(" first")
        tab.leave()
        await wait_until(lambda: not sync.rooms())
        assert sources(folder) == ["x = 1 first"]
        tab.join(sync)
        tab.type(" second")
        await wait_until(lambda: sources(folder) == ["x = 1 first second"])


async def test_twenty_leave_and_join_in_the_same_moment(folder: Path) -> None:
    async with running(folder) as sync:
        tabs = [Tab().join(sync) for _ in range(20)]
        await wait_until(lambda: all(tab.synced for tab in tabs))
        for _ in range(5):
            for tab in tabs:
                tab.leave()
            for tab in tabs:
                tab.join(sync)
        tabs[0].type(" still")
        await wait_until(lambda: all(tab.cells() == ["x = 1 still"] for tab in tabs))
        assert len(sync.rooms()) == 1


async def test_server_code_edits_through_the_live_document(folder: Path) -> None:
    async with running(folder) as sync:
        tab = Tab().join(sync)
        await wait_until(lambda: tab.synced)
        doc = await sync.live_document(KEY)
        source: Text = doc.get("cells", type=Array)[0]["source"]
        source += " by the server"
        await wait_until(lambda: tab.cells() == ["x = 1 by the server"])
        await wait_until(lambda: sources(folder) == tab.cells())
