"""Start servers on one disk of local copies, kill each, and look for what is missing.

``python -m tests.support.local_kills DIRECTORY moments|calls TIMES`` kills at random moments, or before the
first, second, … call that changes the disk. It prints how many were killed and how many words they had
acknowledged; it ends with 1 and says which words are missing as soon as some are.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from notebook_sync.adapters.local_copies import FileLocalCopies
from tests.support.local_disks import LIMITS, new_node
from tests.support.local_life import die_before, documents, everything, live

DOCUMENTS = 3
LONGEST_LIFE = 0.05
"""Seconds from the first acknowledgement to the kill."""


def killed(directory: Path, number: int, life: float | None) -> set[str]:
    """Fork a server and kill it ``life`` seconds after its first word, or if None before the
    ``number``-th call that changes the disk; what it acknowledged."""
    hears, says = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(hears)
        try:
            if life is None:
                die_before(number)
            asyncio.run(live(directory, f"{number}-{os.getpid()}", DOCUMENTS, Teller(says), number))
        finally:
            os._exit(1)
    os.close(says)
    said = b""
    if life is not None:
        said = os.read(hears, 1 << 16)
        end = time.monotonic() + life
        while (left := end - time.monotonic()) > 0:
            if select.select([hears], [], [], left)[0]:
                said += os.read(hears, 1 << 16)
        os.kill(process, signal.SIGKILL)
    while more := os.read(hears, 1 << 16):
        said += more
    os.close(hears)
    status = os.waitpid(process, 0)[1]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"it ended by itself: {status}"
    return set(said.decode().split())


class Teller:
    """Says words on a pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __call__(self, word: str) -> None:
        """So that it is heard even if this process is killed the moment after."""
        os.write(self._pipe, f"{word}\n".encode())


async def kept(directory: Path) -> set[str]:
    """All words on the disk."""
    async with FileLocalCopies(directory, new_node(), LIMITS) as copies:
        found = [await everything(copies, document) for document in documents(DOCUMENTS)]
    return set[str]().union(*found)


def main() -> int:
    """Kill, look, and so on."""
    directory, how, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    dice = random.Random(11)
    acknowledged = set[str]()
    for number in range(1, times + 1):
        life = dice.random() * LONGEST_LIFE if how == "moments" else None
        acknowledged |= killed(directory, number, life)
        missing = acknowledged - asyncio.run(kept(directory))
        if missing:
            print(f"after kill {number}: {sorted(missing)[:20]}", file=sys.stderr)
            return 1
    print(times, len(acknowledged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
