"""Restore points, and bringing back what they hold while people type, on the embedded Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pycrdt import Array, Map, Text

from notebook_sync.adapters import codec_worker
from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.app import NotebookSync, NotRestored, Restored, SyncSettings, Told
from notebook_sync.core.errors import LocalDiskFailed, StoreUnavailable
from notebook_sync.core.ids import NOTEBOOK, DocumentKey, NodeId, UserId
from notebook_sync.core.limits import Limits
from notebook_sync.core.roles import Member, Role
from notebook_sync.engine.meanwhile import clock_time
from notebook_sync.ports import LeaseGranted, Version
from tests.support.tabs import Tab
from tests.support.waiting import wait_until

KEY = DocumentKey(NOTEBOOK, "work.ipynb")
LIMITS = Limits(save_delay=0.1, save_ceiling=0.5)
ANNA = Member(UserId("anna"), Role.PARTICIPANT, {"name": "anna", "display_name": "Anna"})


@pytest.fixture
def folder(folder: Path) -> Path:
    """With a notebook of three cells."""
    cells = [nbformat.v4.new_code_cell(source, id=source[0]) for source in ("a = 1", "b = 2", "c = 3")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "root" / "work.ipynb")
    return folder


@asynccontextmanager
async def running(
    folder: Path, told: list[Told] | None = None, limits: Limits = LIMITS, state: str = "state"
) -> AsyncIterator[NotebookSync]:
    settings = SyncSettings(state_dir=folder / state, root_dir=folder / "root", limits=limits)
    hear = told if told is not None else list[Told]()
    async with (
        LocalFiles(settings.root_dir, limits) as files,
        NotebookSync(settings, files, hear.append) as sync,
    ):
        yield sync


async def joined(sync: NotebookSync, people: int = 1) -> list[Tab]:
    tabs = [Tab().join(sync) for _ in range(people)]
    await wait_until(lambda: all(tab.synced for tab in tabs))
    return tabs


async def sources_of(sync: NotebookSync, version: Version) -> list[str]:
    data = await sync.versions.read(KEY, version.id)
    assert data is not None
    return [cell["source"] for cell in nbformat.reads(data.decode(), 4).cells]


async def first_version(sync: NotebookSync) -> Version:
    await wait_until(lambda: sync.versions.list(KEY))
    return (await sync.versions.list(KEY))[-1]


def restored(outcome: Restored | NotRestored) -> Version:
    assert isinstance(outcome, Restored)
    assert outcome.before is not None
    return outcome.before


# --- on a schedule --------------------------------------------------------------------------------


async def test_what_a_document_holds_when_it_is_opened_is_a_version(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        assert version.reason == "schedule"
        assert await sources_of(sync, version) == ["a = 1", "b = 2", "c = 3"]
        tab.type(" + 1")
        await wait_until(lambda: sync.rooms()[0].saved)
        assert await sync.versions.list(KEY) == (version,), "the next is due in ten minutes"


async def test_a_document_that_is_edited_gets_versions_and_one_that_is_not_gets_none(folder: Path) -> None:
    limits = dataclasses.replace(LIMITS, version_interval=0.2)
    async with running(folder, limits=limits) as sync:
        (tab,) = await joined(sync)
        await first_version(sync)
        tab.type(" + 1")

        async def newest() -> list[str]:
            return await sources_of(sync, (await sync.versions.list(KEY))[0])

        await wait_until(lambda: is_true(newest, lambda cells: cells[0] == "a = 1 + 1"))
        known = await sync.versions.list(KEY)
        looks = sync.rooms()[0].seq
        await asyncio.wait_for(unchanged_for(sync, 1.0), 10)
        assert sync.rooms()[0].seq == looks
        assert await sync.versions.list(KEY) == known
        tab.type(" + 2")
        await wait_until(lambda: is_true(newest, lambda cells: cells[0] == "a = 1 + 1 + 2"))


async def is_true(probe, check) -> bool:  # type: ignore[no-untyped-def]  # a helper of one test
    return bool(check(await probe()))


async def unchanged_for(sync: NotebookSync, seconds: float) -> None:
    """Until nothing was appended for so long."""
    seq, since = sync.rooms()[0].seq, time.monotonic()

    def quiet() -> bool:
        nonlocal seq, since
        if sync.rooms()[0].seq != seq:
            seq, since = sync.rooms()[0].seq, time.monotonic()
        return time.monotonic() - since > seconds

    await wait_until(quiet)


async def test_versions_of_a_server_are_seen_by_the_next_with_a_state_folder_of_its_own(
    folder: Path,
) -> None:
    async with running(folder) as sync:
        await joined(sync)
        version = await first_version(sync)
        document = sync.rooms()[0].document
    kept = folder / "root" / ".collab" / "versions" / document
    assert (kept / f"{version.id}.json").exists()
    assert not (folder / "state" / "versions").exists()


# --- restore --------------------------------------------------------------------------------------


async def test_a_restore_is_seen_by_everybody_and_the_content_before_is_a_version(folder: Path) -> None:
    told: list[Told] = []
    async with running(folder, told) as sync:
        anna, ben = await joined(sync, 2)
        version = await first_version(sync)
        anna.type(" + nonsense")
        await wait_until(lambda: ben.cells()[0] == "a = 1 + nonsense")
        before = restored(await sync.versions.restore(KEY, version.id, ANNA))
        await wait_until(lambda: anna.cells() == ben.cells() == ["a = 1", "b = 2", "c = 3"])
        assert (before.reason, before.by) == ("restore", "Anna")
        assert (await sources_of(sync, before))[0] == "a = 1 + nonsense"
        (notice,) = [event for event in told if event.kind == "restore"]
        assert notice.level == "INFO"
        moment = clock_time(version.at, time.time())
        assert notice.message == (
            f"Anna restored the version of {moment}; the state before is kept as a version"
        )
        await wait_until(lambda: sources_on_disk(folder) == ["a = 1", "b = 2", "c = 3"])
        back = restored(await sync.versions.restore(KEY, before.id, ANNA))
        await wait_until(lambda: ben.cells()[0] == "a = 1 + nonsense")
        assert await sources_of(sync, back) == ["a = 1", "b = 2", "c = 3"]


def sources_on_disk(folder: Path) -> list[str]:
    notebook = json.loads((folder / "root" / "work.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"]]


async def test_restoring_what_the_document_says_does_nothing(folder: Path) -> None:
    told: list[Told] = []
    async with running(folder, told) as sync:
        await joined(sync)
        version = await first_version(sync)
        seq = sync.rooms()[0].seq
        assert await sync.versions.restore(KEY, version.id, ANNA) == Restored(None)
        assert await sync.versions.list(KEY) == (version,)
        assert not [event for event in told if event.kind == "restore"]
        assert sync.rooms()[0].seq <= seq + 1, "at most the state's hash was written"


async def test_a_version_that_is_no_more_is_said_so(folder: Path) -> None:
    async with running(folder) as sync:
        await joined(sync)
        for name in ("1800000000000-00000000", "../../x", ""):
            outcome = await sync.versions.restore(KEY, name, ANNA)
            assert isinstance(outcome, NotRestored)
            assert outcome.missing


async def test_a_closed_document_is_opened_for_a_restore(folder: Path) -> None:
    async with running(folder, limits=dataclasses.replace(LIMITS, cleanup_delay=0.2)) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + 1")
        await wait_until(lambda: sync.rooms()[0].saved and sources_on_disk(folder)[0] == "a = 1 + 1")
        tab.leave()
        await wait_until(lambda: not sync.rooms())
        assert await first_version(sync) == version
        restored(await sync.versions.restore(KEY, version.id, ANNA))
        await wait_until(lambda: sources_on_disk(folder)[0] == "a = 1")


async def test_a_document_that_closes_during_a_restore_is_opened_again(folder: Path) -> None:
    async with running(folder, limits=dataclasses.replace(LIMITS, cleanup_delay=2.0)) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + 1")
        await wait_until(lambda: sources_on_disk(folder)[0] == "a = 1 + 1")
        tab.leave()
        edit, calls = sync.versions._edit, list[object]()

        async def slow(*arguments: Any) -> Restored | NotRestored:
            calls.append(arguments)
            if len(calls) == 1:
                await wait_until(lambda: not sync.rooms())
            return await edit(*arguments)

        sync.versions._edit = slow  # type: ignore[assignment, method-assign]  # a slow machine
        restored(await sync.versions.restore(KEY, version.id, ANNA))
        assert len(calls) == 2
        await wait_until(lambda: sources_on_disk(folder)[0] == "a = 1")


async def test_nothing_that_is_typed_during_restores_is_lost_or_doubled(folder: Path) -> None:
    """Each word is in the document or, if it was typed before a restore, in the version before it."""
    async with running(folder) as sync:
        tabs = await joined(sync, 2)
        version = await first_version(sync)
        stop, words = asyncio.Event(), list[tuple[float, str]]()

        async def typing(tab: Tab, number: int) -> None:
            count = 0
            while not stop.is_set():
                word = f" w{number}n{count};"
                words.append((time.monotonic(), word))
                tab.type(word)
                count += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.01)

        typists = [asyncio.ensure_future(typing(tab, n)) for n, tab in enumerate(tabs)]  # noqa: TID251 - a test's own
        texts: list[str] = []
        moments: list[float] = []
        for _ in range(4):
            typed = len(words)
            await wait_until(lambda typed=typed: len(words) > typed + 20)
            before = restored(await sync.versions.restore(KEY, version.id, ANNA))
            moments.append(time.monotonic())
            texts.append((await sources_of(sync, before))[0])
        stop.set()
        await asyncio.gather(*typists)
        await wait_until(lambda: tabs[0].cells() == tabs[1].cells() and sync.rooms()[0].stored)
        final = tabs[0].cells()[0]
        assert tabs[0].cells()[1:] == ["b = 2", "c = 3"]
        assert final.startswith("a = 1")
        for at, word in words:
            assert final.count(word) <= 1
            if at > moments[-1]:
                assert word in final
            assert word in final or any(word in text for text in texts), word


async def test_two_people_who_restore_the_same_at_once_bring_it_back_once(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        cells = tab.doc.get("cells", type=Array)
        del cells[1:3]
        await wait_until(lambda: sync.rooms()[0].stored)
        outcomes = await asyncio.gather(*(sync.versions.restore(KEY, version.id, ANNA) for _ in range(3)))
        done = [outcome for outcome in outcomes if isinstance(outcome, Restored) and outcome.before]
        assert len(done) == 1
        await wait_until(lambda: tab.cells() == ["a = 1", "b = 2", "c = 3"])


class SlowTab(Tab):
    """Somebody whom messages reach late."""

    late = False

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[bytes] = []

    def write(self, frame: bytes) -> None:
        if self.late:
            self.waiting.append(frame)
        else:
            super().write(frame)

    def catch_up(self) -> None:
        self.late = False
        for frame in self.waiting:
            super().write(frame)
        self.waiting.clear()


def add_cell(tab: Tab, source: str) -> Text:
    cells = tab.doc.get("cells", type=Array)
    cells.append(Map({"cell_type": "code", "id": "late", "metadata": Map(), "source": Text(source)}))
    text: Text = cells[-1]["source"]
    return text


@pytest.mark.parametrize("typed_into", ["a cell that stays", "a cell that goes"])
async def test_what_is_typed_where_the_restore_is_not_seen_yet_is_in_the_document_or_in_a_version(
    folder: Path, typed_into: str
) -> None:
    limits, told = dataclasses.replace(LIMITS, restore_settle=0.5), list[Told]()
    async with running(folder, told, limits) as sync:
        slow = SlowTab()
        slow.join(sync)
        await wait_until(lambda: slow.synced)
        version = await first_version(sync)
        text = add_cell(slow, "mine")
        slow.type(" + nonsense")
        await wait_until(lambda: sync.rooms()[0].stored)
        slow.late = True
        before = restored(await sync.versions.restore(KEY, version.id, ANNA))
        if typed_into == "a cell that goes":
            text += " <word>"
        else:
            slow.type(" <word>")
        slow.catch_up()
        await wait_until(lambda: slow.cells()[1:] == ["b = 2", "c = 3"])
        if typed_into == "a cell that stays":
            assert slow.cells()[0].replace("<word>", "").split() == ["a", "=", "1"]
            assert "<word>" in slow.cells()[0]
            await wait_until(
                lambda: not [1 for task in asyncio.all_tasks() if "restore of" in task.get_name()]
            )
            assert await sync.versions.list(KEY) == (before, version)
            return
        await wait_until(lambda: is_true(lambda: sync.versions.list(KEY), lambda kept: len(kept) == 3))
        kept = (await sync.versions.list(KEY))[0]
        assert kept.reason == "merge"
        assert (await sources_of(sync, kept))[-1] == "mine <word>"
        (notice,) = [event.message for event in told if "took away" in event.message]
        assert "(late)" in notice


async def test_while_another_server_restores_nothing_is_changed(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + 1")
        leases = sync.versions._workshop.saver.leases
        await leases.acquire(sync.rooms()[0].document, "restore", NodeId("elsewhere"), 5.0)
        outcome = await sync.versions.restore(KEY, version.id, ANNA)
        assert isinstance(outcome, NotRestored)
        assert "somebody else" in outcome.sentence
        assert not outcome.missing
        assert tab.cells()[0] == "a = 1 + 1"
        assert await sync.versions.list(KEY) == (version,)


async def test_after_a_crash_what_was_typed_into_what_a_restore_took_away_is_still_kept(
    folder: Path,
) -> None:
    limits = dataclasses.replace(LIMITS, restore_settle=1.0)
    async with running(folder, limits=limits) as sync:
        slow = SlowTab()
        slow.join(sync)
        await wait_until(lambda: slow.synced)
        session, _ = await sync.session_id(KEY)
        version = await first_version(sync)
        text = add_cell(slow, "mine")
        await wait_until(lambda: sync.rooms()[0].stored)
        slow.late = True
        restored(await sync.versions.restore(KEY, version.id, ANNA))
        (looking,) = [task for task in asyncio.all_tasks() if "restore of" in task.get_name()]
        looking.cancel()  # as a kill -9 does
        slow.leave()
        text += " <word>"
    slow.waiting.clear()
    slow.late = False
    async with running(folder, limits=limits) as sync:
        slow.join(sync, session_id=session)
        await wait_until(lambda: slow.cells() == ["a = 1", "b = 2", "c = 3"])
        await wait_until(
            lambda: is_true(lambda: sync.versions.list(KEY), lambda kept: kept[0].reason == "merge")
        )
        assert (await sources_of(sync, (await sync.versions.list(KEY))[0]))[-1] == "mine <word>"
        open_restores = sync.versions._store.open_restores
        document = sync.rooms()[0].document
        await wait_until(lambda: is_true(lambda: open_restores(document), lambda records: records == ()))


async def test_two_servers_that_restore_at_once_bring_nothing_back_twice(folder: Path) -> None:
    async with running(folder) as here, running(folder) as there:
        (ours,), (theirs,) = await joined(here), await joined(there)
        version = await first_version(here)
        assert (await there.versions.list(KEY))[-1] == version, "both see the same versions"
        del ours.doc.get("cells", type=Array)[1:3]
        await wait_until(lambda: theirs.cells() == ["a = 1"])
        outcomes = await asyncio.gather(
            *(sync.versions.restore(KEY, version.id, ANNA) for sync in (here, there, here, there))
        )
        done = [outcome for outcome in outcomes if isinstance(outcome, Restored) and outcome.before]
        assert len(done) == 1
        await wait_until(lambda: ours.cells() == theirs.cells() == ["a = 1", "b = 2", "c = 3"])


async def test_a_restore_begins_with_all_that_other_servers_wrote(folder: Path) -> None:
    async with running(folder) as here, running(folder) as there:
        (ours,), _ = await joined(here), await joined(there)
        version = await first_version(here)
        document = there.rooms()[0].document
        await there.versions._workshop.channel.unsubscribe(document)  # as if its messages were late
        ours.type(" + word")
        await wait_until(lambda: here.rooms()[0].stored)
        before = restored(await there.versions.restore(KEY, version.id, ANNA))
        assert (await sources_of(there, before))[0] == "a = 1 + word"
        await wait_until(lambda: ours.cells()[0] == "a = 1")


async def test_more_restores_than_can_be_looked_after_are_refused(folder: Path) -> None:
    async with running(folder, limits=dataclasses.replace(LIMITS, restores_at_once=2)) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        for number in range(2):
            tab.type(f" + {number}")
            restored(await sync.versions.restore(KEY, version.id, ANNA))
        tab.type(" + more")
        outcome = await sync.versions.restore(KEY, version.id, ANNA)
        assert isinstance(outcome, NotRestored)
        assert tab.cells()[0].endswith(" + more")


async def test_while_the_store_is_away_nothing_is_restored(folder: Path) -> None:
    """Two servers that can't hear each other would both bring the same text back."""
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + precious")
        await wait_until(lambda: sync.rooms()[0].stored)

        async def away(*_: object) -> None:
            raise StoreUnavailable("no answer")

        sync.versions._workshop.saver.leases.acquire = away  # type: ignore[assignment, method-assign]  # a store that is away
        with pytest.raises(StoreUnavailable):
            await sync.versions.restore(KEY, version.id, ANNA)
        assert tab.cells()[0] == "a = 1 + precious"
        assert await sync.versions.list(KEY) == (version,)


async def test_without_a_place_for_the_content_before_nothing_is_restored(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + precious")

        async def refuse(*_: object, **__: object) -> Version:
            raise LocalDiskFailed("the disk is full")

        sync.versions._store.add = refuse  # type: ignore[method-assign]  # a disk that refuses
        with pytest.raises(LocalDiskFailed):
            await sync.versions.restore(KEY, version.id, ANNA)
        assert tab.cells()[0] == "a = 1 + precious"
        leases = sync.versions._workshop.saver.leases
        granted = await leases.acquire(sync.rooms()[0].document, "restore", NodeId("elsewhere"), 5.0)
        assert isinstance(granted, LeaseGranted), "another server need not wait"


# --- a whole content from elsewhere ---------------------------------------------------------------


def notebook(*sources: str) -> bytes:
    cells = [nbformat.v4.new_code_cell(source, id=source[0]) for source in sources]
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=cells))).encode()


BASE = codec_worker.slim(NOTEBOOK, notebook("a = 1", "b = 2", "c = 3"))


async def test_a_content_with_a_known_base_brings_only_what_its_author_changed(folder: Path) -> None:
    told: list[Told] = []
    async with running(folder, told) as sync:
        (tab,) = await joined(sync)
        await first_version(sync)  # made later, it would hold what was typed: equal contents are one version
        tab.type(" + typed")
        before = restored(
            await sync.versions.put(KEY, notebook("a = 1", "b = 2 # saved", "c = 3"), BASE, ANNA)
        )
        await wait_until(lambda: tab.cells() == ["a = 1 + typed", "b = 2 # saved", "c = 3"])
        assert (before.reason, before.by) == ("put", "Anna")
        assert (await sources_of(sync, before))[0] == "a = 1 + typed"
        (notice,) = [event for event in told if event.kind == "restore"]
        assert notice.message.startswith("what Anna saved from elsewhere was merged in;")


async def test_a_content_saved_at_another_server_is_merged_with_what_is_typed_here(folder: Path) -> None:
    async with running(folder) as here, running(folder) as there:
        (ours,) = await joined(here)
        ours.type(" + typed")
        await wait_until(lambda: here.rooms()[0].stored)
        restored(await there.versions.put(KEY, notebook("a = 1", "b = 2 # saved", "c = 3"), BASE, ANNA))
        await wait_until(lambda: ours.cells() == ["a = 1 + typed", "b = 2 # saved", "c = 3"])


async def test_where_it_meets_what_people_typed_they_win_and_it_is_kept_as_a_version(folder: Path) -> None:
    told: list[Told] = []
    async with running(folder, told) as sync:
        (tab,) = await joined(sync)
        tab.type(" + typed")
        body = notebook("a = 1 - saved", "b = 2 # saved", "c = 3")
        outcome = await sync.versions.put(KEY, body, BASE, ANNA)
        assert isinstance(outcome, Restored)
        assert outcome.loser is not None
        await wait_until(lambda: tab.cells()[1] == "b = 2 # saved")
        assert (outcome.loser.reason, outcome.loser.by) == ("merge", "Anna")
        text = tab.cells()[0] + " | " + (await sources_of(sync, outcome.loser))[0]
        assert "+ typed" in tab.cells()[0]
        assert "- saved" in text
        (notice,) = [event for event in told if event.kind == "restore"]
        assert "kept as the version of" in notice.message
        assert "cell 1" in notice.message


async def test_a_content_without_a_base_becomes_the_documents_and_the_one_before_is_a_version(
    folder: Path,
) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        tab.type(" + typed")
        before = restored(await sync.versions.put(KEY, notebook("d = 4", "a = 7"), None, ANNA))
        await wait_until(lambda: tab.cells() == ["d = 4", "a = 7"])
        assert await sources_of(sync, before) == ["a = 1 + typed", "b = 2", "c = 3"]


async def test_a_content_that_changed_nothing_since_its_base_does_nothing(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        version = await first_version(sync)
        tab.type(" + typed")
        assert await sync.versions.put(KEY, notebook("a = 1", "b = 2", "c = 3"), BASE, ANNA) == Restored(None)
        assert tab.cells()[0] == "a = 1 + typed"
        assert await sync.versions.list(KEY) == (version,)


async def test_a_checkpoint_is_a_version_with_a_name_on_it(folder: Path) -> None:
    async with running(folder) as sync:
        (tab,) = await joined(sync)
        tab.type(" + typed")
        version = await sync.versions.checkpoint(KEY, ANNA)
        assert (version.reason, version.by) == ("checkpoint", "Anna")
        assert (await sources_of(sync, version))[0] == "a = 1 + typed"


def test_moments_are_said_with_the_day_if_it_is_not_today() -> None:
    at = time.mktime((2026, 11, 24, 10, 32, 0, 0, 0, -1))
    assert clock_time(at, at + 600) == "10:32"
    assert clock_time(at, at + 86400) == "2026-11-24 10:32"


async def test_a_server_that_ends_just_after_a_restore_keeps_what_was_typed_into_what_it_took_away(
    folder: Path,
) -> None:
    async with running(folder) as sync:
        slow = SlowTab()
        slow.join(sync)
        await wait_until(lambda: slow.synced)
        version = await first_version(sync)
        text = add_cell(slow, "mine")
        await wait_until(lambda: sync.rooms()[0].stored)
        slow.late = True
        restored(await sync.versions.restore(KEY, version.id, ANNA))
        text += " <word>"
        await wait_until(lambda: sync.rooms()[0].stored)
    async with running(folder) as sync:
        kept = (await sync.versions.list(KEY))[0]
        assert kept.reason == "merge"
        assert (await sources_of(sync, kept))[-1] == "mine <word>"
