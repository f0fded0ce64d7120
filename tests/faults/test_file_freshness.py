"""While six type without a pause the file is never more than five seconds and one save behind."""

from __future__ import annotations

import asyncio
import json
import time

from jupyter_collab_ext.simulated import Group, Habits
from jupyter_collab_ext.simulated.notebook_edits import read_notebook
from notebook_sync.core.limits import Limits
from tests.support.servers import RealServer
from tests.support.waiting import each

ONE_SAVE = 6.0
"""Seconds that a save of a small notebook may take on a busy machine: it waits for a worker process and
the disk. On a quiet one it takes a tenth of a second; the figure is printed."""


async def test_the_file_keeps_up_with_six_who_type(server: RealServer, seconds: float) -> None:
    file = server.write_notebook("work.ipynb")
    worst = 0.0
    looks = 0
    async with Group([server.browser()] * 7, "work.ipynb", seed=9, habits=Habits(pace=0.3)) as group:
        await group.until_synced()

        async def look() -> None:
            nonlocal worst, looks
            looked = time.monotonic()
            contents = read_notebook(json.loads(file.read_bytes()))
            behind = [
                looked - word.finished for word in group.log.missing(contents) if word.finished < looked
            ]
            worst = max([worst, *behind])
            looks += 1

        seconds = max(seconds, 3 * Limits().save_ceiling)
        await asyncio.gather(group.work(seconds), each(0.2, seconds, look))
        assert looks > seconds
        assert len(group.log.words) > seconds / 2
    print(f"the file was at most {worst:.2f} s behind in {looks} looks")
    assert worst <= Limits().save_ceiling + ONE_SAVE
