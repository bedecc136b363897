"""What a server counts, out of Prometheus' text format: requests by status, how long they take, how its workers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

QUANTILES = (0.5, 0.95, 0.99)


class Route(NamedTuple):
    """The requests to one route."""

    name: str
    requests: int
    mean: float  # seconds; NaN without requests
    quantiles: tuple[float, ...]  # seconds, in the order of QUANTILES; infinite beyond the last bound
    last: float  # seconds; the last bound of a bucket
    statuses: Mapping[str, int]  # by class of status


class Worker(NamedTuple):
    """How one worker is."""

    name: str
    waiting: int  # rows not yet committed
    lag: float  # seconds that its event loop came late to a timer
    memory: float  # bytes
    degraded: bool  # whether the version in force cannot act there


@dataclass(frozen=True)
class Served:
    """Since the server started."""

    routes: Sequence[Route] = ()
    workers: Sequence[Worker] = ()
    buckets: Mapping[str, Sequence[tuple[float, int]]] = field(default_factory=dict)  # by route: (bound, how many)

    @property
    def waiting(self) -> int:
        """Rows not yet committed, of all workers."""
        return sum(each.waiting for each in self.workers)


def served(text: str) -> Served | None:
    """What the text says; None where it is empty, or is no such text."""
    try:
        families = {each.name: each.samples for each in text_string_to_metric_families(text)}
    except (ValueError, LookupError, TypeError, AttributeError):  # whatever the parser makes of it
        return None
    if "bondhu_requests" not in families:
        return None
    counted: dict[str, dict[str, int]] = {}
    for each in families["bondhu_requests"]:
        if each.name.endswith("_total"):
            counted.setdefault(each.labels["route"], {})[each.labels["status"]] = int(each.value)
    upto: dict[str, list[tuple[float, float]]] = {}
    seconds: dict[str, float] = {}
    for each in families.get("bondhu_request_seconds", []):
        if each.name.endswith("_bucket"):
            upto.setdefault(each.labels["route"], []).append((float(each.labels["le"]), each.value))
        if each.name.endswith("_sum"):
            seconds[each.labels["route"]] = each.value
    routes = [_route(name, statuses, upto.get(name, []), seconds.get(name, 0.0)) for name, statuses in counted.items()]
    return Served(routes, _workers(families), {name: _inside(each) for name, each in upto.items()})


def _route(name: str, statuses: Mapping[str, int], upto: Sequence[tuple[float, float]], seconds: float) -> Route:
    requests = int(upto[-1][1]) if upto else sum(statuses.values())
    quantiles = tuple(quantile(upto, each) for each in QUANTILES)
    last = max((bound for bound, _ in upto if isfinite(bound)), default=inf)
    return Route(name, requests, seconds / requests if requests else float("nan"), quantiles, last, statuses)


def quantile(upto: Sequence[tuple[float, float]], share: float) -> float:
    """Of a histogram `(bound, how many are at most that)`, ascending: linear inside of the bucket where it lies, as
    Prometheus has it. NaN without requests; infinite where it lies beyond the last finite bound."""
    total = upto[-1][1] if upto else 0.0
    if not total:
        return float("nan")
    rank, below, under = share * total, 0.0, 0.0
    for bound, count in upto:
        if count >= rank and count > under:
            return below + (bound - below) * (rank - under) / (count - under) if isfinite(bound) else inf
        below, under = bound, count
    return inf


def _inside(upto: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    before = [0.0, *(count for _, count in upto)]
    return [(bound, int(count - under)) for (bound, count), under in zip(upto, before, strict=False)]


def _workers(families: Mapping[str, Sequence[object]]) -> list[Worker]:
    found: dict[str, dict[str, float]] = {}
    for name in ("rows_waiting", "loop_lag_seconds", "resident_bytes", "degraded"):
        for each in families.get(f"bondhu_{name}", ()):
            labels, value = each.labels, each.value  # type: ignore[attr-defined]  # the library is not typed
            found.setdefault(labels["worker"], {})[name] = value
    return [
        Worker(
            name,
            int(of.get("rows_waiting", 0)),
            of.get("loop_lag_seconds", 0.0),
            of.get("resident_bytes", 0.0),
            bool(of.get("degraded", 0.0)),
        )
        for name, of in found.items()
    ]
