"""The server's disk takes nothing for a while: what Redis has is stored all the same, what neither has is
said to be stored nowhere, and all of it is there once there is room again.

A limit on the size of the process's files stands in for a full disk: every write that would make a file
longer fails, for one process alone, without a file system of its own, and can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psutil import RLIM_INFINITY, RLIMIT_FSIZE, Process

from tests.support.matrix import Case
from tests.support.servers import RealServer
from tests.support.site import Site
from tests.support.trial import on_trial
from tests.support.waiting import lasting, wait_until

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"


@contextmanager
def full_disk(servers: list[RealServer]) -> Iterator[None]:
    """During the body no file of these servers can grow."""
    processes = [Process(server.pid) for server in servers]
    for process in processes:
        process.rlimit(RLIMIT_FSIZE, (1, RLIM_INFINITY))
    try:
        yield
    finally:
        for process in processes:
            process.rlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))


@pytest.mark.over((1, EMBEDDED), (2, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_disk_of_the_server_is_full(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:
        (writer, *_) = trial.group.clients

        async def fault() -> None:
            with full_disk(place.servers):
                await lasting(refusal)
                stored = writer.own_edits.stored
                await trial.until_words(4)
                await wait_until(
                    lambda: writer.own_edits.stored > stored, 30, "edits are stored all the same"
                )
                assert await writer.save() == "failed"
            assert await writer.save() == "success"

        await trial.survives(fault)


@pytest.mark.over((1, REDIS), (2, VALKEY), (1, VALKEY), (2, REDIS))
async def test_neither_the_disk_nor_the_store_takes_anything(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:
        writers = [person.client for person in trial.group.people]

        async def fault() -> None:
            with full_disk(place.servers):
                for line in place.lines:
                    line.away()
                await wait_until(
                    lambda: all(trial.status(n).get("stored") == "nothing" for n in range(7)),
                    30,
                    "everybody is told that nothing is stored",
                )
                stored = [writer.own_edits.stored for writer in writers]
                await lasting(refusal)
                assert [writer.own_edits.stored for writer in writers] == stored
                for line in place.lines:
                    line.clear()
            await wait_until(
                lambda: all(w.own_edits.stored > before for w, before in zip(writers, stored, strict=True)),
                60,
                "edits are stored again",
            )

        await trial.survives(fault)
