"""Tabs sleep, drop, lose their network, and read slowly or not at all: it is their trouble alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest

from jupyter_collab_ext.simulated import Browser, CollabClient, plain_user
from jupyter_collab_ext.simulated import notebook_edits as edits
from tests.support.matrix import Case
from tests.support.paces import Paces
from tests.support.proxy import Proxy
from tests.support.servers import RealServer
from tests.support.site import Site
from tests.support.tab import Tab
from tests.support.trial import Trial, on_trial
from tests.support.waiting import each, lasting, wait_until

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"
SLEEPER = 90
"""Number of the person whose tab is a process of its own."""
MIB = 2**20
BOUNDED = 96 * MIB
"""What a reader that takes nothing may cost the server: 8 MiB wait for it; the rest is Python's."""
KEPT = 48 * MIB
"""What may be left of many tabs that came and went."""
BATCH = 25
OTHERS_RATIO = 3.0
"""How much longer others may wait for each other because one reads slowly: no longer, on a quiet machine."""


@pytest.mark.over((1, EMBEDDED), (2, VALKEY), (2, REDIS))
async def test_a_tab_sleeps_and_comes_back(case: Case, place: Site, silence: float) -> None:
    async with on_trial(case, place) as trial, _tab(trial) as tab:

        async def fault() -> None:
            await wait_until(lambda: len(tab.words()) >= 2, 60, "the tab writes")
            tab.freeze()
            await lasting(silence)
            tab.thaw()
            before = len(tab.words())
            await wait_until(lambda: len(tab.words()) > before + 1, 60, "the tab writes on")
            await tab.finish()
            for word in tab.words():
                trial.group.log.wrote(word, SLEEPER, time.monotonic())

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (1, EMBEDDED), (1, REDIS))
async def test_everybody_loses_the_network_and_types_on(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            for door in place.doors:
                door.away()
            await lasting(refusal)
            for door in place.doors:
                door.clear()
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.over((1, EMBEDDED), (2, REDIS))
async def test_what_the_server_says_is_damaged_on_the_way(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            for _ in range(5):
                for door in place.doors:
                    door.change(corrupt=2)
                await trial.until_words(2)
            for door in place.doors:
                door.clear()
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.parametrize("rate", [1024, 0], ids=["1 KB a second", "nothing"])
@pytest.mark.over((1, EMBEDDED), (1, REDIS))
async def test_somebody_reads_slowly_or_not_at_all(
    case: Case, place: Site, rate: int, silence: float, turns: int
) -> None:
    server = place.servers[0]
    process = psutil.Process(server.pid)
    async with on_trial(case, place) as trial:
        with Proxy(f"127.0.0.1:{server.port}") as door:
            slow = await trial.group.join(_at(door, server), "Slow")
            trial.probe.ignored.add(slow)
            paces = Paces(trial.probe, silence / 2)
            before = process.memory_info().rss

            async def begin() -> None:
                door.change(throttle=rate, black_hole=rate == 0)

            async def end() -> None:
                assert process.memory_info().rss < before + BOUNDED
                door.clear()

            async def fault() -> None:
                async with asyncio.TaskGroup() as tasks:
                    pasting = tasks.create_task(each(0.1, 3600, _pasting(trial)))
                    await paces.take_turns(turns, begin, end)
                    pasting.cancel()

            await trial.survives(fault)
            print(paces)
            assert max(paces.ratios) < OTHERS_RATIO, str(paces)


@pytest.mark.over((1, EMBEDDED), (1, REDIS))
async def test_many_tabs_drop_without_a_word(case: Case, place: Site, drops: int) -> None:
    """Sockets, descriptors, memory and the list of people are as before."""
    server = place.servers[0]
    process = psutil.Process(server.pid)
    async with on_trial(case, place) as trial:
        await _come_and_drop(trial, BATCH)  # whatever is made once, is made now
        await wait_until(lambda: _sockets(server, trial) == 7, 60, "only the seven are there")
        descriptors, memory = process.num_fds(), process.memory_info().rss

        async def fault() -> None:
            for _ in range(drops // BATCH):
                await _come_and_drop(trial, BATCH)
            await wait_until(lambda: _sockets(server, trial) == 7, 60, "only the seven are there")
            await wait_until(lambda: process.num_fds() <= descriptors + 3, 60, "descriptors are given back")

        await trial.survives(fault)
        assert process.memory_info().rss < memory + KEPT


def _tab(trial: Trial) -> Tab:
    door, server = trial.site.doors[0], trial.site.servers[0]
    return Tab(f"http://127.0.0.1:{door.port}", server.token, trial.group.path, SLEEPER)


def _at(door: Proxy, server: RealServer) -> Browser:
    return Browser(f"http://127.0.0.1:{door.port}", token=server.token)


def _pasting(trial: Trial) -> Callable[[], Awaitable[None]]:
    """Somebody shows big outputs, one in the place of the other."""
    doc = trial.group.clients[0].doc
    cell = edits.insert_cell(doc, 0, f"big-{len(edits.cells(doc))}")

    async def paste() -> None:
        edits.clear_outputs(cell)
        edits.append_display(cell, random.Random(1).randbytes(64 * 1024).hex())

    return paste


def _sockets(server: RealServer, trial: Trial) -> int:
    rooms = server.request("GET", "api/collaboration/status").json()["rooms"]
    (people,) = [room["people"] for room in rooms if room["path"] == trial.group.path]
    return len(people)


async def _come_and_drop(trial: Trial, count: int) -> None:
    """So many tabs open the notebook, and are gone in one moment."""
    rng = random.Random(count)
    browser = trial.site.browser()
    clients = [CollabClient(browser, trial.group.path, user=plain_user("Visitor", rng)) for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run())
        for client in clients:
            await client.until_synced(60)
        for client in clients:
            client.die()
