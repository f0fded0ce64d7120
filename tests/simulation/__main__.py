"""Many seeds by hand: ``python -m tests.simulation --seeds 100000``, from the project's folder.

Two processes work in blocks of seeds; each block that is done is a line of the file ``--done``, so that
a run that was stopped goes on where it was. Ends by itself, with a summary; fails if a seed did.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from tests.simulation.block import BLOCK, be_nice, block


def blocks_done(path: Path) -> list[dict[str, Any]]:
    """The blocks of earlier runs."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def play_blocks(firsts: Iterable[int], done: Path, processes: int, until: float) -> None:
    """Play blocks until all are done, or the time is over."""
    waiting = list(reversed(list(firsts)))
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, be_nice) as pool, done.open("a") as file:
        running = {pool.submit(block, waiting.pop()) for _ in range(min(processes, len(waiting)))}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                result = future.result()
                print(json.dumps(result), file=file, flush=True)
                for seed, what in result["failed"].items():
                    print(f"seed {seed}: {what[:300]}", flush=True)
                if waiting and time.monotonic() - started < until:
                    running.add(pool.submit(block, waiting.pop()))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after so long; run again to go on")
    parser.add_argument("--done", type=Path, default=Path("var/simulation.jsonl"))
    asked = parser.parse_args()
    asked.done.parent.mkdir(parents=True, exist_ok=True)
    done = {result["first"] for result in blocks_done(asked.done)}
    firsts = [n for n in range(asked.first, asked.first + asked.seeds, BLOCK) if n not in done]
    play_blocks(firsts, asked.done, asked.processes, asked.minutes * 60.0)
    numbers: collections.Counter[str] = collections.Counter()
    failed: dict[str, str] = {}
    for result in (results := blocks_done(asked.done)):
        numbers.update(result["numbers"])
        failed |= result["failed"]
    print(f"{len(results) * BLOCK} seeds, {len(failed)} failed: {', '.join(failed)}")
    print(json.dumps(dict(sorted(numbers.items())), indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
