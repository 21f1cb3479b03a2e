"""Deletes usage that is kept no longer, in small pieces, so that writers get their turn in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.db.models import Model, QuerySet

from agentcache.analytics.models import UsageCell, UsageEvent, UsageLatency, UsageTotal
from agentcache.analytics.retention import ROLLUP_DAYS
from agentcache.analytics.rollups import DIMENSIONS, FILTERED, Grain
from agentcache.quotas.plans import PLANS, PlanName
from agentcache.quotas.queries import retention_days_by_team
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: Single events that one statement deletes.
EVENTS_AT_ONCE: Final = 5_000
#: Sums of so many seconds are deleted by one statement: those of an hour by five minutes, those of a day by the hour.
_SLICE_SECONDS: Final = {Grain.FIVE_MINUTES: 3_600, Grain.HOUR: 86_400}
_DAY_SECONDS: Final = 86_400
_ROLLUPS: Final[tuple[tuple[type[Model], tuple[dict[str, str], ...]], ...]] = (
    (UsageTotal, tuple({"dimension": name} for name in DIMENSIONS)),
    (UsageLatency, tuple({"dimension": name} for name in ("", *FILTERED))),
    (UsageCell, ({},)),
)


def teams_in(model: type[Model]) -> list[str]:
    """Return the ids of the teams that a table of usage holds rows of, teams that are gone among them."""
    return list(_teams_in(model))


def _teams_in(model: type[Model]) -> Iterator[str]:
    # From one team to the next by the index that begins with it: all rows hold few teams.
    rows, last = model._default_manager.order_by("team_id").values_list("team_id", flat=True), ""
    while (found := rows.filter(team_id__gt=last).first()) is not None:
        yield (last := found)


def event_cutoffs(now: float) -> list[tuple[str, int]]:
    """Return for each team with single events the time (Unix milliseconds) before which its plan keeps none."""
    days, otherwise = retention_days_by_team(), PLANS[PlanName.SELF_HOSTED].retention_days
    return [
        (team_id, int((now - days.get(team_id, otherwise) * _DAY_SECONDS) * 1000)) for team_id in teams_in(UsageEvent)
    ]


def prune_events(team_id: str, before_ms: int) -> bool:
    """Delete a team's oldest events from before a time (Unix milliseconds); True when there may be more of them."""
    old = rows_of(Team(id=team_id), UsageEvent).filter(at_ms__lt=before_ms)
    # By time and not by id: SQLite would look at all of the team's events for each piece.
    last = list(old.order_by("at_ms").values_list("at_ms", flat=True)[EVENTS_AT_ONCE - 1 : EVENTS_AT_ONCE])
    for at_ms in last:
        old = old.filter(at_ms__lte=at_ms)
    old.delete()
    return bool(last)


def prune_rollups(now: float) -> int:
    """Delete every sum that is finer than its age allows; return how many rows that were."""
    deleted = 0
    for model, parts in _ROLLUPS:
        for team_id in _teams_in(model):
            for part in parts:
                for grain, days in ROLLUP_DAYS.items():
                    rows = rows_of(Team(id=team_id), model).filter(**part, grain=grain)
                    deleted += _prune(rows, int(now) - days * _DAY_SECONDS, _SLICE_SECONDS[grain])
    return deleted


def _prune(rows: QuerySet[Model], before: int, slice_seconds: int) -> int:
    deleted = 0
    starts = rows.filter(start__lt=before).order_by("start").values_list("start", flat=True)
    while (oldest := starts.first()) is not None:
        deleted += rows.filter(start__lt=min(before, oldest + slice_seconds)).delete()[0]
    return deleted
