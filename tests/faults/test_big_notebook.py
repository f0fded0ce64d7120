"""Somebody opens, edits and leaves a big notebook while seven work in another: they notice nothing."""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack

import pytest

from tests.support.matrix import Case
from tests.support.paces import Paces
from tests.support.site import Site
from tests.support.tab import Tab
from tests.support.trial import on_trial
from tests.support.waiting import wait_until

EMBEDDED, VALKEY = "embedded", "valkey"
BIG = "big.ipynb"
OTHERS_RATIO = 4.0
"""How much later people may see each other's keys meanwhile: hardly, with a core for the other work."""

ONE_TAB_STARTS = 50.0, 250.0
"""Milliseconds, at the median and the 99th percentile, for which a tab that starts and reads all of it may
keep a small machine's cores busy. On the server's loop the work would take several times as long."""


@pytest.mark.over((1, EMBEDDED), (1, VALKEY))
async def test_a_big_notebook_makes_nobody_wait(case: Case, place: Site, megabytes: int, turns: int) -> None:
    _write_big(place, megabytes)
    door, server = place.doors[0], place.servers[0]
    async with on_trial(case, place) as trial, AsyncExitStack() as stack:
        paces = Paces(trial.probe, 2.0, ONE_TAB_STARTS)
        tabs: list[Tab] = []

        async def begin() -> None:
            tab = Tab(f"http://127.0.0.1:{door.port}", server.token, BIG, 90 + len(tabs))
            tab.start()
            stack.push_async_exit(tab)
            tabs.append(tab)

        async def end() -> None:
            await wait_until(lambda: bool(tabs[-1].words()), 120, "somebody writes in the big notebook")

        async def fault() -> None:
            await paces.take_turns(turns // 3, begin, end)

        await trial.survives(fault)
        print(paces)
        assert max(paces.ratios) < OTHERS_RATIO, str(paces)


def _write_big(place: Site, megabytes: int) -> None:
    text = random.Random(1).randbytes(8 * 1024).hex()
    outputs = [{"output_type": "stream", "name": "stdout", "text": [text]}]
    cells = [
        {"cell_type": "code", "id": f"big-{number}", "metadata": {}, "source": ["print(text)"],
         "outputs": outputs, "execution_count": 1}
        for number in range(64 * megabytes)
    ]  # fmt: skip
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (place.root / BIG).write_text(json.dumps(notebook))
