"""The store is killed, silent, far away, full, read-only, slow, emptied or older than it was."""

from __future__ import annotations

import pytest

from tests.support.matrix import Case
from tests.support.trial import on_trial
from tests.support.waiting import lasting

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"


@pytest.mark.over((2, VALKEY), (1, EMBEDDED), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_store_is_killed(case: Case) -> None:
    async with on_trial(case) as trial:

        async def fault() -> None:
            trial.site.store.kill()
            await lasting(2)
            await trial.site.store.revive()

        await trial.survives(fault)
