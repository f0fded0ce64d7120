"""Seeds that once found a bug of the product, each with what it was.

A seed tells the same story only as long as nothing about the stories changes, and these are older than some
of what goes wrong in them by now. So what was found is also shown by a test that needs no seed:
``test_degraded.py``, ``test_connections.py`` and ``test_room.py`` in tests/core, ``test_connection.py``
and ``test_loader.py`` in tests/engine, ``test_document_codec.py`` in tests/contracts, or
a story in ``test_engine.py``.
"""

from __future__ import annotations

import pytest

from tests.simulation.story import play

FOUND = {
    7: "what was dropped from a full window while the store was given the document counted as stored",
    21: "who had nothing to add to what came from the server's own disk was never acknowledged",
    90: "two servers that founded a document at the same moment had two first contents under one lineage",
    115: "the first batches of a room opened anew were taken for those of the room before",
    240: "a tab was told to reload by a server that could not know its history without the store",
    257: "a provisional document was not carried over because the store's own was open already",
    269: "a room that was opened to give its copy back waited for itself",
    533: "a provisional document waited for its path's own to be founded, which nobody did",
    544: "what a server recorded before it ended stayed on its disk, for people went on at another one",
    14: "a file was not written any more after the log was set back below the place it was written at",
    157: "who held another's lost edits was refused with their own, for ever",
    312: "two who held each other's lost edits were refused for ever",
    690: "a slow reader was not given the first update that had to wait",
    883: "two servers that both seeded a notebook had every cell twice",
    1081: "a room that asked whether the store recovers waited for itself",
    19205: "people went on in a provisional history while what was done in it before was carried over",
    1589: "the file became a second first content of a history that this disk had got to know meanwhile",
    4150: "what a dead server had taken in from the file was taken in again with the next edit",
    4993: "what only the store had counted as stored on this disk",
    51843: "a provisional history was given to an emptied store before the real one came back",
    718: "a document stayed open that its path had lost while it was being founded",
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_a_seed_found_stays_mended(seed: int) -> None:
    play(seed)
