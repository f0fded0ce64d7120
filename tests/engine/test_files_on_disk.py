"""What other programs do to files, on a real file system and the embedded Valkey, while somebody types."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_sync.adapters.file_versions import FileVersionStore, versions_folder
from notebook_sync.adapters.local_files import LocalFiles
from notebook_sync.app import NotebookSync, SyncSettings, Told
from notebook_sync.core.ids import NOTEBOOK, DocumentKey
from notebook_sync.core.limits import Limits
from tests.support.tabs import Tab
from tests.support.waiting import wait_until

LIMITS = replace(
    Limits(),
    save_delay=0.1,
    save_ceiling=0.5,
    save_retry_most=0.3,
    file_poll_interval=0.1,
    file_linger=0.3,
    gone_patience=0.6,
    torn_patience=0.6,
    torn_poll=0.1,
)


@pytest.fixture
def folder(folder: Path) -> Path:
    """With a folder to move files to."""
    (folder / "root" / "week").mkdir()
    return folder


class Server:
    """A running engine, and what it told people."""

    def __init__(self, sync: NotebookSync, root: Path, told: list[Told]) -> None:
        self.sync = sync
        self.root = root
        self.file = root / "work.ipynb"
        self._told = told

    @property
    def notices(self) -> list[str]:
        return [told.message for told in self._told if told.kind == "overwrite"]

    async def named(self) -> bytes:
        """The content of the versions that the notices name."""
        settings = self.sync.settings
        store = FileVersionStore(versions_folder(settings.root_dir, settings.state_dir), settings.limits)
        said = "\n".join(self.notices)
        ids = [version.id for version in await store.list(self.document) if version.id in said]
        return b"\n".join([await store.read(self.document, version) or b"" for version in ids])

    async def tab(self) -> Tab:
        """Somebody opens the notebook, and the server has looked at its file."""
        tab = Tab().join(self.sync)
        await wait_until(lambda: tab.synced)
        await wait_until(lambda: all(status.saved for status in self.sync.rooms()))
        self.document = self.sync.rooms()[0].document
        return tab

    async def saves(self, tab: Tab, path: str = "work.ipynb") -> None:
        """The file says what the tab does."""
        await wait_until(lambda: sources(self.root / path) == tab.cells(), what="the save")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Server]:
    told: list[Told] = []
    settings = SyncSettings(state_dir=folder / "state", root_dir=folder / "root", limits=LIMITS)
    async with (
        LocalFiles(settings.root_dir, settings.limits) as files,
        NotebookSync(settings, files, told.append) as sync,
    ):
        yield Server(sync, folder / "root", told)


def sources(path: Path) -> list[str]:
    try:
        return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    except (OSError, ValueError):
        return []


def rewritten(path: Path, word: str, cell_id: str = "theirs") -> bytes:
    """The file with one more cell."""
    content = json.loads(path.read_text())
    content["cells"].append({**content["cells"][0], "id": cell_id, "source": word})
    return json.dumps(content).encode()


async def test_mv_into_a_folder_and_back(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        for number, (old, new) in enumerate(
            [("work.ipynb", "week/work.ipynb"), ("week/work.ipynb", "other.ipynb")]
        ):
            (server.root / old).rename(server.root / new)
            tab.type(f" <{number}>")
            key = DocumentKey(NOTEBOOK, new)
            await wait_until(lambda k=key: [s.key for s in server.sync.rooms()] == [k], what="the move")
            await server.saves(tab, new)
            assert not (server.root / old).exists()
        assert tab.cells() == ["x = 1 <0> <1>"]
        assert tab.closed is None


async def test_rm(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        tab.type(" <typed>")
        await server.saves(tab)
        server.file.unlink()
        await wait_until(lambda: tab.closed is not None, what="the end")
        assert tab.closed is not None
        assert tab.closed[0] == 4404
        assert not server.file.exists()
        assert b"<typed>" in await server.named()


async def test_editors_that_write_in_place_and_those_that_rename(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        data = rewritten(server.file, "<in place>")
        tab.type(" <typed>")
        with server.file.open("wb", buffering=0) as file:
            file.write(data[:50])
            await wait_until(
                lambda: not all(s.saved for s in server.sync.rooms()), what="a look at half of it"
            )
            file.write(data[50:])
        await wait_until(lambda: "<in place>" in tab.cells())
        await server.saves(tab)
        temporary = server.root / "temporary"
        temporary.write_bytes(rewritten(server.file, "<renamed>", "again"))
        temporary.replace(server.file)
        await wait_until(lambda: any("<renamed>" in cell for cell in tab.cells()))
        await server.saves(tab)
        assert tab.cells()[0] == "x = 1 <typed>"
        assert not [notice for notice in server.notices if "unreadable" in notice]


async def test_a_writer_that_had_the_file_open_when_it_was_replaced(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        tab.type(" <a>")
        await server.saves(tab)
        with server.file.open("r+b") as late:
            data = rewritten(server.file, "<late>")
            tab.type(" <b>")
            await server.saves(tab)
            late.truncate()
            late.write(data)
        await wait_until(lambda: "<late>" in tab.cells(), what="what was written late")
        await server.saves(tab)
        assert tab.cells() == ["x = 1 <a> <b>", "<late>"]
        assert sorted(path.name for path in server.root.iterdir() if path.suffix == ".ipynb") == [
            "work.ipynb"
        ]


async def test_a_read_only_file(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        server.file.chmod(0o444)
        tab.type(" <typed>")
        await wait_until(lambda: server.notices, what="a word about it")
        assert "read-only" in server.notices[0]
        assert sources(server.file) == ["x = 1"]
        server.file.chmod(0o644)
        await server.saves(tab)
        await wait_until(lambda: server.notices[1:] == ["work.ipynb can be saved again"])


async def test_a_folder_and_links_in_the_files_place(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        outside = folder / "outside.ipynb"
        server.file.rename(outside)
        server.file.symlink_to(outside)
        tab.type(" <a>")
        await wait_until(lambda: any("out of the server's root" in notice for notice in server.notices))
        assert sources(outside) == ["x = 1"]
        server.file.unlink()
        inside = server.root / "week" / "real.ipynb"
        outside.rename(inside)
        server.file.symlink_to(inside)
        await server.saves(tab)
        assert server.file.is_symlink()
        assert sources(inside) == ["x = 1 <a>"]
        server.file.unlink()
        server.file.mkdir()
        tab.type(" <b>")
        await wait_until(lambda: any("is a folder" in notice for notice in server.notices))
        server.file.rmdir()
        inside.rename(server.file)
        await server.saves(tab)
        assert tab.cells() == ["x = 1 <a> <b>"]
        assert tab.closed is None


async def test_conflict_marks_of_git(folder: Path) -> None:
    async with running(folder) as server:
        tab = await server.tab()
        broken = server.file.read_bytes().replace(b'"cells"', b'<<<<<<< HEAD\n"cells"')
        server.file.write_bytes(broken)
        tab.type(" <typed>")
        await server.saves(tab)
        assert tab.cells() == ["x = 1 <typed>"]
        assert "unreadable" in server.notices[0]
        assert await server.named() == broken
