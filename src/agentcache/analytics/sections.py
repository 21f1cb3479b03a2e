"""The pages of analytics, each a report: cost, latency, tokens, errors, freshness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agentcache.analytics import queries
from agentcache.analytics.asking import TITLES
from agentcache.analytics.histogram import ERROR_SHARE
from agentcache.analytics.labels import labels_of
from agentcache.analytics.queries import Latency, Percentiles, Totals
from agentcache.analytics.queries.latency import may_tell
from agentcache.analytics.reports import (
    COST,
    ERROR_RATE,
    ERRORS,
    HIT_RATE,
    HITS,
    INPUT,
    NOT_BOUGHT,
    OUTPUT,
    REFUSED,
    REQUESTS,
    SAVED,
    Column,
    Figure,
    Material,
    Report,
    Row,
    Stat,
    Table,
    chart_of,
)
from agentcache.design import formats
from agentcache.design.charts import Chart, Series
from agentcache.engine.freshness import Freshness
from agentcache.gateway.ports import Outcome

#: Label, tone and outcome of what charts of requests are made of.
_OUTCOMES: Final = (
    ("Exact hits", "hit", Outcome.EXACT),
    ("Semantic hits", "semantic", Outcome.SEMANTIC),
    ("Stale hits", "stale", Outcome.STALE),
    ("Coalesced", "coalesced", Outcome.COALESCED),
    ("Misses", "miss", Outcome.MISS),
    ("Bypasses", "bypass", Outcome.BYPASS),
    ("Errors", "error", Outcome.ERROR),
    ("Refused", "refused", Outcome.REFUSED),
)
#: Models without a price that are named.
_UNPRICED_SHOWN: Final = 5
_BROKEN_DOWN: Final = ("model", "api_key", "namespace", "agent", "member")


def requests_chart(material: Material) -> Chart:
    """Show how requests ended; ways that did not occur are left out, hits and misses always shown."""
    shown: Sequence[tuple[str, str, Figure]] = [
        (label, tone, _number_of(outcome))
        for label, tone, outcome in _OUTCOMES
        if outcome in (Outcome.EXACT, Outcome.MISS) or material.totals.by_outcome[outcome]
    ]
    totals = material.totals
    takeaway = (
        f"{formats.number(totals.hit_ratio, 'percent')} of {formats.number(totals.lookups)} look-ups were hits."
        if totals.lookups
        else "Nothing was looked up."
    )
    return material.chart("requests", "Requests", takeaway, "bars", "count", shown)


def _number_of(outcome: Outcome) -> Figure:
    return lambda totals: totals.sum_of("requests", (outcome,))


def cost(material: Material) -> Report:
    """Show what was paid and what was saved."""
    totals = material.totals
    stats = [
        material.stat("net_saved_usd", SAVED.figure, "usd"),
        material.stat("saved_usd", lambda one: one.saved_usd_nanos / 1e9, "usd"),
        material.stat("caching_cost_usd", lambda one: one.caching_cost_usd_nanos / 1e9, "usd", is_more_good=False),
        material.stat("cost_usd", COST.figure, "usd", is_more_good=False),
    ]
    chart = material.chart(
        "cost", "Paid and saved",
        f"{formats.usd(totals.cost_usd_nanos / 1e9)} went to providers, {formats.usd(totals.net_saved_usd_nanos / 1e9)} was "
        "saved after the cost of caching.",
        "bars", "usd", [("Net saved", "saved", SAVED.figure), ("Provider cost", "cost", COST.figure)],
    )  # fmt: skip
    tables = [
        material.table(by, (REQUESTS, COST, SAVED, HIT_RATE), order=_at_stake)
        for by in material.open_dimensions(*_BROKEN_DOWN)
    ]
    metrics = ("net_saved_usd", "saved_usd", "caching_cost_usd", "cost_usd", "hit_ratio")
    return Report(stats, [chart], tables, _unpriced(material), metrics)


def _unpriced(material: Material) -> list[str]:
    """Name the models whose price is not known, for they are missing in every amount and in every budget."""
    found = [(row.value, row.totals.misses) for row in material.breakdown("model").rows if row.totals.is_unpriced]
    if not found:
        return []
    named = ", ".join(f"{model or 'no model'} ({formats.number(misses)})" for model, misses in found[:_UNPRICED_SHOWN])
    more = f" and {len(found) - _UNPRICED_SHOWN} more" if len(found) > _UNPRICED_SHOWN else ""
    note = (
        f"Calls of models without a known price count as $0.00, here and in budgets that let them pass: {named}{more}."
    )
    return [f"{note} An operator can set prices of your own."]


def _at_stake(totals: Totals) -> float:
    return totals.cost_usd_nanos + totals.saved_usd_nanos


def tokens(material: Material) -> Report:
    """Show the tokens that were asked and answered, and those that were not bought."""
    totals = material.totals
    stats = [
        material.stat("input_tokens", INPUT.figure, is_more_good=False),
        material.stat("output_tokens", OUTPUT.figure, is_more_good=False),
        material.stat("saved_tokens", NOT_BOUGHT.figure),
    ]
    chart = material.chart(
        "tokens", "Tokens", f"{formats.number(totals.saved_tokens)} of "
        f"{formats.number(totals.input_tokens + totals.output_tokens)} tokens were not bought.",
        "bars", "tokens",
        [("Not bought", "hit", NOT_BOUGHT.figure), ("Bought", "miss", lambda one: one.bought_tokens)],
    )  # fmt: skip
    tables = [
        material.table(
            by, (REQUESTS, INPUT, OUTPUT, NOT_BOUGHT), order=lambda one: one.input_tokens + one.output_tokens
        )
        for by in material.open_dimensions(*_BROKEN_DOWN)
    ]
    return Report(stats, [chart], tables, metrics=("input_tokens", "output_tokens", "saved_tokens"))


def errors(material: Material) -> Report:
    """Show what ended without an answer."""
    stats = [
        material.stat("errors", ERRORS.figure, is_more_good=False),
        material.stat("error_ratio", ERROR_RATE.figure, "percent", is_more_good=False),
        material.stat("refused", REFUSED.figure, is_more_good=False),
        material.stat("requests", REQUESTS.figure),
    ]
    totals = material.totals
    charts = [
        material.chart(
            "errors", "Errors", f"{formats.number(totals.errors)} of {formats.number(totals.requests)} requests failed, "
            f"{formats.number(totals.refused)} were refused.",
            "bars", "count", [("Errors", "error", ERRORS.figure), ("Refused", "refused", REFUSED.figure)],
        ),
        material.chart(
            "error-rate", "Error rate", "Share of the requests let in that failed.", "lines", "percent",
            [("Error rate", "error", ERROR_RATE.figure)],
        ),
    ]  # fmt: skip
    tables = [
        material.table(by, (REQUESTS, ERRORS, ERROR_RATE, REFUSED), order=_in_vain)
        for by in material.open_dimensions(*_BROKEN_DOWN)
    ]
    notes = []
    if material.filters.dimensions:
        notes.append("The table by status stands without filters only.")
    else:
        tables.insert(0, material.table("status", (REQUESTS, ERRORS, REFUSED)))
    return Report(stats, charts, tables, notes, ("errors", "error_ratio", "refused", "requests"))


def _in_vain(totals: Totals) -> float:
    return totals.errors + totals.refused


def freshness(material: Material) -> Report:
    """Show how requests met the cache, and how fresh what they got was."""
    stats = [
        material.stat(
            "hit_ratio", HIT_RATE.figure, "percent", note=f"of {formats.number(material.totals.lookups)} look-ups"
        ),
        material.stat("hits", HITS.figure),
        material.stat("coalesced", lambda one: one.coalesced),
        material.stat("misses", lambda one: one.misses, is_more_good=False),
        material.stat("bypasses", lambda one: one.bypasses, is_more_good=False),
    ]
    charts = [
        requests_chart(material),
        material.chart(
            "hit-rate", "Hit rate", "Share of look-ups that were hits.", "lines", "percent",
            [("Hit rate", "hit", HIT_RATE.figure)],
        ),
    ]  # fmt: skip
    tables = [
        material.table(by, (REQUESTS, HITS, HIT_RATE)) for by in material.open_dimensions(*_BROKEN_DOWN, "outcome")
    ]
    notes = []
    if material.filters.dimensions:
        notes.append("The tables by freshness and by reason, and the chart by freshness, stand without filters only.")
    else:
        charts.insert(1, _served_chart(material))
        tables = [material.table("freshness", (REQUESTS,)), material.table("reason", (REQUESTS,)), *tables]
    return Report(stats, charts, tables, notes, ("hit_ratio", "hits", "coalesced", "misses", "bypasses"))


#: Label, tone and state of what answers from the cache were when they were served.
_STATES: Final = (
    ("Fresh", "hit", Freshness.FRESH),
    ("Stale", "stale", Freshness.STALE),
    ("Expired", "error", Freshness.EXPIRED),
)


def _served_chart(material: Material) -> Chart:
    """Show how many answers from the cache were fresh, stale and expired when they were served."""
    period = material.period
    found = queries.timeseries_by(material.team, period, "freshness")
    nothing = [0] * len(period.starts)
    by_state = [(label, tone, found.get(state.value, nothing)) for label, tone, state in _STATES]
    served = sum(sum(counts) for _, _, counts in by_state)
    fresh = sum(by_state[0][2])
    takeaway = (
        f"{formats.number(fresh / served, 'percent')} of {formats.number(served)} answers from the cache were fresh."
        if served
        else "Nothing was served from the cache."
    )
    # Answers past their lifetime are rare, and never shown by leaving them out.
    series = [Series(label, [float(one) for one in counts], tone) for label, tone, counts in by_state]
    name = "served-freshness"
    return chart_of(
        period, name, "Answers from the cache, by freshness", takeaway, "bars", "count", series, material.csv_url(name)
    )


def latency(material: Material) -> Report:
    """Show how long answers took, hits and misses apart."""
    notes = [f"Percentiles are off by at most {ERROR_SHARE * 100:.0f} %; see the definition."]
    if not may_tell(material.filters):
        notes.append("Percentiles take one filter at a time, and none by outcome: choose one to see them.")
        return Report([], [], [], notes, ("latency_p50", "time_saved_seconds"))
    team, period, filters = material.team, material.period, material.filters
    now, former = queries.latency(team, period, filters), material.asking.former
    before = queries.latency(team, former, filters) if former is not None else queries.NO_LATENCY
    stats = [
        *(_percentile_stat(kind, share, now, before) for kind in ("hit", "miss") for share in ("p50", "p95", "p99")),
        material.time_saved_stat,
    ]
    series = queries.latency_series(team, period, filters)
    compared = queries.latency_series(team, asked, filters) if (asked := material.asking.before) else None
    charts = [
        _percentile_chart(material, "hit", "Hits", series, compared),
        _percentile_chart(material, "miss", "Misses", series, compared),
    ]
    tables = (
        []
        if filters.dimensions
        else [_percentile_table(material, by) for by in material.open_dimensions(*_BROKEN_DOWN)]
    )
    return Report(stats, charts, tables, notes, ("latency_p50", "time_saved_seconds"))


def _percentile_stat(kind: str, share: str, now: Latency, before: Latency) -> Stat:
    found, former = _percentile(now, kind, share), _percentile(before, kind, share)
    percentiles: Percentiles = getattr(now, kind)
    weak = " · too few to say" if percentiles.is_weak else ""
    note = f"{formats.number(percentiles.requests)} {'hits' if kind == 'hit' else 'misses'}{weak}"
    title = f"{'Hits' if kind == 'hit' else 'Misses'}, {share}"
    return Stat(
        "latency_p50", formats.number(found, "ms"), note, queries.change(found, former), is_more_good=False, title=title
    )


def _percentile(latency: Latency, kind: str, share: str) -> float | None:
    found: float | None = getattr(getattr(latency, kind), f"{share}_us")
    return None if found is None else found / 1000


def _percentile_chart(
    material: Material, kind: str, title: str, series: Sequence[Latency], compared: Sequence[Latency] | None
) -> Chart:
    count = len(material.period.starts)
    lines = []
    for share, tone in (("p50", "1"), ("p95", "2"), ("p99", "3")):
        before = None
        if compared is not None:
            before = [_percentile(one, kind, share) for one in compared][:count]
            before += [None] * (count - len(before))
        lines.append(Series(share, [_percentile(one, kind, share) for one in series], tone, before))
    name = f"latency-{kind}"
    return chart_of(
        material.period, name, f"Latency of {title.lower()}", f"Time that 50, 95 and 99 % of the {title.lower()} did not "
        "exceed.", "lines", "ms", lines, material.csv_url(name),
    )  # fmt: skip


def _percentile_table(material: Material, by: str) -> Table:
    found, values = queries.latency_breakdown(material.team, material.period, by)
    labels = labels_of(material.team, by, [value for value, _ in found])
    columns = tuple((f"{word} {share}", "ms") for word in ("Hits", "Misses") for share in ("p50", "p95", "p99"))
    rows = tuple(
        Row(
            value,
            labels[value],
            tuple(_percentile(one, kind, share) for kind in ("hit", "miss") for share in ("p50", "p95", "p99")),
            material.asking.filtered(by, value),
        )
        for value, one in found
    )
    return Table(by, TITLES[by], columns, rows, values, material.csv_url(by))


SECTIONS: Final[Mapping[str, tuple[str, Callable[[Material], Report]]]] = {
    "cost": ("Cost", cost),
    "latency": ("Latency", latency),
    "tokens": ("Tokens", tokens),
    "errors": ("Errors", errors),
    "freshness": ("Freshness", freshness),
}
__all__ = ["SECTIONS", "Column", "requests_chart"]
