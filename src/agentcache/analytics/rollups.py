"""From usage events to the sums that pages read. Pure: what to add, not how it is kept."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from operator import add, itemgetter
from typing import Any, Final, NamedTuple

from agentcache.analytics.histogram import BOUNDS_US, BUCKETS
from agentcache.gateway.ports import Outcome


class Grain(IntEnum):
    """How many seconds one sum covers. Each is a multiple of the one before, and all begin at 00:00 UTC."""

    FIVE_MINUTES = 300
    HOUR = 3600
    DAY = 86400
    #: From one Thursday to the next, as Unix time has it. Never shown as a bucket: it shortens long periods.
    WEEK = 604800


#: Dimensions by which a page may filter; every combination of their values has sums of its own.
FILTERED: Final = ("api_key", "member", "model", "namespace", "agent")
#: Dimensions by which figures are broken down. "" is everything.
DIMENSIONS: Final = ("", *FILTERED, "status", "freshness", "reason")
#: Values of one dimension that a team may add on one day; callers choose model, namespace and agent names freely.
VALUES_PER_DAY_MAX: Final = 200
#: Combinations of the filtered dimensions' values that a team may add on one day.
CELLS_PER_DAY_MAX: Final = 500
#: What stands for the values beyond.
OTHER: Final = "(other)"

#: requests, input tokens, output tokens, cost, saved, latency, upstream time, calls with an upstream time.
SUMS: Final = (
    "requests", "input_tokens", "output_tokens", "cost_usd_nanos", "saved_usd_nanos", "latency_us", "upstream_us",
    "upstream_calls",
)  # fmt: skip

HIT_OUTCOMES: Final = frozenset({Outcome.EXACT.value, Outcome.SEMANTIC.value, Outcome.STALE.value})
_MISS: Final = Outcome.MISS.value
_FURTHER: Final = DIMENSIONS[1 + len(FILTERED) :]
_FIRST_FAILED_STATUS: Final = 400
_FINEST: Final = int(Grain.FIVE_MINUTES)
_FINEST_MS: Final = _FINEST * 1000

Sums = list[int]
#: team, dimension, grain, start, value, outcome
TotalKey = tuple[str, str, int, int, str, str]
#: team, grain, start, api_key, member, model, namespace, agent, outcome
CellKey = tuple[str, int, int, str, str, str, str, str, str]
#: team, dimension, grain, start, value, answer
LatencyKey = tuple[str, str, int, int, str, str]


@dataclass(slots=True)
class Additions:
    """What one batch of events adds to the roll-ups."""

    totals: dict[TotalKey, Sums] = field(default_factory=dict)
    cells: dict[CellKey, Sums] = field(default_factory=dict)
    latencies: dict[LatencyKey, list[int]] = field(default_factory=dict)

    def leave_out(self, grain: Grain, before: int) -> None:
        """Take out the sums of one grain that begin before a Unix time."""
        for kept, at in self.tables():
            for key in [key for key in kept if key[at] == grain and key[at + 1] < before]:
                del kept[key]

    def tables(self) -> tuple[tuple[dict[Any, Sums], int], ...]:
        """Return each table's sums with the place of the grain in their keys; the start comes next."""
        return (self.totals, 2), (self.cells, 1), (self.latencies, 2)


class Seen:
    """Which values a team has used on a day, so that their number stays bounded. Kept by the one who writes roll-ups."""

    def __init__(
        self,
        values_of: Callable[[str, int, str], Iterable[str]],
        cells_of: Callable[[str, int], Iterable[tuple[str, ...]]],
        days_max: int = 2_000,
    ) -> None:
        self._values_of = values_of
        self._cells_of = cells_of
        self._days_max = days_max
        self._values: dict[tuple[str, int, str], set[str]] = {}
        self._cells: dict[tuple[str, int], set[tuple[str, ...]]] = {}

    def admit(self, team: str, day: int, dimension: str, value: str) -> str:
        """Return the value, or `OTHER` when the day has too many."""
        key = (team, day, dimension)
        known = self._values.get(key)
        if known is None:
            _make_room(self._values, self._days_max)
            known = self._values[key] = set(self._values_of(team, day, dimension))
        if value not in known:
            if len(known) >= VALUES_PER_DAY_MAX:
                return OTHER
            known.add(value)
        return value

    def admit_cell(self, team: str, day: int, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the combination; when the day has too many, with `OTHER` for all but the key and its member."""
        known = self._cells.get((team, day))
        if known is None:
            _make_room(self._cells, self._days_max)
            known = self._cells[team, day] = set(self._cells_of(team, day))
        if values not in known:
            if len(known) >= CELLS_PER_DAY_MAX:
                # Keys are bounded themselves, so that what each of them did stays exact.
                return (*values[:2], *(OTHER,) * (len(values) - 2))
            known.add(values)
        return values


def _make_room(kept: dict[Any, Any], most: int) -> None:
    # The oldest go first; one that is needed again is read again.
    while len(kept) >= most:
        kept.pop(next(iter(kept)))


def fold(rows: Sequence[Sequence[str | int]], columns: Sequence[str], seen: Seen) -> Additions:
    """Return what these rows of the events' table add to the roll-ups of every grain."""
    additions = Additions()
    for alike, (sums, counts) in _groups(rows, columns).items():
        _add_group(additions, _Alike(*alike), sums, counts, seen)
    _coarsen(additions)
    return additions


class _Alike(NamedTuple):
    """What a group of events has in common; all that the roll-ups distinguish."""

    team: str
    start: int
    outcome: str
    api_key: str
    member: str
    model: str
    namespace: str
    agent: str
    status: int
    freshness: str
    reason: str


_GROUPED = (
    "team_id", "at_ms", "outcome", "api_key_id", "user_id", "model", "namespace", "agent", "status", "freshness",
    "reason",
)  # fmt: skip
_SUMMED = SUMS[:-1]


def _groups(
    rows: Sequence[Sequence[str | int]], columns: Sequence[str]
) -> dict[tuple[Any, ...], tuple[Sums, dict[int, int]]]:
    present = [columns.index(name) if name in columns else -1 for name in _GROUPED]
    # A column that events do not have yet is empty.
    padded = [(*row, "") for row in rows]
    grouped = itemgetter(*present)
    summed = itemgetter(*(columns.index(name) for name in _SUMMED))
    groups: dict[tuple[Any, ...], tuple[Sums, dict[int, int]]] = {}
    for row in padded:
        team, at_ms, *rest = grouped(row)
        alike = (team, at_ms // _FINEST_MS * _FINEST, *rest)
        group = groups.get(alike)
        if group is None:
            group = groups[alike] = ([0] * len(SUMS), {})
        sums, counts = group
        requests, tokens_in, tokens_out, cost, saved, latency_us, upstream_us = summed(row)
        sums[0] += requests
        sums[1] += tokens_in
        sums[2] += tokens_out
        sums[3] += cost
        sums[4] += saved
        sums[5] += latency_us
        if upstream_us > 0:
            sums[6] += upstream_us
            sums[7] += 1
        bucket = bisect_left(BOUNDS_US, latency_us)
        counts[bucket] = counts.get(bucket, 0) + requests
    return groups


def _add_group(additions: Additions, alike: _Alike, sums: Sums, counts: Mapping[int, int], seen: Seen) -> None:
    team, start, outcome = alike.team, alike.start, alike.outcome
    day = start - start % Grain.DAY
    # In the order of `DIMENSIONS`.
    values = ["", *(seen.admit(team, day, name, value) for name, value in zip(FILTERED, alike[3:8], strict=True))]
    further = (str(alike.status), alike.freshness, alike.reason)
    values += [seen.admit(team, day, name, value) for name, value in zip(_FURTHER, further, strict=True)]
    for dimension, value in zip(DIMENSIONS, values, strict=True):
        _add(additions.totals, (team, dimension, _FINEST, start, value, outcome), sums)
    cell = seen.admit_cell(team, day, tuple(values[1 : 1 + len(FILTERED)]))
    _add(additions.cells, (team, _FINEST, start, *cell, outcome), sums)
    answer = answer_of(outcome, alike.status)
    if answer:
        spread = [0] * BUCKETS
        for bucket, count in counts.items():
            spread[bucket] = count
        for dimension, value in zip(("", *FILTERED), values, strict=False):
            _add(additions.latencies, (team, dimension, _FINEST, start, value, answer), spread)


def answer_of(outcome: str, status: int) -> str:
    """Return whose latency histogram a request belongs to: `hit`, `miss`, or "" for neither."""
    if status >= _FIRST_FAILED_STATUS:
        return ""
    return "hit" if outcome in HIT_OUTCOMES else "miss" if outcome == _MISS else ""


def _coarsen(additions: Additions) -> None:
    """Add the hours, days and weeks to the five minutes."""
    for finer, coarser in pairwise(Grain):
        grain = int(coarser)
        for kept, at in additions.tables():
            for key, sums in [item for item in kept.items() if item[0][at] == finer]:
                start = key[at + 1]
                _add(kept, (*key[:at], grain, start - start % grain, *key[at + 2 :]), sums)


def _add(kept: dict[Any, Sums], key: tuple[str | int, ...], sums: Sums) -> None:
    found = kept.get(key)
    kept[key] = [*sums] if found is None else [*map(add, found, sums)]
