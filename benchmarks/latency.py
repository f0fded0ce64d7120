"""How long until the others see a key, what it costs the server, and whether anything is lost.

Each round starts a fresh server with fresh notebooks and the same seeded people; targets alternate,
so that a busy minute of the machine meets all of them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Cost, spread
from benchmarks.load import LoadOrder, LoadResult
from benchmarks.targets import Running, Target

READY_WITHIN = 180.0


@dataclass(frozen=True, slots=True)
class Workload:
    """``rooms`` notebooks with ``clients`` sockets each, of which ``watchers`` only watch; every
    writer presses a key each ``pace`` seconds on average, for ``seconds``."""

    clients: int = 7
    rooms: int = 1
    watchers: int = 1
    seconds: float = 20.0
    pace: float = 0.1
    seed: int = 1
    cells: int = 20
    load_processes: int = 1
    typing_only: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """One target, once. Times in seconds and memory in MiB unless a name says otherwise."""

    target: str
    latency_ms: dict[str, float]
    samples: int
    client_lag_ms: dict[str, float]
    keys: int
    runs: int
    cells_moved: int
    words: int
    lost: int
    doubled: int
    missing_on_disk: int
    reloads_forced: int
    reconnects: int
    faults: list[str]
    wrong_copies: list[str]
    server_cpu: float
    helpers_cpu: float
    server_cpu_ms_per_key: float
    server_cpu_us_per_delivery: float
    server_rss: float
    helpers_rss: float
    server_rss_grown: float
    bytes_received_per_key: float
    join: float
    settle: float


class LoadFailed(RuntimeError):
    """A load process ended without results; the message has the end of its error output."""


def run_latency(
    targets: list[Target], workload: Workload, rounds: int, tell: Callable[[str], None]
) -> list[Round]:
    """Run ``rounds`` alternating rounds of every target; ``tell`` hears what is going on."""
    results: list[Round] = []
    for number in range(rounds):
        for target in targets:
            tell(f"round {number + 1} of {rounds}: {target.name}")
            results.append(one_round(target, workload))
    return results


def one_round(target: Target, workload: Workload) -> Round:
    """A fresh server, its people, and what became of it all."""
    # short on purpose: a unix socket below it may have a name of at most about 100 bytes
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        paths = write_notebooks(home / "root", workload)
        with target.running(home) as server:
            return _measure(target.name, server, workload, paths)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def write_notebooks(root: Path, workload: Workload) -> list[str]:
    """A notebook for each room; returns their paths from the root."""
    root.mkdir(parents=True)
    paths: list[str] = []
    for number in range(workload.rooms):
        notebook = {
            "cells": [_seed_cell(cell) for cell in range(workload.cells)],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        paths.append(f"group-{number}.ipynb")
        (root / paths[-1]).write_text(json.dumps(notebook, indent=1) + "\n")
    return paths


def _seed_cell(number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"id": f"seed-{number}", "metadata": {}}
    if number % 3:
        source = [f"value_{number} = {number}\n", f"print(value_{number})"]
        return cell | {"cell_type": "code", "source": source, "outputs": [], "execution_count": None}
    return cell | {"cell_type": "markdown", "source": [f"# Step {number}\n", "What we found."]}


def _measure(name: str, server: Running, workload: Workload, paths: list[str]) -> Round:
    at_start = Cost.of(server.pid, server.root.parent)
    share = max(1, -(-len(paths) // workload.load_processes))
    parts = [paths[first : first + share] for first in range(0, len(paths), share)]
    loads = [LoadProcess(_order(server, workload, part)) for part in parts]
    try:
        for load in loads:
            load.expect("ready")
        before = Cost.of(server.pid, server.root.parent)
        for load in loads:
            load.go()
        for load in loads:
            load.expect("worked")
        after = Cost.of(server.pid, server.root.parent)
        results = [load.result() for load in loads]
    finally:
        for load in loads:
            load.end()
    return _summary(name, results, at_start, before, after)


def _order(server: Running, workload: Workload, paths: list[str]) -> LoadOrder:
    return LoadOrder(
        url=server.url,
        token=server.token,
        root=str(server.root) if server.saves else "",
        paths=tuple(paths),
        clients=workload.clients,
        watchers=workload.watchers,
        seconds=workload.seconds,
        pace=workload.pace,
        seed=workload.seed,
        typing_only=workload.typing_only,
    )


class LoadProcess:
    """A process of ``load.py``, started at once."""

    def __init__(self, order: LoadOrder) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._tell(json.dumps(asdict(order)))

    def expect(self, word: str) -> None:
        """Wait for the process to say ``word``; raises ``LoadFailed`` when it says something else or ends."""
        said = self._line()
        if said != word:
            raise LoadFailed(f"{said!r} instead of {word!r}:\n{self._error_tail()}")

    def go(self) -> None:
        """Let the work begin."""
        self._tell("go")

    def result(self) -> LoadResult:
        """Wait for the results."""
        line = self._line()
        if not line.startswith("{"):
            raise LoadFailed(f"no results:\n{self._error_tail()}")
        return LoadResult(**json.loads(line))

    def end(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate()
        tail = self._error_tail()
        if tail:
            print(tail, file=sys.stderr)
        self._errors.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _error_tail(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode(errors="replace")


def _summary(name: str, results: list[LoadResult], start: Cost, before: Cost, after: Cost) -> Round:
    latencies = [sample for result in results for sample in result.latencies]
    keys = sum(result.keys for result in results)
    cpu = after.own_cpu - before.own_cpu
    return Round(
        target=name,
        latency_ms=spread(latencies),
        samples=len(latencies),
        client_lag_ms=spread([lag for result in results for lag in result.lags]),
        keys=keys,
        runs=sum(result.runs for result in results),
        cells_moved=sum(result.cells_moved for result in results),
        words=sum(result.words for result in results),
        lost=sum(result.lost for result in results),
        doubled=sum(result.doubled for result in results),
        missing_on_disk=sum(result.missing_on_disk for result in results),
        reloads_forced=sum(result.reloads_forced for result in results),
        reconnects=sum(result.reconnects for result in results),
        faults=[fault for result in results for fault in result.faults][:20],
        wrong_copies=[copy for result in results for copy in result.wrong_copies][:20],
        server_cpu=cpu,
        helpers_cpu=after.helpers_cpu - before.helpers_cpu,
        server_cpu_ms_per_key=cpu * 1000 / max(keys, 1),
        server_cpu_us_per_delivery=cpu * 1e6 / max(len(latencies), 1),
        server_rss=after.own_rss / 2**20,
        helpers_rss=after.helpers_rss / 2**20,
        server_rss_grown=(after.own_rss - start.own_rss) / 2**20,
        bytes_received_per_key=sum(result.bytes_received for result in results) / max(keys, 1),
        join=max(result.join_seconds for result in results),
        settle=max(result.settle_seconds for result in results),
    )


def medians(rounds: list[Round]) -> dict[str, dict[str, float]]:
    """For each target the median over its rounds of every figure; counts of harm are summed instead."""
    names = list(dict.fromkeys(round.target for round in rounds))
    return {name: _median([round for round in rounds if round.target == name]) for name in names}


HARM = ("lost", "doubled", "missing_on_disk", "reloads_forced", "reconnects")


def _median(rounds: list[Round]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, value in asdict(rounds[0]).items():
        values: list[Any] = [getattr(round, name) for round in rounds]
        if name in HARM:
            figures[name] = sum(values)
        elif isinstance(value, int | float):
            figures[name] = statistics.median(values)
        elif isinstance(value, dict):
            for key in value:
                figures[f"{name}.{key}"] = statistics.median([one[key] for one in values])
    figures["faults"] = sum(len(round.faults) for round in rounds)
    return figures


def started() -> str:
    """The wall time, for results."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
