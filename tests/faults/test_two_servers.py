"""Two servers on one folder and one Redis: one document, one writer of the file, one list of people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_collab_ext.simulated import Group
from jupyter_collab_ext.simulated.notebook_edits import cell_ids, read_document
from tests.support.matrix import Case
from tests.support.site import Site
from tests.support.trial import Trial, on_trial
from tests.support.waiting import each, lasting, the_moment, wait_until

VALKEY, REDIS = "valkey", "redis"
CELLS = 20
GONE_WITHIN = 15.0
"""Seconds until people of a dead server have left the list at the others: what we promise."""
SLACK = 5.0
"""For a busy machine."""


@pytest.mark.over((2, REDIS), (2, VALKEY))
async def test_a_class_opens_a_notebook_at_both_at_the_same_moment(
    case: Case, place: Site, repeats: int
) -> None:
    for round in range(repeats):
        path = f"both-{round}.ipynb"
        before = place.servers[0].write_notebook(path, CELLS).read_bytes()
        browsers = [place.browser(place.server_of(number)) for number in range(14)]
        async with Group(browsers, path, seed=round, watchers=14) as group:
            await group.until_synced()
            await group.until_settled(30)
            assert len({client.session.session_id for client in group.clients if client.session}) == 1
            for client in group.clients:
                assert cell_ids(client.doc) == [f"seed-{number}" for number in range(CELLS)]
            replayed = await place.servers[0].replayed(path)
            assert read_document(replayed) == read_document(group.clients[0].doc)
        assert (place.root / path).read_bytes() == before, "nobody wrote anything"


@pytest.mark.over((2, VALKEY), (2, REDIS))
async def test_connections_tear_while_a_new_notebook_is_opened(case: Case, place: Site, repeats: int) -> None:
    for round in range(2 * repeats):
        path = f"torn-{round}.ipynb"
        place.servers[0].write_notebook(path, CELLS)
        browsers = [place.browser(place.server_of(number)) for number in range(6)]
        async with Group(browsers, path, seed=round, watchers=6) as group:

            async def tear() -> None:
                for line in place.lines:
                    line.cut()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(each(0.02, 0.5, tear))
                tasks.create_task(group.until_synced())
            await group.until_settled(30)
            assert [client.reloads_forced for client in group.clients] == [0] * 6
            assert len({client.session.session_id for client in group.clients if client.session}) == 1
            for client in group.clients:
                assert cell_ids(client.doc) == [f"seed-{number}" for number in range(CELLS)]


@pytest.mark.over((2, VALKEY), (2, REDIS))
async def test_one_server_dies_and_its_people_go_on_at_the_other(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:
        theirs = trial.at(0)
        ids = {client.doc.client_id for client in theirs}
        (witness, *_) = trial.at(1)

        async def fault() -> None:
            await wait_until(lambda: ids <= witness.peers.keys(), 30, "everybody is seen at the other server")
            place.servers[0].kill()
            await wait_until(
                lambda: not ids & witness.peers.keys(), GONE_WITHIN + SLACK, "people of the dead server left"
            )
            trial.move(theirs, 1)
            await trial.group.until_synced()
            await wait_until(lambda: ids <= witness.peers.keys(), 30, "they are seen again")
            await trial.until_words(6)

        await trial.survives(fault, after=0)
        await place.restart(0)


@pytest.mark.over((2, REDIS), (2, VALKEY))
async def test_one_server_is_cut_off_from_the_store(case: Case, place: Site, silence: float) -> None:
    """Both go on typing; nobody's work replaces anybody's."""
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            place.lines[0].away()
            await lasting(silence)
            place.lines[0].clear()

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (2, REDIS))
async def test_the_writer_of_the_file_is_killed_in_the_middle_of_writing(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            writer = await _caught_writing(trial, lambda number: place.servers[number].kill())
            # the other takes over, once the right of the dead one has run out
            await _until_saved_again(trial)
            await place.restart(writer)
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.over((2, REDIS), (2, VALKEY))
async def test_the_writer_of_the_file_is_frozen_in_the_middle_of_writing(case: Case, place: Site) -> None:
    """It goes on long after another has written: its old content may come to the file for a moment, is
    known as ours, and never comes to the document."""
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            writer = await _caught_writing(trial, lambda number: place.servers[number].freeze())
            await _until_saved_again(trial)
            place.servers[writer].thaw()
            await trial.group.until_synced()

        await trial.survives(fault)


async def _caught_writing(trial: Trial, act: Callable[[int], None]) -> int:
    """Do ``act`` to the server that writes the file, while it writes; returns its number."""
    file = trial.site.root / trial.group.path
    first = file.stat().st_ino
    await wait_until(lambda: file.stat().st_ino != first, 30, "the file is saved once")
    writer = await asyncio.to_thread(trial.site.writer, trial.group.path)
    await asyncio.to_thread(the_moment, lambda: bool(_unfinished(trial)), lambda: act(writer), 30)
    return writer


async def _until_saved_again(trial: Trial) -> None:
    file = trial.site.root / trial.group.path
    before = file.stat().st_ino
    await wait_until(lambda: file.stat().st_ino != before, 60, "another server writes the file")


def _unfinished(trial: Trial) -> list[Path]:
    """Files that somebody has begun to write."""
    return list(trial.site.root.glob(f".~{trial.group.path}.*.tmp"))
