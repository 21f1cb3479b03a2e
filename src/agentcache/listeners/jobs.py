"""What is done for listeners now and then."""

from __future__ import annotations

from datetime import datetime, timedelta

from agentcache.listeners.models import ListenerEvent
from agentcache.listeners.services import turns

PRUNE = "listeners.prune"
PRUNE_EVERY_SECONDS = 3600.0
#: How long it is kept what happened to a listener.
EVENTS_DAYS = 90
#: How long after the last request it is remembered when a host may be asked.
_HOST_HOURS = 1


def prune(now: datetime) -> int:
    """Delete what is too old; return how many events that were."""
    turns.forget_hosts(now - timedelta(hours=_HOST_HOURS))
    # Crosses tenants: it serves them all.
    return ListenerEvent.objects.filter(at__lt=now - timedelta(days=EVENTS_DAYS)).delete()[0]
