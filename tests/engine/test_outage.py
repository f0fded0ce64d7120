"""The embedded store stops answering while people type, and the server goes on by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from notebook_sync.app import LocalFiles, NotebookSync, SyncSettings
from notebook_sync.core.limits import Limits
from tests.support.tabs import WORK, Tab
from tests.support.waiting import wait_until

LIMITS = Limits(
    save_delay=0.1, save_ceiling=0.5, save_retry_first=0.2, append_timeout=0.5, append_retry_most=0.3
)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[NotebookSync]:
    settings = SyncSettings(state_dir=folder / "state", root_dir=folder / "root", limits=LIMITS)
    async with (
        LocalFiles(settings.root_dir, settings.limits) as files,
        NotebookSync(settings, files) as sync,
    ):
        yield sync


def store_of(folder: Path) -> psutil.Process:
    """The embedded Valkey of this state directory."""
    home = str(folder / "state" / "valkey")
    for process in psutil.process_iter(["name"]):
        try:
            if process.name().startswith("valkey-server") and process.cwd() == home:
                return process
        except psutil.Error:
            continue
    raise AssertionError("the embedded Valkey does not run")


@asynccontextmanager
async def frozen(process: psutil.Process) -> AsyncIterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def on_disk(folder: Path) -> str:
    notebook = json.loads((folder / "root" / "work.ipynb").read_text())
    return "".join("".join(cell["source"]) for cell in notebook["cells"])


async def test_people_go_on_and_a_server_that_is_alone_saves_while_its_store_is_frozen(folder: Path) -> None:
    async with running(folder) as sync:
        anna, ben = Tab().join(sync), Tab().join(sync)
        await wait_until(lambda: anna.synced and ben.synced and sync.rooms()[0].saved)
        async with frozen(store_of(folder)):
            anna.type(" meanwhile")
            await wait_until(lambda: "meanwhile" in ben.cells()[0])
            await wait_until(lambda: any(m.get("level") == "local" for m in anna.raw), what="level local")
            assert sync.rooms()[0].state == "degraded"
            assert sync.rooms()[0].stored_where == "local"
            await wait_until(lambda: "meanwhile" in on_disk(folder), what="the file")
        await wait_until(lambda: sync.rooms()[0].state == "live" and sync.rooms()[0].stored)
        last = max(int(str(m["n"])) for m in anna.raw if m.get("level") == "local")
        await wait_until(
            lambda: any(m.get("level") == "redis" and int(str(m["n"])) >= last for m in anna.raw)
        )
        assert await sync.save(WORK)
        assert on_disk(folder) == anna.cells()[0] == ben.cells()[0] == "x = 1 meanwhile"


async def test_what_only_the_disk_has_when_all_is_killed_is_in_the_store_after_a_restart(
    folder: Path,
) -> None:
    """Typed while the store was frozen and acknowledged as local; then the server ends without its store."""
    async with running(folder) as sync:
        anna = Tab().join(sync)
        await wait_until(lambda: anna.synced and sync.rooms()[0].saved)
        store = store_of(folder)
        store.suspend()
        anna.type(" only here")
        await wait_until(lambda: any(m.get("level") == "local" for m in anna.raw), what="level local")
        store.kill()
        anna.leave()
    async with running(folder) as sync:
        fresh = Tab().join(sync)
        await wait_until(lambda: fresh.synced)
        assert fresh.cells() == ["x = 1 only here"]
        await wait_until(lambda: sync.rooms()[0].stored)
