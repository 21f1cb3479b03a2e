"""Endpoints that fail: people are told, and in the end it is switched off."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings as django_conf
from django.db.models import Q
from django.urls import reverse

from agentcache.audit.services import Actor
from agentcache.mails.services import send
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.models import DisabledBecause, Endpoint
from agentcache.webhooks.services.endpoints import end_waiting, note


@dataclass(frozen=True, slots=True)
class Step:
    """When something is done about an endpoint: after so many failures in a row, and not sooner than after so long.

    Counting alone would switch a busy endpoint off for a restart of a minute; time alone would do so for two failures.
    """

    failures: int
    after: timedelta


WARNINGS = (Step(5, timedelta(minutes=15)), Step(10, timedelta(hours=6)), Step(15, timedelta(hours=18)))
OFF = Step(20, timedelta(hours=24))
#: A delivery whose last try failed, with nothing delivered for so long, switches the endpoint off, too.
OFF_AFTER_LAST_TRY = timedelta(hours=72)


def note_failure(endpoint: Endpoint, now: datetime, *, is_last_try: bool) -> None:
    """Count a failed try of an endpoint that is on, locked by the caller; tell people, or switch it off, when it is time."""
    endpoint.failures_in_row += 1
    endpoint.failing_since = endpoint.failing_since or now
    failing_for = now - endpoint.failing_since
    is_over = endpoint.failures_in_row >= OFF.failures and failing_for >= OFF.after
    if is_over or (is_last_try and failing_for >= OFF_AFTER_LAST_TRY):
        switch_off(endpoint, DisabledBecause.FAILURES, now)
        return
    reached = [step for step in WARNINGS if endpoint.failures_in_row >= step.failures and failing_for >= step.after]
    if reached and reached[-1].failures > endpoint.told_failures:
        endpoint.told_failures = reached[-1].failures
        _tell("webhook-failing", endpoint, now)
    endpoint.save()


def switch_off(endpoint: Endpoint, because: DisabledBecause, now: datetime) -> None:
    """Switch an endpoint off, end what waits for it, and tell people. The caller has locked it."""
    endpoint.is_enabled = False
    endpoint.disabled_because = because
    endpoint.disabled_at = now
    endpoint.save()
    end_waiting(endpoint, now)
    note(
        "webhook_endpoint.switched_off",
        endpoint,
        Actor.system(),
        after={"because": because.value, "failures_in_row": endpoint.failures_in_row},
    )
    _tell("webhook-off", endpoint, now)


def _tell(template: str, endpoint: Endpoint, now: datetime) -> None:
    team = Team.objects.get(pk=endpoint.team_id)
    since = endpoint.failing_since or now
    hours = (now - since).total_seconds() / 3600
    context = {
        "team": team.name,
        "url": endpoint.url,
        "failures": endpoint.failures_in_row,
        "for_long": f"{hours:.0f} hours" if hours >= 2 else f"{max(1, round(hours * 60))} minutes",
        "is_gone": endpoint.disabled_because == DisabledBecause.GONE,
        "endpoint_url": _origin() + reverse("webhooks:endpoint", args=[endpoint.pk]),
    }
    members = rows_of(team, Membership).select_related("user").filter(user__is_active=True)
    for membership in members.filter(Q(role=Role.ADMIN)).order_by("pk"):
        key = f"{template}:{endpoint.pk}:{int(since.timestamp())}:{endpoint.told_failures}:{membership.user_id}"
        send(template, membership.user.email, context, key=key)


def _origin() -> str:
    return str(django_conf.AGENTCACHE.origin)  # type: ignore[misc]  # put there by web.project
