"""Every read of usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Sum

from agentcache.analytics.metrics import HITS, hit_ratio
from agentcache.analytics.models import UsageEvent, UsageGap
from agentcache.gateway.ports import Outcome
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of one team over a time; money in 1e-9 USD. Defined in `metrics`."""

    by_outcome: Mapping[Outcome, int]
    input_tokens: int
    output_tokens: int
    cost_usd_nanos: int
    saved_usd_nanos: int

    @property
    def requests(self) -> int:
        """Every request."""
        return sum(self.by_outcome.values())

    @property
    def hits(self) -> int:
        """Requests answered from the cache."""
        return sum(self.by_outcome[outcome] for outcome in HITS)

    @property
    def coalesced(self) -> int:
        """Requests that shared another's provider call."""
        return self.by_outcome[Outcome.COALESCED]

    @property
    def misses(self) -> int:
        """Requests that found nothing usable."""
        return self.by_outcome[Outcome.MISS]

    @property
    def hit_ratio(self) -> float | None:
        """Share of look-ups that were hits, or None without a look-up."""
        return hit_ratio(self.hits, self.coalesced, self.misses)


def totals(team: Team, since: datetime) -> Totals:
    """Return a team's figures from `since` on."""
    events = rows_of(team, UsageEvent).filter(at_ms__gte=int(since.timestamp() * 1000))
    rows = list(
        events.values("outcome").annotate(
            requests=Count("id"),
            input_tokens=Sum("input_tokens"),
            output_tokens=Sum("output_tokens"),
            cost=Sum("cost_usd_nanos"),
            saved=Sum("saved_usd_nanos"),
        )
    )
    by_outcome = dict.fromkeys(Outcome, 0)
    by_outcome |= {Outcome(row["outcome"]): row["requests"] for row in rows}
    return Totals(
        by_outcome=by_outcome,
        # PostgreSQL sums 64-bit numbers as decimals.
        input_tokens=sum(int(row["input_tokens"]) for row in rows),
        output_tokens=sum(int(row["output_tokens"]) for row in rows),
        cost_usd_nanos=sum(int(row["cost"]) for row in rows),
        saved_usd_nanos=sum(int(row["saved"]) for row in rows),
    )


def lost_events(since: datetime) -> int:
    """Return how many usage events of the whole server are known to be missing."""
    lost = UsageGap.objects.filter(detected_at__gte=since).aggregate(lost=Sum("lost"))["lost"]
    return int(lost or 0)
