"""Forgetting what is old, and ending what nobody works on any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from agentcache.jobs import services as jobs
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.keeping import delivery_days_of
from agentcache.webhooks.models import Delivery, DeliveryState, EndedBecause, EndpointSecret, Message

#: No plan keeps messages for less, so of younger ones no team has to be asked.
KEPT_AT_LEAST = timedelta(days=30)
#: A delivery has its job from the first moment; one that lacks it for so long has lost it.
_LOST_AFTER = timedelta(minutes=10)
_ROWS = 1_000


def prune(now: datetime) -> int:
    """Delete messages that no plan keeps any more with their deliveries, and secrets that have ended; return how many messages."""
    EndpointSecret.objects.filter(ends_at__lt=now).delete()
    # Crosses tenants: the job that prunes serves them all, each by its own plan.
    old = Message.objects.filter(team=OuterRef("pk"), created_at__lt=now - KEPT_AT_LEAST)
    teams = Team.objects.filter(Exists(old))
    return sum(_prune_team(team, now - timedelta(days=delivery_days_of(team))) for team in teams)


def _prune_team(team: Team, before: datetime) -> int:
    deleted = 0
    while True:
        oldest = rows_of(team, Message).filter(created_at__lt=before).exclude(deliveries__state=DeliveryState.WAITING)
        found = list(oldest.order_by("created_at").values_list("pk", flat=True)[:_ROWS])
        rows_of(team, Message).filter(pk__in=found).delete()
        deleted += len(found)
        if len(found) < _ROWS:
            return deleted


def end_lost(now: datetime) -> int:
    """End deliveries whose job was given up because the worker died at every try; return how many."""
    waiting = Delivery.objects.filter(state=DeliveryState.WAITING, created_at__lt=now - _LOST_AFTER)
    rows = list(waiting.only("pk", "redeliveries")[:_ROWS])
    alive = jobs.alive([row.job_id for row in rows])
    lost = [row.pk for row in rows if row.job_id not in alive]
    ended = Delivery.objects.filter(pk__in=lost, state=DeliveryState.WAITING)
    return ended.update(state=DeliveryState.FAILED, ended_because=EndedBecause.LOST, ended_at=now, next_try_at=None)
