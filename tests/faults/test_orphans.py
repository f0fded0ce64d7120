"""What tests start ends with them, also when they are killed."""

from __future__ import annotations

import subprocess
import sys

import psutil

from tests.support.waiting import eventually

KILLED = """
import os, signal, subprocess, sys
from tests.support import orphans
ended, left = (subprocess.Popen(["sleep", "300"]) for _ in range(2))
for process in (ended, left):
    orphans.started(process.pid)
ended.kill()
ended.wait()
orphans.ended(ended.pid)
print(left.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_left_is_killed() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False)
    assert killed.returncode == -9
    left = int(killed.stdout)
    eventually(lambda: _gone(left), timeout=20, what="the end of the process that was left")


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
