"""System tests: real Jupyter servers, a real Valkey, and people who speak the real protocol.

Short by default. ``COLLAB_FULL=1`` runs them at full length, as figures are reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import RealServer, real_server

FULL = os.environ.get("COLLAB_FULL") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 if FULL else 240))


@pytest.fixture
def seconds() -> float:
    """How long people write."""
    return 60.0 if FULL else 6.0


@pytest.fixture
def repeats() -> int:
    """How often a race is run."""
    return 20 if FULL else 3


@pytest.fixture
def server() -> Iterator[RealServer]:
    """A running server of our own, and its folder."""
    with real_server() as running:
        yield running
