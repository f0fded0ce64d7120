"""Run all tests: ``make test``. Says what it does, how long that usually takes, and what had to be left out.

The parts that use a whole machine (real servers, browsers) run one after another; the rest on two
processes. With CI=true nothing may be left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Part:
    """Some test folders and how to run them."""

    name: str
    usually: str
    arguments: tuple[str, ...]


FAST = Part(
    "unit, property, simulation, contract and Jupyter tests",
    "3 minutes",
    ("core", "properties", "simulation", "contracts", "engine", "jupyter", ".", "-n", "2", "--dist", "loadgroup"),
)
SYSTEM = Part("tests on real servers, with faults", "5 minutes", ("faults",))
INTEROP = Part("clients of other projects, unchanged", "4 minutes, the first time more", ("interop",))
BROWSER = Part("seven pages in a real browser", "3 minutes", ("browser",))


def found(names: tuple[str, ...]) -> bool:
    return any(shutil.which(name) for name in names)


def installed(package: str, names: tuple[str, ...]) -> bool:
    """Whether one of the programs is there, installed now if need be and possible."""
    if found(names):
        return True
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") is None or (prefix and shutil.which("sudo") is None):
        return False
    print(f"Installing {package} (about a minute)", flush=True)
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run([*prefix, "apt-get", "-qq", *command], stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return False
    return found(names)


def run(part: Part, extra: list[str]) -> int:
    print(f"\n== {part.name} (usually {part.usually})", flush=True)
    started = time.monotonic()
    arguments = [a if a.startswith("-") or not (HERE / a).exists() else str(HERE / a) for a in part.arguments]
    if "." in part.arguments:
        arguments.remove(str(HERE / "."))
        arguments = [*map(str, sorted(HERE.glob("test_*.py"))), *arguments]
    code = subprocess.run([sys.executable, "-m", "pytest", "-q", *arguments, *extra], check=False).returncode
    print(f"== {part.name}: {'passed' if code in (0, 5) else 'FAILED'} in {time.monotonic() - started:.0f} s")
    return 0 if code == 5 else code


def main(extra: list[str]) -> int:
    in_ci = os.environ.get("CI") == "true"
    parts = [FAST, SYSTEM, INTEROP]
    left_out: list[str] = []
    if installed("chromium", CHROMIUM):
        parts.append(BROWSER)
    else:
        left_out.append("browser tests: no Chromium was found and none could be installed")
    if not installed("redis-server", ("redis-server",)):
        left_out.append("contract tests on redis-server: it was not found and could not be installed")
    failed = [part.name for part in parts if run(part, extra) != 0]
    for line in left_out:
        print(f"{'FAILED' if in_ci else 'SKIPPED'}: {line}")
    if in_ci:
        failed += left_out
    print(f"\n{len(parts) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
