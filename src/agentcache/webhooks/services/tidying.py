"""Forgetting what is old, and ending what nobody works on any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from agentcache.jobs import services as jobs
from agentcache.webhooks.models import Delivery, DeliveryState, EndedBecause, EndpointSecret, Message

#: How long messages and deliveries are kept.
KEPT = timedelta(days=30)
#: A delivery has its job from the first moment; one that lacks it for so long has lost it.
_LOST_AFTER = timedelta(minutes=10)
_ROWS = 1_000


def prune(now: datetime) -> int:
    """Delete messages older than 30 days with their deliveries, and secrets that have ended; return how many messages."""
    EndpointSecret.objects.filter(ends_at__lt=now).delete()
    deleted = 0
    while True:
        oldest = Message.objects.filter(created_at__lt=now - KEPT).exclude(deliveries__state=DeliveryState.WAITING)
        found = list(oldest.order_by("created_at").values_list("pk", flat=True)[:_ROWS])
        Message.objects.filter(pk__in=found).delete()
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
