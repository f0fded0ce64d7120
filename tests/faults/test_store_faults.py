"""The store is killed, silent, out of reach, full, read-only, emptied or older than it was, and people
type on: nothing is lost, nothing doubled, nobody has to reload."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from psutil import RLIM_INFINITY, RLIMIT_FSIZE, Process

from tests.support.matrix import Case
from tests.support.paces import Paces
from tests.support.redis_servers import RedisServer
from tests.support.site import Site
from tests.support.stock_server import free_port
from tests.support.trial import Trial, on_trial
from tests.support.waiting import lasting

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"
OUR_OWN = ((1, VALKEY), (2, VALKEY), (1, REDIS), (2, REDIS))
"""Stores that we run, as people do."""
OTHERS_RATIO = 3.0
"""How much later people may see each other's keys because the store is slow: no later, on a quiet machine."""


@pytest.mark.over((2, VALKEY), (1, EMBEDDED), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_store_is_killed(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            trial.site.store.kill()
            await lasting(2)
            await trial.site.store.revive()

        await trial.survives(fault)


@pytest.mark.over((1, EMBEDDED), *OUR_OWN)
async def test_the_store_says_nothing(case: Case, place: Site, silence: float) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            trial.site.store.freeze()
            await lasting(silence)
            trial.site.store.thaw()

        await trial.survives(fault)


@pytest.mark.over((2, REDIS), (1, REDIS), (1, VALKEY), (2, VALKEY))
async def test_the_store_cannot_be_reached(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            for line in trial.site.lines:
                line.away()
            await lasting(refusal)
            for line in trial.site.lines:
                line.clear()

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_way_to_the_store_swallows_everything(case: Case, place: Site, silence: float) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            for line in trial.site.lines:
                line.change(black_hole=True)
            await lasting(silence)
            for line in trial.site.lines:
                line.clear()

        await trial.survives(fault)


@pytest.mark.over((1, REDIS), (2, REDIS), (1, VALKEY), (2, VALKEY))
async def test_what_the_store_says_is_damaged_on_the_way(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            for _ in range(5):
                for line in trial.site.lines:
                    line.change(corrupt=2)
                await trial.until_words(2)
            for line in trial.site.lines:
                line.clear()

        await trial.survives(fault)


@pytest.mark.over((1, VALKEY), (2, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_store_is_out_of_memory(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:
        redis = _redis(trial)

        async def fault() -> None:
            assert redis.command("CONFIG", "SET", "maxmemory", "1").startswith(b"+OK")
            await lasting(refusal)
            assert redis.command("CONFIG", "SET", "maxmemory", "0").startswith(b"+OK")

        await trial.survives(fault)


@pytest.mark.over((1, REDIS), (2, REDIS), (1, VALKEY), (2, VALKEY))
async def test_the_store_is_read_only_after_a_failover(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:
        redis = _redis(trial)

        async def fault() -> None:
            assert redis.command("REPLICAOF", "127.0.0.1", str(free_port())).startswith(b"+OK")
            await lasting(refusal)
            assert redis.command("REPLICAOF", "NO", "ONE").startswith(b"+OK")

        await trial.survives(fault)


@pytest.mark.over((1, VALKEY), (2, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_disk_of_the_store_is_full(case: Case, place: Site, refusal: float) -> None:
    async with on_trial(case, place) as trial:
        process = Process(_redis(trial).pid)

        async def fault() -> None:
            process.rlimit(RLIMIT_FSIZE, (1, RLIM_INFINITY))
            await lasting(refusal)
            process.rlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_the_store_is_emptied(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:
        redis = _redis(trial)

        async def fault() -> None:
            assert redis.command("FLUSHALL").startswith(b"+OK")
            await trial.until_words(6)

        await trial.survives(fault)


@pytest.mark.over((2, REDIS), (1, REDIS), (1, VALKEY), (2, VALKEY))
async def test_the_store_comes_back_older_than_it_was(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:
        redis = _redis(trial)
        kept = redis.directory / "appendonlydir"

        async def fault() -> None:
            older = _copy(kept)
            await trial.until_words(12)
            redis.kill()
            shutil.rmtree(kept)
            older.rename(kept)
            redis.restart()
            await trial.until_words(6)

        await trial.survives(fault)


@pytest.mark.over((1, REDIS), (2, REDIS), (1, VALKEY), (2, VALKEY))
async def test_the_store_comes_back_empty(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:
        redis = _redis(trial)

        async def fault() -> None:
            redis.kill()
            shutil.rmtree(redis.directory / "appendonlydir")
            redis.restart()
            await trial.until_words(6)

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (1, REDIS), (1, VALKEY), (2, REDIS))
async def test_the_store_comes_back_empty_and_nobody_has_the_notebook_open(case: Case, place: Site) -> None:
    """All that was acknowledged comes from the servers' own disks, not from the file, which is behind."""
    async with on_trial(case, place) as trial:
        redis = _redis(trial)
        async with trial.typing():
            await trial.until_words(18)
        await trial.until_stored()
        place.kill_all()
        trial.lose_all()
        shutil.rmtree(redis.directory / "appendonlydir")
        await place.start_all()
        async with trial.newcomers():
            await trial.survives(_nothing_more)


async def _nothing_more() -> None:
    """What had to happen has happened."""


@pytest.mark.over((1, REDIS), (1, VALKEY))
async def test_a_slow_store_makes_nobody_wait_for_the_others(case: Case, place: Site, turns: int) -> None:
    """A second for each answer: only "stored" comes later."""
    (line,) = place.lines
    async with on_trial(case, place) as trial:
        paces = Paces(trial.probe, 2.0)

        async def begin() -> None:
            line.change(delay_up=0.5, delay_down=0.5)

        async def end() -> None:
            line.clear()

        async def fault() -> None:
            await paces.take_turns(turns, begin, end)

        await trial.survives(fault)
        print(paces)
        assert max(paces.ratios) < OTHERS_RATIO, str(paces)


def _redis(trial: Trial) -> RedisServer:
    redis = trial.site.redis
    assert redis is not None, "the store is not one that we run"
    return redis


def _copy(folder: Path) -> Path:
    """The append-only file as it is now: a power cut leaves it so."""
    older = folder.with_name("older")
    shutil.copytree(folder, older)
    return older
