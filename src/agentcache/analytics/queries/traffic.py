"""Past requests as they came, for whoever plays them again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from django.db.models import Q, Sum

from agentcache.analytics.models import UsageEvent
from agentcache.gateway.ports import Outcome
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_FIRST_SERVER_ERROR: Final = 500


def past_traffic(
    team: Team, since_ms: int, columns: Collection[str], *, outcomes: Collection[str], limit: int
) -> Iterator[tuple[Any, ...]]:
    """Yield these columns of a team's newest requests that asked the cache of a provider's route, oldest first.

    With those that ended as `outcomes` come those that a provider failed.
    """
    failed = Q(outcome=Outcome.ERROR.value, status__gte=_FIRST_SERVER_ERROR)
    rows = rows_of(team, UsageEvent).filter(Q(outcome__in=outcomes) | failed, at_ms__gte=since_ms).exclude(entry_key="")
    # Of our own API nothing is asked of a provider.
    rows = rows.exclude(endpoint__startswith="cache.")
    newest: list[tuple[Any, ...]] = list(rows.order_by("-at_ms", "-id").values_list(*columns)[:limit])
    yield from reversed(newest)


def most_asked(team: Team, since_ms: int, limit: int = 20_000) -> dict[str, int]:
    """Return how often a team's callers asked for a key since a Unix time in milliseconds, of those asked most often."""
    rows = rows_of(team, UsageEvent).filter(at_ms__gte=since_ms).exclude(entry_key="")
    asked = rows.exclude(endpoint__startswith="cache.").values("entry_key").annotate(times=Sum("requests"))
    return dict(asked.filter(times__gt=0).order_by("-times", "entry_key").values_list("entry_key", "times")[:limit])
