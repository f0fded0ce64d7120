"""Nothing that a test started outlives the tests, not even when they are killed themselves.

A small shell hears which processes there are, and kills what is left when its standard input ends.
"""

from __future__ import annotations

import subprocess
import threading

WATCH = """
while read -r word pid; do
  case $word in
    started) pids="$pids $pid " ;;
    ended) pids=$(printf '%s' "$pids" | sed "s/ $pid / /g") ;;
  esac
done
[ -z "${pids# }" ] || kill -9 $pids 2>/dev/null
"""


class _Orphanage:
    """The shell, started with the first process that there is to watch."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def tell(self, word: str, pid: int) -> None:
        with self._lock:
            if self._shell is None:
                # In a session of its own: a Ctrl-C is for the tests, which end what they started.
                self._shell = subprocess.Popen(
                    ["sh", "-c", WATCH], stdin=subprocess.PIPE, text=True, start_new_session=True
                )
            assert self._shell.stdin is not None
            self._shell.stdin.write(f"{word} {pid}\n")
            self._shell.stdin.flush()


_ORPHANAGE = _Orphanage()


def started(pid: int) -> None:
    """A process that must not outlive the tests."""
    _ORPHANAGE.tell("started", pid)


def ended(pid: int) -> None:
    """It has been waited for: its number may be another's soon."""
    _ORPHANAGE.tell("ended", pid)
