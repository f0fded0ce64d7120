"""The engine's counters and durations on Jupyter Server's ``/metrics``."""

from __future__ import annotations

import logging
from threading import Lock
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

log = logging.getLogger(__name__)

C = TypeVar("C", Counter, Gauge, Histogram)

PREFIX = "jupyter_collab_"
DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the histograms' buckets in seconds."""

_made: dict[str, Counter | Gauge | Histogram] = {}
_lock = Lock()


class PrometheusMetrics:
    """The engine's ``Metrics`` port. Collectors are made at first use and live as long as the process."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add ``amount`` (not negative) to the counter ``jupyter_collab_<name>_total``."""
        collector = self._collector(Counter, name, labels)
        if isinstance(collector, Counter):
            _labelled(collector, labels).inc(max(amount, 0.0))

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put ``value`` (seconds, or what the name says) into the histogram ``jupyter_collab_<name>``."""
        collector = self._collector(Histogram, name, labels)
        if isinstance(collector, Histogram):
            _labelled(collector, labels).observe(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge ``jupyter_collab_<name>``."""
        collector = self._collector(Gauge, name, labels)
        if isinstance(collector, Gauge):
            _labelled(collector, labels).set(value)

    def _collector(
        self, kind: type[Counter | Gauge | Histogram], name: str, labels: dict[str, str]
    ) -> Counter | Gauge | Histogram | None:
        with _lock:
            made = _made.get(name)
            if made is None:
                made = _made[name] = _make(kind, name, tuple(sorted(labels)))
        if not isinstance(made, kind) or made._labelnames != tuple(sorted(labels)):
            log.debug("the metric %s is used in two ways", name)
            return None
        return made


def _make(
    kind: type[Counter | Gauge | Histogram], name: str, labels: tuple[str, ...]
) -> Counter | Gauge | Histogram:
    text = name.replace("_", " ")
    if kind is Histogram:
        return Histogram(PREFIX + name, f"Shared notebooks: {text}", labels, buckets=DURATIONS)
    return kind(PREFIX + name, f"Shared notebooks: {text}", labels)


def _labelled(collector: C, labels: dict[str, str]) -> C:
    return collector.labels(**labels) if labels else collector
