"""Percentiles, processes' costs, and where results go."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results"
PERCENTILES = (50, 95, 99, 100)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of an ascending sequence; NaN of none."""
    if not ordered:
        return float("nan")
    rank = max(0, min(len(ordered) - 1, round(percent / 100 * len(ordered) + 0.5) - 1))
    return ordered[rank]


def spread(samples: Sequence[float]) -> dict[str, float]:
    """``p50``, ``p95``, ``p99`` and ``max`` of samples in any order, in their unit."""
    ordered = sorted(samples)
    return {
        "max" if percent == 100 else f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES
    }


@dataclass(frozen=True, slots=True)
class Cost:
    """What a server's processes used: CPU seconds since they started, and resident bytes now."""

    own_cpu: float
    helpers_cpu: float
    own_rss: int
    helpers_rss: int

    @classmethod
    def of(cls, pid: int, home: Path) -> Cost:
        """The process, and its helpers: all living descendants, and those that work below ``home`` (an
        embedded Valkey is nobody's child)."""
        process = psutil.Process(pid)
        cpu = rss = 0.0
        for helper in _helpers(process, home):
            try:
                cpu += _cpu(helper)
                rss += helper.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return cls(_cpu(process), cpu, process.memory_info().rss, int(rss))


def _helpers(process: psutil.Process, home: Path) -> list[psutil.Process]:
    found = {helper.pid: helper for helper in process.children(recursive=True)}
    for other in psutil.process_iter():
        try:
            if Path(other.cwd()).is_relative_to(home):
                found[other.pid] = other
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    found.pop(process.pid, None)
    return list(found.values())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_results(name: str, results: dict[str, object]) -> Path:
    """Keep the results as JSON, named by the question and the time; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path
