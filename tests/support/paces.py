"""How soon people see each other's keys in two situations that take turns in one run, so that a busy minute
of the machine meets both."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.load import LatencyProbe
from tests.support.waiting import lasting, wait_until

FEWEST = 200
"""Keys seen that a turn has at least."""
FLOOR_P50, FLOOR_P99 = 10.0, 60.0
"""Milliseconds below which a difference is this machine's noise, and no ratio is formed."""


@dataclass
class Paces:
    """Milliseconds from a key to its sight, for the usual and for the other situation."""

    probe: LatencyProbe
    seconds: float
    """The shortest turn."""
    floors: tuple[float, float] = (FLOOR_P50, FLOOR_P99)
    usual: list[list[float]] = field(default_factory=list)
    other: list[list[float]] = field(default_factory=list)

    async def take_turns(
        self, turns: int, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        """Measure the usual situation, then the other, which lasts from ``begin`` to ``end``; so often."""
        for _ in range(turns):
            self.usual.append(await self._measured())
            await begin()
            self.other.append(await self._measured())
            await end()

    async def _measured(self) -> list[float]:
        start = len(self.probe.latencies)
        await lasting(self.seconds)
        await wait_until(lambda: len(self.probe.latencies) - start >= FEWEST, 60, "people see keys")
        return self.probe.latencies[start:]

    @property
    def ratios(self) -> tuple[float, float]:
        """How much longer the other situation takes, at the median and at the 99th percentile of its turns;
        of the turns' figures the median counts, so that one stall of the machine is none of the server's."""
        p50 = _typical(statistics.median, self.other) / max(
            _typical(statistics.median, self.usual), FLOOR_P50
        )
        return p50, _typical(_p99, self.other) / max(_typical(_p99, self.usual), FLOOR_P99)

    def __str__(self) -> str:
        return "; ".join(
            f"{name} p50 {_typical(statistics.median, turns):.1f} p99 {_typical(_p99, turns):.1f} ms"
            for name, turns in (("usually", self.usual), ("then", self.other))
        )


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]


def _typical(figure: Callable[[list[float]], float], turns: list[list[float]]) -> float:
    return statistics.median(figure(samples) for samples in turns)
