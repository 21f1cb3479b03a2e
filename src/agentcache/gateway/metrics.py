"""Counters for Prometheus: plain integers on the hot path, one snapshot file per worker, summed when scraped."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from agentcache.gateway.worker_files import WorkerFile, abandoned_files

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Upper bounds in microseconds: 50 us (a hit) to 60 s (a long answer).
LATENCY_BOUNDS_US = (
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
)  # fmt: skip


class Histogram(msgspec.Struct):
    """Counts per bucket (the last is everything above the bounds) and the sum in microseconds."""

    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_US) + 1))
    sum_us: int = 0

    def observe(self, value_us: int) -> None:
        """Count one value."""
        self.buckets[bisect_left(LATENCY_BOUNDS_US, value_us)] += 1
        self.sum_us += value_us

    def add(self, other: Histogram) -> None:
        """Add another histogram's counts."""
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.sum_us += other.sum_us


class Snapshot(msgspec.Struct):
    """All counters of one worker. Keys are `dialect|outcome` and plain names."""

    latency: dict[str, Histogram] = msgspec.field(default_factory=dict)
    upstream: dict[str, Histogram] = msgspec.field(default_factory=dict)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    gauges: dict[str, float] = msgspec.field(default_factory=dict)
    looks: dict[str, Histogram] = msgspec.field(default_factory=dict)

    def add(self, other: Snapshot) -> None:
        """Add another worker's counters."""
        for mine, theirs in (
            (self.latency, other.latency),
            (self.upstream, other.upstream),
            (self.looks, other.looks),
        ):
            for name, histogram in theirs.items():
                mine.setdefault(name, Histogram()).add(histogram)
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for name, gauge in other.gauges.items():
            self.gauges[name] = self.gauges.get(name, 0) + gauge


#: Plain counters: name -> help text. Only these may be counted.
COUNTERS = {
    "store_errors": "Cache store operations that failed or ran out of time",
    "stored": "Answers stored",
    "not_stored": "Answers that were not stored",
    "events_dropped": "Usage events dropped because the database was away too long",
    "semantic_learned": "Questions whose answers near questions may share",
    "semantic_dropped": "Answers that near questions could not learn from: the embedder, the index or the queue was in trouble",
    "flights_followed": "Requests that shared another worker's upstream call",
}
_KIND = "metrics"
GAUGES = {"flights": "Upstream calls in progress", "waiting_events": "Usage events not yet handed on"}


class Metrics:
    """This worker's counters. Labels are dialects and outcomes only: never keys, models of a caller's making or text."""

    def __init__(self, run_dir: Path | None = None) -> None:
        self.mine = Snapshot()
        self._run_dir = run_dir
        self._file = WorkerFile(run_dir, _KIND) if run_dir is not None else None
        self._latency: dict[tuple[str, str], Histogram] = {}

    def count_call(self, dialect: str, outcome: str, latency_us: int, upstream_us: int) -> None:
        """Count one request to a provider's route."""
        histogram = self._latency.get((dialect, outcome))
        if histogram is None:
            histogram = self.mine.latency.setdefault(f"{dialect}|{outcome}", Histogram())
            self._latency[dialect, outcome] = histogram
        histogram.buckets[bisect_left(LATENCY_BOUNDS_US, latency_us)] += 1
        histogram.sum_us += latency_us
        if upstream_us:
            self.mine.upstream.setdefault(dialect, Histogram()).observe(upstream_us)

    def count(self, name: str, number: int = 1) -> None:
        """Count one of `COUNTERS`."""
        self.mine.counts[name] = self.mine.counts.get(name, 0) + number

    def count_look(self, result: str, look_us: int) -> None:
        """Count one look-up of a near question."""
        self.mine.looks.setdefault(result, Histogram()).observe(look_us)

    def gauge(self, name: str, value: float) -> None:
        """Set one of `GAUGES`."""
        self.mine.gauges[name] = value

    def count_dropped_events(self, number: int) -> None:
        """Count usage events that were dropped."""
        self.count("events_dropped", number)

    def publish(self) -> None:
        """Leave this worker's counters where any worker can sum them up."""
        if self._file is None:
            return
        try:
            _write(self._file.descriptor, self.mine)
        except OSError:
            self.count("store_errors")  # a full disk must not stop the meter; the next round tries again

    def adopt(self) -> None:
        """Take over the counters of workers that have ended: counters must not go back when a worker is replaced."""
        for path in abandoned_files(self._run_dir, _KIND) if self._run_dir is not None else ():
            ended = _read(path)
            if ended is not None:
                ended.gauges.clear()
                self.mine.add(ended)
        self._latency.clear()

    def close(self) -> None:
        """Publish a last time; another worker adopts the file."""
        self.publish()
        if self._file is not None:
            self._file.close(remove=False)

    def exposition(self) -> bytes:
        """Return the text that Prometheus scrapes, summed over all workers."""
        registry = CollectorRegistry()
        registry.register(_Sum(self._all()))
        return generate_latest(registry)

    def _all(self) -> Snapshot:
        total = Snapshot()
        total.add(self.mine)
        own = self._file.path if self._file is not None else None
        for path in self._run_dir.glob(f"{_KIND}-*") if self._run_dir is not None else ():
            others = _read(path) if path != own else None
            if others is not None:
                total.add(others)
        return total


def _write(descriptor: int, snapshot: Snapshot) -> None:
    # One write with the length first: a reader that comes in between sees a length that does not fit.
    raw = msgspec.msgpack.encode(snapshot)
    os.pwrite(descriptor, len(raw).to_bytes(8, "big") + raw, 0)


def _read(path: Path) -> Snapshot | None:
    """Return another worker's counters, or None when they are half written or of another version."""
    try:
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "big")
        return msgspec.msgpack.decode(raw[8 : 8 + size], type=Snapshot)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


class _Sum(Collector):
    def __init__(self, total: Snapshot) -> None:
        self._total = total

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "agentcache_requests", "Requests by dialect and outcome", None, ["dialect", "outcome"]
        )
        latency = HistogramMetricFamily(
            "agentcache_request_seconds", "Time in the gateway, upstream time included", labels=["dialect", "outcome"]
        )
        for name, histogram in sorted(self._total.latency.items()):
            labels = name.split("|")
            requests.add_metric(labels, sum(histogram.buckets))
            latency.add_metric(labels, list(_cumulative(histogram)), histogram.sum_us / 1e6)
        yield requests
        yield latency
        upstream = HistogramMetricFamily("agentcache_upstream_seconds", "Time the provider took", labels=["dialect"])
        for name, histogram in sorted(self._total.upstream.items()):
            upstream.add_metric([name], list(_cumulative(histogram)), histogram.sum_us / 1e6)
        yield upstream
        looks = HistogramMetricFamily(
            "agentcache_semantic_look_seconds", "Time of a look-up of a near question, by its result", labels=["result"]
        )
        for name, histogram in sorted(self._total.looks.items()):
            looks.add_metric([name], list(_cumulative(histogram)), histogram.sum_us / 1e6)
        yield looks
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"agentcache_{name}", text, self._total.counts.get(name, 0))
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"agentcache_{name}", text, self._total.gauges.get(name, 0))


def _cumulative(histogram: Histogram) -> Iterable[tuple[str, float]]:
    total = 0
    for bound, count in zip((*LATENCY_BOUNDS_US, None), histogram.buckets, strict=True):
        total += count
        yield ("+Inf" if bound is None else str(bound / 1e6), total)
