"""Run all tests: ``make test``. Says what it does, how long that usually takes, and what had to be left out.

The parts that use a whole machine (real servers, browsers) run one after another, so that their times
mean something; all the rest runs on two processes. With CI=true nothing may be left out.
Arguments go to pytest: ``make test ARGS='-k presence'``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_TESTS = 5
"""What pytest answers when nothing was selected."""


@dataclass(frozen=True)
class Part:
    """Some test folders and how to run them."""

    name: str
    usually: str
    folders: tuple[str, ...]
    options: tuple[str, ...] = ()


SYSTEM = Part("tests on real servers, with faults", "9 minutes", ("faults",))
INTEROP = Part("clients of other projects, unchanged", "4 minutes, the first time more", ("interop",))
BROWSER = Part("seven pages in a real browser", "3 minutes", ("browser",))


def everything_else() -> Part:
    """All folders and files with tests that are in no other part, so that a new one is never forgotten."""
    elsewhere = {folder for part in (SYSTEM, INTEROP, BROWSER) for folder in part.folders}
    tests = {path.relative_to(HERE).parts[0] for path in HERE.rglob("test_*.py")}
    name = "unit, property, simulation, contract and Jupyter tests"
    options = ("-n", "2", "--dist", "loadgroup", "-o", "asyncio_debug=true")
    return Part(name, "8 minutes", tuple(sorted(tests - elsewhere)), options)


def found(names: tuple[str, ...]) -> bool:
    """Whether one of the programs can be run."""
    return any(shutil.which(name) for name in names)


def installed(package: str, names: tuple[str, ...]) -> bool:
    """Whether one of the programs is there, installed now if need be and possible."""
    if found(names):
        return True
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (prefix and shutil.which("sudo") is None):
        return False
    print(f"Installing {package} (about a minute)", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        whole = [*prefix, "apt-get", "-qq", *command]
        done = subprocess.run(whole, stdout=subprocess.DEVNULL, check=False, env=environment)
        if done.returncode != 0:
            return False
    return found(names)


def run(part: Part, extra: list[str]) -> Counter[str]:
    """How many tests passed, failed and were skipped; a part that breaks off counts as a failure."""
    print(f"\n== {part.name} (usually {part.usually})", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *part.options, f"--junitxml={report}", *extra]
        command += [str(HERE / folder) for folder in part.folders]
        code = subprocess.run(command, cwd=HERE.parent, check=False).returncode
        counts = counted(report)
    if code not in (0, NO_TESTS) and not counts["failed"]:
        counts["failed"] += 1
    print(f"== {part.name}: {summary(counts)} in {time.monotonic() - started:.0f} s", flush=True)
    return counts


def counted(report: Path) -> Counter[str]:
    """The numbers of a JUnit report; none if pytest wrote none."""
    counts = Counter[str]()
    if report.exists():
        for suite in xml.etree.ElementTree.parse(report).iter("testsuite"):
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            counts["failed"] += bad
            counts["skipped"] += skipped
            counts["passed"] += int(suite.get("tests", 0)) - bad - skipped
    return counts


def summary(counts: Counter[str]) -> str:
    """``N passed, N failed``, and how many were skipped if any."""
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"{counts['passed']} passed, {counts['failed']} failed{skipped}"


def main(extra: list[str]) -> int:
    """0 when everything passed and, in CI, nothing was left out."""
    parts = [everything_else(), SYSTEM, INTEROP]
    left_out: list[str] = []
    if installed("chromium", CHROMIUM):
        parts.append(BROWSER)
    else:
        left_out.append("browser tests: no Chromium was found and none could be installed")
    if not installed("redis-server", ("redis-server",)):
        left_out.append("tests on redis-server: it was not found and could not be installed")
    total = Counter[str]()
    for part in parts:
        total.update(run(part, extra))
    in_ci = os.environ.get("CI") == "true"
    print()
    for line in left_out:
        print(f"{'FAILED' if in_ci else 'SKIPPED'}: {line}")
    if in_ci:
        total["failed"] += len(left_out)
    print(summary(total))
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
