"""Every read of operators: who they are, and how the server is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet, Sum

from agentcache.accounts.models import User
from agentcache.analytics.models import UsageGap, UsageTotal
from agentcache.jobs.models import Job
from agentcache.jobs.queries import OVERDUE
from agentcache.listeners.queries import count_overdue, count_watched
from agentcache.mails.models import Mail, MailState
from agentcache.teams.models import Team
from agentcache.webhooks.queries import count_failing, count_waiting

DAY_SECONDS = 86400
_HIT_OUTCOMES = ("exact", "semantic", "stale")


@dataclass(frozen=True, slots=True)
class Health:
    """The figures of the console's first page."""

    users: int
    teams: int
    requests_today: int
    hits_today: int
    jobs_waiting: int
    jobs_overdue: int
    jobs_failed: int
    mails_queued: int
    mails_failed: int
    events_lost: int
    listeners: int
    checks_overdue: int
    webhooks_waiting: int
    endpoints_failing: int

    @property
    def hit_ratio_today(self) -> float | None:
        """The share of hits; None without requests."""
        return self.hits_today / self.requests_today if self.requests_today else None


@dataclass(frozen=True, slots=True)
class TeamUsage:
    """What one team used."""

    team_id: str
    name: str
    requests: int
    cost_usd_nanos: int
    saved_usd_nanos: int

    @property
    def cost_usd(self) -> float:
        """What providers charged."""
        return self.cost_usd_nanos / 1e9

    @property
    def saved_usd(self) -> float:
        """What was not paid again."""
        return self.saved_usd_nanos / 1e9


def operators() -> QuerySet[User]:
    """Return who may open the console."""
    return User.objects.filter(is_staff=True, is_active=True)


def has_operator() -> bool:
    """Say whether there is anybody who may open the console."""
    return operators().exists()


def health(now: datetime) -> Health:
    """Return how the server is; counts over the last day where nothing else is said."""
    day_ago = now - timedelta(days=1)
    once = Job.objects.filter(period_seconds__isnull=True, failed_at__isnull=True)
    mails = dict(
        Mail.objects.filter(created_at__gte=day_ago).values_list("state").annotate(count=Count("pk")).order_by()
    )
    outcomes = dict(_day_totals(int(now.timestamp()), 1).values_list("outcome").annotate(sum=Sum("requests")))
    return Health(
        users=User.objects.count(),
        teams=Team.objects.count(),
        requests_today=sum(outcomes.values()),
        hits_today=sum(count for outcome, count in outcomes.items() if outcome in _HIT_OUTCOMES),
        jobs_waiting=once.count(),
        jobs_overdue=Job.objects.filter(failed_at__isnull=True, due_at__lt=now - OVERDUE, lane="").count(),
        jobs_failed=Job.objects.filter(failed_at__isnull=False).count(),
        mails_queued=Mail.objects.filter(state=MailState.QUEUED).count(),
        mails_failed=mails.get(MailState.FAILED.value, 0),
        events_lost=UsageGap.objects.filter(detected_at__gte=day_ago).aggregate(lost=Sum("lost"))["lost"] or 0,
        listeners=count_watched(),
        checks_overdue=count_overdue(now),
        webhooks_waiting=count_waiting(),
        endpoints_failing=count_failing(),
    )


def usage_by_team(now: datetime, days: int, rows: int = 100) -> list[TeamUsage]:
    """Return the teams that used most in the last days, today included, from the daily sums."""
    rows_found = (
        _day_totals(int(now.timestamp()), days)
        .values("team_id")
        .annotate(count=Sum("requests"), cost=Sum("cost_usd_nanos"), saved=Sum("saved_usd_nanos"))
        .order_by("-count", "team_id")[:rows]
    )
    found = list(rows_found)
    names = dict(Team.objects.filter(pk__in=[row["team_id"] for row in found]).values_list("pk", "name"))
    return [
        TeamUsage(row["team_id"], names.get(row["team_id"], "deleted"), row["count"], row["cost"], row["saved"])
        for row in found
    ]


def _day_totals(now_seconds: int, days: int) -> QuerySet[UsageTotal]:
    today = now_seconds // DAY_SECONDS * DAY_SECONDS
    rows = UsageTotal.objects.filter(start__gte=today - (days - 1) * DAY_SECONDS, start__lte=today)
    # Written out and not as parameters: only so can SQLite tell that the index on the days of all teams will do.
    return rows.extra(where=["dimension = ''", f"grain = {int(DAY_SECONDS)}"])  # noqa: S610 - constants
