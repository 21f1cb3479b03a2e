"""Charts as plain values. The server renders them as tables; browsers with scripts draw the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

Value = float | None
#: `usd` are dollars, `percent` are shares (0.5 is 50 %), `ms` are milliseconds.
Unit = Literal["count", "usd", "percent", "ms", "bytes", "seconds", "tokens"]
Kind = Literal["bars", "lines", "areas"]
#: What is summed up: nothing happened means zero. Of the others it means that there is no figure.
_SUMS: Final = frozenset({"count", "usd", "bytes", "seconds", "tokens"})
TONES: Final = (
    "hit", "semantic", "stale", "coalesced", "miss", "bypass", "error", "refused", "saved", "cost", "1", "2", "3", "4", "5", "6",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one layer. The tone is its colour, in every chart the same."""

    label: str
    values: Sequence[Value]
    tone: str = "1"
    #: The period before, bucket by bucket.
    before: Sequence[Value] | None = None

    def __post_init__(self) -> None:
        if self.tone not in TONES:
            raise ValueError(f"{self.tone} is no colour of a series; they are {', '.join(TONES)}")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure over time: equal buckets, one unit."""

    id: str
    title: str
    #: What the chart shows, in a sentence.
    caption: str
    kind: Kind
    unit: Unit
    #: When each bucket starts.
    starts: Sequence[datetime]
    series: Sequence[Series]
    #: The bucket in words: "per hour, UTC".
    bucket: str = ""
    #: The last bucket has not ended yet.
    is_last_open: bool = False
    #: Names of the buckets in the table; made from `starts` when empty.
    labels: Sequence[str] = ()
    csv_url: str = ""
    note: str = ""
    #: Whether no value means zero; by default so for sums, never for averages and shares.
    fills: bool | None = None

    def __post_init__(self) -> None:
        for series in self.series:
            for values in (series.values, series.before):
                if values is not None and len(values) != len(self.starts):
                    raise ValueError(f"{series.label} has {len(values)} values for {len(self.starts)} buckets")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw: no figure, or sums of nothing."""
        return not any(
            value
            for series in self.series
            for values in (series.values, series.before or ())
            for value in self._drawn(values)
        )

    @property
    def has_comparison(self) -> bool:
        """Whether the period before is shown, too."""
        return any(series.before is not None for series in self.series)

    @property
    def columns(self) -> list[str]:
        """The table's columns beside the time."""
        return [name for series in self.series for name in _columns_of(series)]

    @property
    def rows(self) -> list[tuple[str, list[Value]]]:
        """The table: the name of each bucket with the value of each column."""
        columns = [
            self.filled(values)
            for series in self.series
            for values in (series.values, series.before)
            if values is not None
        ]
        return [(label, [column[at] for column in columns]) for at, label in enumerate(self._labels())]

    def filled(self, values: Sequence[Value]) -> list[Value]:
        """Return values as they count: a sum that is missing is zero, an average that is missing is a gap."""
        fills = self.unit in _SUMS if self.fills is None else self.fills
        return [0 if value is None and fills else value for value in values]

    def _drawn(self, values: Sequence[Value]) -> list[bool]:
        fills = self.unit in _SUMS if self.fills is None else self.fills
        return [bool(value) if fills else value is not None for value in values]

    def as_json(self) -> dict[str, Any]:
        """Return what the drawing script reads."""
        return {
            "kind": self.kind,
            "unit": self.unit,
            "title": self.title,
            "caption": self.caption,
            "isLastOpen": self.is_last_open,
            "starts": [start.isoformat() for start in self.starts],
            "labels": list(self._labels()),
            "series": [
                {
                    "label": series.label,
                    "tone": series.tone,
                    "values": self.filled(series.values),
                    "before": None if series.before is None else self.filled(series.before),
                }
                for series in self.series
            ],
        }

    def _labels(self) -> Sequence[str]:
        if self.labels:
            return self.labels
        has_times = len(self.starts) > 1 and (self.starts[1] - self.starts[0]).total_seconds() < 86_400
        shape = "%Y-%m-%d %H:%M" if has_times else "%Y-%m-%d"
        labels = [start.strftime(shape) for start in self.starts]
        if self.is_last_open and labels:
            labels[-1] += " (so far)"
        return labels


def _columns_of(series: Series) -> list[str]:
    return [series.label] if series.before is None else [series.label, f"{series.label}, before"]


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small line without axes, as polylines and single dots in a box of 100 × 24."""

    lines: list[str]
    dots: list[tuple[str, str]]

    @classmethod
    def of(cls, values: Sequence[Value]) -> Sparkline:
        """Return the line through the values; it breaks where there is none."""
        known = [value for value in values if value is not None]
        low, high = min([0, *known]), max([0, *known])
        span = (high - low) or 1
        step = 100 / max(1, len(values) - 1)
        lines: list[str] = []
        dots: list[tuple[str, str]] = []
        run: list[tuple[str, str]] = []
        for at, value in enumerate((*values, None)):
            if value is not None:
                run.append((f"{at * step:.2f}", f"{22 - (value - low) / span * 20:.2f}"))
                continue
            if len(run) == 1:
                dots.append(run[0])
            elif run:
                lines.append(" ".join(f"{x},{y}" for x, y in run))
            run = []
        return cls(lines, dots)
