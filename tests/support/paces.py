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
    usual: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    async def take_turns(
        self, turns: int, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        """Measure the usual situation, then the other, which lasts from ``begin`` to ``end``; so often."""
        for _ in range(turns):
            await self._measure(self.usual)
            await begin()
            await self._measure(self.other)
            await end()

    async def _measure(self, into: list[float]) -> None:
        start = len(self.probe.latencies)
        await lasting(self.seconds)
        await wait_until(lambda: len(self.probe.latencies) - start >= FEWEST, 60, "people see keys")
        into += self.probe.latencies[start:]

    @property
    def ratios(self) -> tuple[float, float]:
        """How much longer the other situation takes, at the median and at the 99th percentile."""
        p50 = statistics.median(self.other) / max(statistics.median(self.usual), FLOOR_P50)
        return p50, _p99(self.other) / max(_p99(self.usual), FLOOR_P99)

    def __str__(self) -> str:
        return (
            f"usually p50 {statistics.median(self.usual):.1f} p99 {_p99(self.usual):.1f} ms, "
            f"then p50 {statistics.median(self.other):.1f} p99 {_p99(self.other):.1f} ms"
        )


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]
