"""Mails that tell how far a limit is used, before it binds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b

from django.conf import settings as django_conf
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from agentcache.kit.money import usd
from agentcache.mails.services import send
from agentcache.quotas import queries
from agentcache.quotas.models import Limit, MonthlyUse, TeamPlan
from agentcache.quotas.queries import BUDGET, Bar, Usage
from agentcache.quotas.services import month_at
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.services import emit

TELL_OF_USE = "quotas.tell_of_use"
TELL_EVERY_SECONDS = 60.0
#: Percent of a limit at which people are told, once each in a month.
THRESHOLDS = (50, 80, 90, 100)


def tell_of_use(now: datetime) -> int:
    """Queue a mail for each limit that passed a threshold since the last time; return how many limits that were."""
    month = month_at(now.timestamp())
    told = 0
    # Crosses tenants: it serves them all, each from its own rows.
    for team in Team.objects.filter(pk__in=_limited_teams()).order_by("pk"):
        usage = queries.usage_of(team, now)
        for bar, percent in _passed(usage):
            with transaction.atomic():
                if _note(team, month, bar, percent):
                    _tell(team, usage, bar, percent)
                    _emit(team, usage, bar, percent)
                    told += 1
    return told


def threshold_of(bar: Bar) -> int:
    """Return the highest threshold that a limit's use has reached; 0 for none."""
    return max((percent for percent in THRESHOLDS if bar.used * 100 >= bar.limit * percent), default=0)


def _limited_teams() -> set[str]:
    by_limit = Limit.objects.filter(
        Q(requests_per_month__isnull=False) | Q(budget_usd_nanos_per_month__isnull=False)
    ).values_list("team_id", flat=True)
    return {*by_limit, *TeamPlan.objects.exclude(plan="self_hosted").values_list("team_id", flat=True)}


def _passed(usage: Usage) -> Iterator[tuple[Bar, int]]:
    """Yield the fullest limit of each subject and measure, with the threshold it has reached."""
    seen = set()
    for bar in usage.bars:
        key = (bar.kind, bar.subject, bar.measure)
        if key not in seen and threshold_of(bar):
            seen.add(key)
            yield bar, threshold_of(bar)


def _note(team: Team, month: int, bar: Bar, percent: int) -> bool:
    """Keep that people are told; False when they were told of this threshold before."""
    member = "told_budget_percent" if bar.measure == BUDGET else "told_requests_percent"
    rows = rows_of(team, MonthlyUse).filter(month=month, kind=bar.kind, subject=bar.subject)
    return rows.filter(**{f"{member}__lt": percent}).update(**{member: percent}) == 1


def _tell(team: Team, usage: Usage, bar: Bar, percent: int) -> None:
    shown = usd if bar.measure == BUDGET else "{:,}".format
    context = {
        "team": team.name,
        "whose": {"team": "The team", "member": "A member", "key": "An API key"}.get(bar.kind, "An agent"),
        "name": "" if bar.kind == "team" else bar.name,
        "percent": percent,
        "is_budget": bar.measure == BUDGET,
        "used": shown(bar.used),
        "limit": shown(bar.limit),
        "stops": bar.is_hard,
        "is_used_up": percent >= 100,
        "serves_hits": usage.serves_hits_over_quota,
        "resets": f"{usage.resets:%-d %B %Y}, 00:00 UTC",
        "usage_url": _origin() + reverse("quotas:usage"),
    }
    for membership in _who_is_told(team):
        once = f"{team.pk}:{bar.kind}:{bar.subject}:{bar.measure}:{usage.month}:{percent}:{membership.user_id}"
        # Agents have long names, and keys of mails are short.
        key = f"quota:{blake2b(once.encode(), digest_size=24).hexdigest()}"
        send("quota-threshold", membership.user.email, context, key=key)


def _emit(team: Team, usage: Usage, bar: Bar, percent: int) -> None:
    """Tell endpoints what people are told, in the same transaction."""
    is_money = bar.measure == BUDGET
    emit(
        team.pk,
        "quota.threshold",
        {
            "kind": bar.kind,
            "subject": bar.subject,
            "name": bar.name,
            "measure": "budget" if is_money else "requests",
            "percent": percent,
            "used": usd(bar.used) if is_money else str(bar.used),
            "limit": usd(bar.limit) if is_money else str(bar.limit),
            "is_hard": bar.is_hard,
            "resets_at": usage.resets,
        },
    )


def _who_is_told(team: Team) -> list[Membership]:
    members = rows_of(team, Membership).select_related("user").filter(user__is_active=True)
    return list(members.filter(Q(role=Role.ADMIN) | Q(has_billing=True)).order_by("pk"))


def _origin() -> str:
    return str(django_conf.AGENTCACHE.origin)  # type: ignore[misc]  # put there by web.project
