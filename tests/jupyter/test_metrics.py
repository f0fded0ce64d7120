"""The engine's figures on /metrics."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from jupyter_collab_ext.metrics import PrometheusMetrics


def value(name: str, **labels: str) -> float | None:
    """A sample of the process's registry."""
    return REGISTRY.get_sample_value(name, labels)


def test_counters_gauges_and_durations() -> None:
    metrics = PrometheusMetrics()
    metrics.count("test_frames", kind="update")
    metrics.count("test_frames", 2.0, kind="update")
    metrics.gauge("test_rooms", 3.0)
    metrics.observe("test_save_seconds", 0.2)
    assert value("jupyter_collab_test_frames_total", kind="update") == 3.0
    assert value("jupyter_collab_test_rooms") == 3.0
    assert value("jupyter_collab_test_save_seconds_sum") == 0.2


def test_a_second_engine_in_the_process_goes_on_counting() -> None:
    PrometheusMetrics().count("test_again")
    PrometheusMetrics().count("test_again")
    assert value("jupyter_collab_test_again_total") == 2.0


def test_misuse_never_raises_and_counts_nothing() -> None:
    metrics = PrometheusMetrics()
    metrics.count("test_misused")
    metrics.count("test_misused", who="ann")
    metrics.gauge("test_misused", 9.0)
    metrics.observe("test_misused", 9.0)
    metrics.count("test_misused", -5.0)
    assert value("jupyter_collab_test_misused_total") == 1.0


async def test_they_are_on_the_server_s_page(jp_fetch: Any, server: Any) -> None:
    PrometheusMetrics().count("test_page")
    answer = await jp_fetch("metrics")
    assert b"jupyter_collab_test_page_total 1.0" in answer.body
