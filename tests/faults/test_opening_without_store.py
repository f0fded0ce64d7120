"""Notebooks are opened while Redis is away: a known one from this server's disk, an unknown one from its file
for the time being, and both are one with what Redis has once it is back."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from jupyter_collab_ext.simulated.notebook_edits import read_document
from jupyter_collab_ext.simulated.oracle import TOKEN
from notebook_sync.adapters.file_versions import SHARED
from tests.support.matrix import Case
from tests.support.site import Site
from tests.support.trial import Trial, on_trial
from tests.support.waiting import wait_until

VALKEY, REDIS = "valkey", "redis"


@pytest.mark.over((1, VALKEY), (2, REDIS), (1, REDIS), (2, VALKEY))
async def test_a_known_notebook_is_opened_while_the_store_is_away(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:
        async with trial.typing():
            await trial.until_words(12)
        await trial.until_stored()
        trial.lose_all()
        for line in place.lines:
            line.away()
        for server in place.servers:
            await asyncio.to_thread(server.kill)
        await place.restart(*range(len(place.servers)))
        async with trial.newcomers():

            async def fault() -> None:
                assert {trial.status(number).get("stored") for number in range(7)} == {"local"}
                await trial.until_stored()
                for line in place.lines:
                    line.clear()

            await trial.survives(fault)


@pytest.mark.over((1, REDIS), (1, VALKEY))
async def test_an_unknown_notebook_is_opened_while_the_store_is_away(case: Case, place: Site) -> None:
    for line in place.lines:
        line.away()
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            await trial.until_words(6)
            assert {trial.status(number).get("stored") for number in range(7)} == {"local"}
            for line in place.lines:
                line.clear()

        await trial.survives(fault)


@pytest.mark.over((2, REDIS), (2, VALKEY))
async def test_a_new_notebook_is_opened_at_both_servers_while_one_is_cut_off(case: Case, place: Site) -> None:
    """Two histories began. The one that Redis did not know ends: what was acknowledged in it is carried over,
    once, or is in a version where others changed the same cell; and its tabs are told to begin anew."""
    place.lines[1].away()
    async with on_trial(case, place) as trial:
        provisional = trial.at(1)
        writers = [person.client for person in trial.group.people if person.client in provisional]

        async def fault() -> None:
            await wait_until(
                lambda: all(client.own_edits.stored > 20 for client in writers),
                60,
                "edits at the server that is cut off are acknowledged",
            )
            place.lines[1].clear()
            await wait_until(lambda: all(client.ended for client in provisional), 60, "its tabs are told")
            for client in provisional:
                trial.group.lose(client)
            await wait_until(lambda: not _missing(trial) - _kept(place), 60, "what they wrote is kept")
            for word in _missing(trial):
                trial.group.log.excuse(word)

        await trial.survives(fault)


def _missing(trial: Trial) -> set[str]:
    """Words of people whose tabs have ended that are not in the document."""
    here = {person.number for person in trial.group.people}
    document = read_document(trial.group.clients[0].doc)
    return {word.token for word in trial.group.log.missing(document) if word.person not in here}


def _kept(place: Site) -> set[str]:
    """All words in versions that people can get back."""
    versions = (place.root / SHARED).glob("*/*.gz")
    return {
        word for version in versions for word in TOKEN.findall(gzip.decompress(version.read_bytes()).decode())
    }
