"""What all tests share: nothing may be skipped in CI, and how hard property tests look."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings
from pluggy import Result

IN_CI = os.environ.get("CI") == "true"

# A slow machine is no bug, so examples have no deadline; HYPOTHESIS_PROFILE=night looks long and hard.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, print_blob=True)
settings.register_profile("night", deadline=None, print_blob=True, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IN_CI else "dev"))


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A skipped test, or module, is a failure in CI, unless its reason names another platform."""
    if (
        IN_CI
        and report.skipped
        and not hasattr(report, "wasxfail")
        and "platform" not in str(report.longrepr)
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Result[pytest.TestReport], None]:
    outcome = yield
    fail_if_skipped(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report() -> Generator[None, Result[pytest.CollectReport], None]:
    outcome = yield
    fail_if_skipped(outcome.get_result())
