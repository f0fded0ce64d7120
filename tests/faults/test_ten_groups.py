"""Ten groups of seven at once, on one server: each notebook whole, and none in another's."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from jupyter_collab_ext.simulated import Group, Habits
from tests.support.servers import RealServer, judged


async def test_nothing_is_lost_or_doubled_in_seventy_copies(server: RealServer, seconds: float) -> None:
    browsers = [server.browser()] * 7
    groups = [
        Group(browsers, f"group-{number}/work.ipynb", seed=number, habits=Habits(pace=0.3))
        for number in range(10)
    ]
    async with AsyncExitStack() as stack:
        for group in groups:
            server.write_notebook(group.path)
            await stack.enter_async_context(group)
        await asyncio.gather(*(group.until_synced() for group in groups))
        await asyncio.gather(*(group.work(seconds) for group in groups))
        for group in groups:
            report = await judged(server, group)
            print(group.path, report)
            assert report.written
            assert report.right, f"{group.path}: {report}"
