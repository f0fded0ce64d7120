"""What all tests share: in CI nothing that the product needs may be skipped."""

from __future__ import annotations

import os

import pytest

IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:  # type: ignore[misc]  # a hook wrapper is a generator
    """A skipped test is a failure in CI, unless it says that it is about another platform."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and "platform" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
