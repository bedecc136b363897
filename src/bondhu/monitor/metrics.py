"""What a server counts, for Prometheus: one row of numbers a worker, in memory that all workers of a server share.

Counting is a few additions to plain numbers, since it stands in the path of every decision; the names and the text
format come when somebody asks. Rows outlive their worker, so that counters go on when one is replaced.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

ROUTES = ("/v1/decide", "/v1/decide/batch", "/v1/feedback", "/v1/feedback/batch", "other")
CLASSES = ("2xx", "3xx", "4xx", "5xx", "429", "503")  # of statuses; the last two are what a caller should slow down for
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
GAUGES = ("rows_waiting", "loop_lag_seconds", "resident_bytes", "degraded")
_COUNTS = len(CLASSES)
_ROUTE = _COUNTS + len(BOUNDS) + 2  # counts, buckets with that beyond the last bound, and the sum of seconds
WIDTH = len(ROUTES) * _ROUTE + len(GAUGES)  # numbers in a row
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The rows of all workers; one of them is this worker's own."""

    kind = TYPE

    def __init__(self, path: Path | None = None, workers: int = 1, own: int = 0) -> None:
        """Without a path: of this process alone."""
        size = 8 * WIDTH * workers
        if path is None:
            shared = mmap.mmap(-1, size)
        else:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, size)
                shared = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
        self._all = memoryview(shared).cast("d")
        self._row = self._all[own * WIDTH : (own + 1) * WIDTH]
        self._start = {route: place * _ROUTE for place, route in enumerate(ROUTES)}
        self._workers = workers

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request; a route that is not among the hot ones is one of the others."""
        start = self._start.get(route, (len(ROUTES) - 1) * _ROUTE)
        row = self._row
        row[start + (0 if status == 200 else _class(status))] += 1
        row[start + _COUNTS + bisect_left(BOUNDS, seconds)] += 1
        row[start + _ROUTE - 1] += seconds

    def set(self, **gauges: float) -> None:
        """How things stand in this worker now."""
        for name, value in gauges.items():
            self._row[len(ROUTES) * _ROUTE + GAUGES.index(name)] = value

    def text(self, version: str, domain: str) -> bytes:
        """Everything in Prometheus' text format, over all workers."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(self, version, domain))
        return generate_latest(registry)

    def total(self, place: int) -> float:
        """Of all workers' rows."""
        return sum(self._all[worker * WIDTH + place] for worker in range(self._workers))

    def of_workers(self, gauge: str) -> list[float]:
        place = len(ROUTES) * _ROUTE + GAUGES.index(gauge)
        return [self._all[worker * WIDTH + place] for worker in range(self._workers)]


class _Collected:
    """What the library asks for: the numbers with their names."""

    def __init__(self, metrics: Metrics, version: str, domain: str) -> None:
        self._metrics, self._version, self._domain = metrics, version, domain

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("bondhu_requests", "Requests by route and status.", labels=["route", "status"])
        seconds = HistogramMetricFamily("bondhu_request_seconds", "From the headers to the answer.", labels=["route"])
        for place, route in enumerate(ROUTES):
            start = place * _ROUTE
            for number, name in enumerate(CLASSES):
                requests.add_metric([route, name], self._metrics.total(start + number))
            seconds.add_metric([route], self._buckets(start), self._metrics.total(start + _ROUTE - 1))
        yield requests
        yield seconds
        for name, described in DESCRIBED.items():
            gauge = GaugeMetricFamily(f"bondhu_{name}", described, labels=["worker"])
            for worker, value in enumerate(self._metrics.of_workers(name)):
                gauge.add_metric([str(worker)], value)
            yield gauge
        acting = GaugeMetricFamily("bondhu_live_version", "The version in force.", labels=["domain", "version"])
        acting.add_metric([self._domain, self._version], 1.0)
        yield acting

    def _buckets(self, start: int) -> list[tuple[str, float]]:
        counts = [self._metrics.total(start + _COUNTS + number) for number in range(len(BOUNDS) + 1)]
        upto = [sum(counts[: number + 1]) for number in range(len(counts))]
        return [*zip([*map(str, BOUNDS), "+Inf"], upto, strict=True)]


DESCRIBED: Mapping[str, str] = {
    "rows_waiting": "Rows not yet committed.",
    "loop_lag_seconds": "How much later than asked for the event loop came to a timer.",
    "resident_bytes": "Memory that the worker has in use, shared pages included.",
    "degraded": "1 where the version in force cannot act.",
}


def _class(status: int) -> int:
    if status in (429, 503):
        return 4 if status == 429 else 5
    return min(max(status // 100, 2), 5) - 2
