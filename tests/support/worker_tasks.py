"""Functions for tests to run in a worker process, some of which do it no good."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pycrdt import Array, Doc

from notebook_sync.core.errors import InvariantBroken


def variables() -> dict[str, str]:
    return dict(os.environ)


def modules() -> set[str]:
    return set(sys.modules)


def priority() -> int:
    return os.nice(0)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_the_first_time(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        die()
    return "done"


def hang() -> None:
    threading.Event().wait()


def wait_a_little() -> None:
    threading.Event().wait(0.2)


def talk() -> str:
    print("a library says something")
    os.write(1, b"and something else\n")
    return "answer"


def panic() -> None:
    doc: Doc[Any] = Doc()
    numbers: Array[Any] = doc.get("a", type=Array)
    numbers.append(2**100)


class Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail_strangely() -> None:
    raise Unpicklable("what ", "happened")


def fail_ours() -> None:
    raise InvariantBroken("ours")
