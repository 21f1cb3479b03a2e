"""What a page of figures shows: key figures, charts and tables, as values that templates, CSV and tests read alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from zoneinfo import ZoneInfo

from agentcache.analytics import queries
from agentcache.analytics.asking import TITLES, Asking
from agentcache.analytics.definitions import BY_NAME
from agentcache.analytics.labels import labels_of
from agentcache.analytics.periods import Period
from agentcache.analytics.queries import Breakdown, BreakdownRow, TimeSaved, Totals, change
from agentcache.analytics.rollups import FILTERED
from agentcache.design import formats
from agentcache.design.charts import Chart, Kind, Series, Unit
from agentcache.teams.models import Team

Figure = Callable[[Totals], float | None]


@dataclass(frozen=True, slots=True)
class Stat:
    """One key figure with its change and its definition."""

    name: str
    value: str
    note: str = ""
    change: float | None = None
    is_more_good: bool = True
    #: Share points are not per cent.
    unit: str = "percent"
    title: str = ""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.title or BY_NAME[self.name].title

    @property
    def definition(self) -> str:
        """What it means."""
        return BY_NAME[self.name].text


@dataclass(frozen=True, slots=True)
class Column:
    """One column of figures."""

    title: str
    unit: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a dimension with its figures, and the address that looks at it alone."""

    value: str
    label: str
    figures: tuple[float | None, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Figures by one dimension."""

    id: str
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    #: How many values there are in all.
    values: int
    csv_url: str = ""
    note: str = ""

    @property
    def shown(self) -> list[tuple[Row, list[tuple[str, str]]]]:
        """The rows with each figure as text, beside its column's title."""
        return [
            (
                row,
                [
                    (title, formats.number(figure, unit))
                    for (title, unit), figure in zip(self.columns, row.figures, strict=True)
                ],
            )
            for row in self.rows
        ]

    @property
    def extent(self) -> str:
        """How much of all is shown."""
        return f"Showing the top {len(self.rows)} of {self.values:,}." if len(self.rows) < self.values else ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a page of figures shows."""

    stats: list[Stat]
    charts: list[Chart]
    tables: list[Table]
    notes: list[str] = field(default_factory=list)
    metrics: tuple[str, ...] = ()

    @property
    def definitions(self) -> list[object]:
        """The definitions of what is shown."""
        return [BY_NAME[name] for name in self.metrics]


REQUESTS = Column("Requests", "count", lambda totals: totals.requests)
HIT_RATE = Column("Hit rate", "percent", lambda totals: totals.hit_ratio)
COST = Column("Provider cost", "usd", lambda totals: totals.cost_usd_nanos / 1e9)
SAVED = Column("Net saved", "usd", lambda totals: totals.net_saved_usd_nanos / 1e9)
ERRORS = Column("Errors", "count", lambda totals: totals.errors)
REFUSED = Column("Refused", "count", lambda totals: totals.refused)
ERROR_RATE = Column("Error rate", "percent", lambda totals: totals.error_ratio)
HITS = Column("Hits", "count", lambda totals: totals.hits)
INPUT = Column("Input tokens", "count", lambda totals: totals.input_tokens)
OUTPUT = Column("Output tokens", "count", lambda totals: totals.output_tokens)
NOT_BOUGHT = Column("Not bought", "count", lambda totals: totals.saved_tokens)


class Material:
    """The figures that one page needs, each read once."""

    def __init__(self, team: Team, asking: Asking, csv_path: str = "") -> None:
        self.team = team
        self.asking = asking
        self.period = asking.period
        self.filters = asking.filters
        self._csv_path = csv_path
        self._breakdowns: dict[str, Breakdown] = {}

    @cached_property
    def series(self) -> list[Totals]:
        """Figures of each bucket."""
        return queries.timeseries(self.team, self.period, self.filters)

    @cached_property
    def series_before(self) -> list[Totals] | None:
        """Figures of the buckets of the period to compare with, as many as there are now; None when not wanted."""
        before = self.asking.before
        if before is None:
            return None
        found = queries.timeseries(self.team, before, self.filters)
        count = len(self.period.starts)
        return found[:count] + [Totals() for _ in range(count - len(found))]

    @cached_property
    def totals(self) -> Totals:
        """Figures of the whole period."""
        return summed(self.series)

    @cached_property
    def before(self) -> Totals:
        """Figures of the period before; none where its sums are not kept any more."""
        if self.series_before is not None:
            return summed(self.series_before)
        former = self.asking.former
        return Totals() if former is None else queries.totals(self.team, former, self.filters)

    @cached_property
    def time_saved(self) -> TimeSaved:
        """How much time hits saved."""
        if self.filters.outcome is None:
            return TimeSaved.of(row.totals for row in self.breakdown("model").rows)
        return queries.time_saved(self.team, self.period, self.filters)

    @property
    def time_saved_stat(self) -> Stat:
        """That as a figure; a note tells where it is known for some of the hits only."""
        saved = self.time_saved
        note = f"known for {formats.number(saved.hits_known)} of {formats.number(saved.hits)} hits"
        return Stat(
            "time_saved_seconds", formats.duration(saved.seconds), "" if saved.hits_known == saved.hits else note
        )

    def breakdown(self, by: str) -> Breakdown:
        """Return the figures of every value of a dimension, most requests first."""
        if by not in self._breakdowns:
            self._breakdowns |= self._read(by)
        return self._breakdowns[by]

    def _read(self, by: str) -> dict[str, Breakdown]:
        given = self.filters.dimensions
        if by in given:
            rows = (BreakdownRow(given[by], self.totals),) if self.totals.requests else ()
            return {by: Breakdown(by, rows, len(rows))}
        if given and by in FILTERED:
            # Filtered sums are many, and a page wants several breakdowns of the same ones.
            return queries.breakdowns(self.team, self.period, self.open_dimensions(*FILTERED), self.filters)
        return {by: queries.breakdown(self.team, self.period, by, self.filters, None)}

    def open_dimensions(self, *wanted: str) -> list[str]:
        """Return those of the dimensions that no filter holds to one value."""
        return [by for by in wanted if by not in self.filters.query]

    def csv_url(self, part: str) -> str:
        """Return where a part of the page can be had as CSV."""
        return self.asking.url(self._csv_path, part=part) if self._csv_path else ""

    def stat(
        self, name: str, figure: Figure, unit: str = "count", *, note: str = "", is_more_good: bool = True
    ) -> Stat:
        """Return a key figure with its change since the period before."""
        now, before = figure(self.totals), figure(self.before)
        if unit == "percent":
            points = now - before if now is not None and before is not None else None
            return Stat(name, formats.number(now, unit), note, points, is_more_good, "points")
        return Stat(name, formats.number(now, unit), note, change(now, before), is_more_good)

    def chart(
        self, name: str, title: str, caption: str, kind: Kind, unit: Unit, lines: Sequence[tuple[str, str, Figure]]
    ) -> Chart:
        """Return a chart over the period; lines are label, tone and figure."""
        series = [
            Series(
                label,
                [figure(one) for one in self.series],
                tone,
                None if self.series_before is None else [figure(one) for one in self.series_before],
            )
            for label, tone, figure in lines
        ]
        return chart_of(self.period, name, title, caption, kind, unit, series, self.csv_url(name))

    def table(
        self, by: str, columns: Sequence[Column], *, top: int = queries.ROWS_MAX, order: Figure | None = None
    ) -> Table:
        """Return figures by one dimension."""
        found = self.breakdown(by)
        rows = sorted(found.rows, key=lambda row: -(order(row.totals) or 0)) if order else list(found.rows)
        shown = rows[:top]
        labels = labels_of(self.team, by, [row.value for row in shown])
        may_filter = by in (*FILTERED, "outcome")
        return Table(
            by,
            TITLES[by],
            tuple((column.title, column.unit) for column in columns),
            tuple(
                Row(
                    row.value,
                    labels[row.value],
                    tuple(column.figure(row.totals) for column in columns),
                    self.asking.filtered(by, row.value) if may_filter else "",
                )
                for row in shown
            ),
            found.values,
            self.csv_url(by),
        )


def summed(parts: Iterable[Totals]) -> Totals:
    """Return the sum of figures."""
    found = Totals()
    for part in parts:
        for outcome, sums in part.sums.items():
            found.add(outcome, sums)
    return found


def chart_of(
    period: Period, name: str, title: str, caption: str, kind: Kind, unit: Unit, series: Sequence[Series], csv_url: str
) -> Chart:
    """Return a chart over a period's buckets."""
    zone = ZoneInfo(period.zone)
    return Chart(
        id=name,
        title=title,
        caption=caption,
        kind=kind,
        unit=unit,
        starts=[datetime.fromtimestamp(start, zone) for start in period.starts],
        series=series,
        bucket=period.bucket_label,
        is_last_open=period.unfinished == len(period.starts) - 1,
        csv_url=csv_url,
    )


def chart_rows(chart: Chart) -> tuple[list[str], list[list[object]]]:
    """Return a chart as head and rows of a CSV file: the same figures, not rounded."""
    columns = [
        (name, values)
        for one in chart.series
        for name, values in ((one.label, one.values), (f"{one.label}, before", one.before))
        if values is not None
    ]
    head = ["start", *(name for name, _ in columns)]
    rows: list[list[object]] = [
        [start.astimezone(UTC).isoformat(), *(_cell(chart.filled(values)[at]) for _, values in columns)]
        for at, start in enumerate(chart.starts)
    ]
    return head, rows


def table_rows(table: Table) -> tuple[list[str], list[list[object]]]:
    """Return a table as head and rows of a CSV file."""
    head = [table.id, "label", *(f"{title} ({unit})" if unit != "count" else title for title, unit in table.columns)]
    return head, [[row.value, row.label, *map(_cell, row.figures)] for row in table.rows]


def _cell(value: float | None) -> object:
    return "" if value is None else value
