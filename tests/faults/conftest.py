"""System tests: real Jupyter servers, a real Valkey, and people who speak the real protocol.

Short by default. ``COLLAB_FULL=1`` runs them at full length, as figures are reported. ``COLLAB_MATRIX=path``
has what became of people's work under each fault written there. With either, each fault meets all
combinations of servers and store, else the first of them.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from pluggy import Result

from tests.support.matrix import MATRIX, Case
from tests.support.servers import RealServer, real_server
from tests.support.site import Site, Sites

FAILED = pytest.StashKey[bool]()
FULL = os.environ.get("COLLAB_FULL") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900 if FULL else 240))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over(*pairs): run once for each pair of (servers, store)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with ``@pytest.mark.over((servers, store), …)`` runs once for each pair, or for the first."""
    marker = metafunc.definition.get_closest_marker("over")
    if marker is not None:
        name = metafunc.definition.originalname.removeprefix("test_").replace("_", " ")
        cases = [Case(name, servers, store) for servers, store in marker.args]
        asked = cases if FULL or "COLLAB_MATRIX" in os.environ else cases[:1]
        metafunc.parametrize("case", asked, ids=[f"{case.servers}-{case.store}" for case in asked])


def pytest_sessionfinish() -> None:
    MATRIX.write()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Result[pytest.TestReport], None]:
    outcome = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or outcome.get_result().failed


@pytest.fixture(scope="session")
def sites() -> Iterator[Sites]:
    """Servers and stores that tests share."""
    with Sites() as running:
        yield running


@pytest.fixture
def place(request: pytest.FixtureRequest, sites: Sites, case: Case) -> Iterator[Site]:
    """The servers and the store of a case; the next test gets others if this one failed."""
    found = sites.get(case.servers, case.store)
    yield found
    if request.node.stash.get(FAILED, False):
        sites.discard(found)


@pytest.fixture
def seconds() -> float:
    """How long people write."""
    return 60.0 if FULL else 6.0


@pytest.fixture
def silence() -> float:
    """How long something does not answer: longer than one call to the store may take."""
    return 20.0 if FULL else 5.5


@pytest.fixture
def refusal() -> float:
    """How long something refuses, at once."""
    return 20.0 if FULL else 2.5


@pytest.fixture
def frozen() -> float:
    """How long a server is frozen: longer than its right to write files lasts, and longer than others show
    its people."""
    return 30.0 if FULL else 14.0


@pytest.fixture
def turns() -> int:
    """How often two situations that are compared take turns."""
    return 7 if FULL else 3


@pytest.fixture
def drops() -> int:
    """How many tabs come and go without a word."""
    return 1000 if FULL else 200


@pytest.fixture
def megabytes() -> int:
    """How big a big notebook is."""
    return 20 if FULL else 4


@pytest.fixture
def kills() -> int:
    """How often a process is killed, one time after the other."""
    return 5 if FULL else 1


@pytest.fixture
def repeats() -> int:
    """How often a race is run."""
    return 20 if FULL else 3


@pytest.fixture
def server() -> Iterator[RealServer]:
    """A running server of our own, and its folder."""
    with real_server() as running:
        yield running
