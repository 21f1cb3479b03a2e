"""Every read of usage: the one layer that pages, APIs and exports share."""

from __future__ import annotations

from agentcache.analytics.queries.events import (
    SEARCHED_MAX,
    EventFilters,
    EventPage,
    data_as_of,
    find_event,
    has_ended_so,
    has_events,
    list_events,
    lost_events,
)
from agentcache.analytics.queries.figures import TimeSaved, Totals, change
from agentcache.analytics.queries.filters import BREAKDOWNS, NO_FILTERS, NONE, Filters
from agentcache.analytics.queries.hits import entry_hits, near_answer
from agentcache.analytics.queries.installation import active_teams, installation_latency, installation_totals
from agentcache.analytics.queries.latency import (
    NO_LATENCY,
    Latency,
    Percentiles,
    latency,
    latency_breakdown,
    latency_series,
)
from agentcache.analytics.queries.sums import (
    ROWS_MAX,
    Breakdown,
    BreakdownRow,
    breakdown,
    breakdowns,
    time_saved,
    timeseries,
    timeseries_by,
    totals,
)
from agentcache.analytics.queries.traffic import most_asked, past_traffic

__all__ = [
    "BREAKDOWNS",
    "NONE",
    "NO_FILTERS",
    "NO_LATENCY",
    "ROWS_MAX",
    "SEARCHED_MAX",
    "Breakdown",
    "BreakdownRow",
    "EventFilters",
    "EventPage",
    "Filters",
    "Latency",
    "Percentiles",
    "TimeSaved",
    "Totals",
    "active_teams",
    "breakdown",
    "breakdowns",
    "change",
    "data_as_of",
    "entry_hits",
    "find_event",
    "has_ended_so",
    "has_events",
    "installation_latency",
    "installation_totals",
    "latency",
    "latency_breakdown",
    "latency_series",
    "list_events",
    "lost_events",
    "most_asked",
    "near_answer",
    "past_traffic",
    "time_saved",
    "timeseries",
    "timeseries_by",
    "totals",
]
