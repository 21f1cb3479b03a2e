"""Which listeners are due, and taking them in hand: one worker each, and each host only as often as it may be asked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from agentcache.listeners.models import Host, Listener

#: How long a worker may have a listener in hand; a check is bounded by half of this.
LEASE = timedelta(seconds=120)
#: Requests to one host are at least so far apart, whoever watches it.
HOST_PAUSE = timedelta(seconds=1)
#: Rows looked through for each that is taken: of one host only the first is.
_LOOKED_PER_TAKEN = 4
_TURN = ""


def claim_due(now: datetime, room: int, full_teams: Collection[str] = ()) -> list[Listener]:
    """Take up to `room` due listeners in hand, oldest first and one of each host; others wait until the host is free."""
    due = _due(now, full_teams)
    # Asked first without a lock, for an idle worker asks every second and SQLite has a single writer.
    if room <= 0 or not due.exists():
        return []
    with transaction.atomic():
        _take_turn(now)
        chosen: dict[str, str] = {}
        looked_at = due.order_by("next_check_at").values_list("host", "pk")
        for host, listener_id in looked_at[: room * _LOOKED_PER_TAKEN]:
            chosen.setdefault(host, listener_id)
            if len(chosen) == room:
                break
        known = dict(Host.objects.filter(name__in=chosen).values_list("name", "delay_seconds"))
        hosts = [Host(name=name, free_at=now + _pause(known.get(name, 0.0))) for name in chosen]
        Host.objects.bulk_create(hosts, update_conflicts=True, unique_fields=["name"], update_fields=["free_at"])
        # Crosses tenants: the worker serves them all, each by its own row.
        rows = Listener.objects.filter(pk__in=chosen.values())
        rows.update(claimed_until=now + LEASE)
        return list(rows.order_by("next_check_at"))


def keep_host_delay(host: str, delay_seconds: float) -> None:
    """Keep what a host's robots.txt asks for between two requests."""
    Host.objects.filter(name=host).exclude(delay_seconds=delay_seconds).update(delay_seconds=delay_seconds)


def hold_host(host: str, until: datetime) -> None:
    """Leave a host to the check that asks it now, until a time."""
    Host.objects.filter(name=host, free_at__lt=until).update(free_at=until)


def release(rows: Collection[Listener]) -> None:
    """Give back listeners whose check did not come to its end; they are due as before."""
    Listener.objects.filter(pk__in=[row.pk for row in rows]).update(claimed_until=None)


def forget_hosts(before: datetime) -> int:
    """Forget hosts that were not asked since a time; return how many."""
    return Host.objects.filter(free_at__lt=before).exclude(name=_TURN).delete()[0]


def _due(now: datetime, full_teams: Collection[str]) -> QuerySet[Listener]:
    busy = Host.objects.filter(free_at__gt=now).values("name")
    due = Listener.objects.filter(paused_because="", next_check_at__lte=now).exclude(host__in=busy)
    due = due.filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))
    return due.exclude(team_id__in=list(full_teams)) if full_teams else due


def _take_turn(now: datetime) -> None:
    """Let one worker at a time look which hosts are free. On SQLite the IMMEDIATE transaction does that by itself."""
    if Host.objects.select_for_update().filter(name=_TURN).first() is None:
        Host.objects.bulk_create([Host(name=_TURN, free_at=now)], ignore_conflicts=True)
        Host.objects.select_for_update().filter(name=_TURN).first()


def _pause(delay_seconds: float) -> timedelta:
    return max(HOST_PAUSE, timedelta(seconds=delay_seconds))
