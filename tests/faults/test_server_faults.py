"""Servers are killed, alone or with all else, and frozen: whoever can, types on, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from jupyter_collab_ext.simulated.notebook_edits import read_document
from tests.support.matrix import Case
from tests.support.site import Site
from tests.support.trial import on_trial
from tests.support.waiting import lasting

EMBEDDED, VALKEY, REDIS = "embedded", "valkey", "redis"


@pytest.mark.over((1, EMBEDDED), (2, VALKEY), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_a_server_is_killed(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            place.servers[0].kill()
            await place.restart(0)
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.over((2, VALKEY), (1, EMBEDDED), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_servers_and_store_are_killed_together(case: Case, place: Site) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            place.kill_all()
            await place.start_all()
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.over((1, EMBEDDED), (2, VALKEY), (1, VALKEY), (1, REDIS), (2, REDIS))
async def test_everything_is_killed_at_once_and_nobody_comes_back(
    case: Case, place: Site, seconds: float
) -> None:
    """Tabs too: only what was acknowledged can be asked for, and all of that must be there, for whoever
    opens the notebook next, and in its file."""
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            await lasting(seconds)
            place.kill_all()
            trial.lose_all()
            await place.start_all()
            await trial.group.join(place.browser())

        outcome = await trial.survives(fault, after=0)
        assert outcome.stored > 12


@pytest.mark.over((2, REDIS), (1, EMBEDDED), (1, VALKEY), (1, REDIS), (2, VALKEY))
async def test_a_server_is_frozen_and_comes_back(case: Case, place: Site, frozen: float) -> None:
    async with on_trial(case, place) as trial:

        async def fault() -> None:
            place.servers[0].freeze()
            await lasting(frozen)
            place.servers[0].thaw()
            await trial.group.until_synced()

        await trial.survives(fault)


@pytest.mark.over((1, EMBEDDED), (2, REDIS), (1, VALKEY))
async def test_the_file_is_edited_while_no_server_runs(case: Case, place: Site) -> None:
    """People type on in their tabs meanwhile: both are in the document and in the file."""
    async with on_trial(case, place) as trial:
        file = place.root / trial.group.path

        async def fault() -> None:
            await trial.until_stored()
            for server in place.servers:
                server.kill()
            notebook = json.loads(file.read_bytes())
            added = {"cell_type": "markdown", "id": "added-outside", "metadata": {}, "source": ["by hand"]}
            notebook["cells"].insert(2, added)
            file.write_text(json.dumps(notebook, indent=1) + "\n")
            await place.restart(*range(len(place.servers)))
            await trial.group.until_synced()

        await trial.survives(fault)
        sources = {cell.id: cell.source for cell in read_document(trial.group.clients[0].doc)}
        assert "by hand" in sources["added-outside"]
