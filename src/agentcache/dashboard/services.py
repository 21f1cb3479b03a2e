"""Every write of the dashboard's own rows."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from agentcache.accounts.models import User
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.dashboard.invalidations import ACTION, TARGET_KIND, describe, find_invalidation
from agentcache.dashboard.models import ChecklistChoice, ChecklistStep
from agentcache.gateway.ports import InvalidationRecord
from agentcache.kit.money import usd
from agentcache.teams.models import Team
from agentcache.webhooks.services import emit


def note_steps(team: Team, steps: Iterable[str]) -> None:
    """Keep that a team has taken these steps; several pages may notice at once."""
    rows = [ChecklistStep(team=team, step=step) for step in steps]
    if rows:
        ChecklistStep.objects.bulk_create(rows, ignore_conflicts=True)


def choose_checklist(user: User, team: Team, *, is_shown: bool) -> None:
    """Keep whether a member wants to see the team's checklist."""
    ChecklistChoice.objects.update_or_create(team=team, user=user, defaults={"is_shown": is_shown})


@transaction.atomic
def record_invalidation(record: InvalidationRecord, actor: Actor, *, cause: str) -> bool:
    """Write an invalidation down and tell the team's webhooks; False when that had been done before, or the team is gone.

    `cause` is `api` or `page`.
    """
    team = Team.objects.filter(pk=record.tenant_id).first()
    if team is None or find_invalidation(team, record.id) is not None:
        return False
    told = {
        "entries": record.entries,
        "marked_stale": record.is_soft,
        "namespaces": list(record.namespaces),
        "bytes": record.body_bytes,
        "cost_usd": usd(record.cost_usd_nanos),
        "reason": record.reason,
        "cause": cause,
    }
    audit.record(
        action=ACTION, actor=actor, team_id=team.pk, target_kind=TARGET_KIND, target_id=record.id,
        target_name=describe(record.criteria), after={**record.criteria, **told},
    )  # fmt: skip
    if record.notify:
        emit(
            team.pk,
            "cache.invalidated",
            {
                "invalidated": record.entries,
                "namespaces": list(record.namespaces),
                "criteria": record.criteria,
                "soft": record.is_soft,
                "reason": record.reason,
                "cause": cause,
                "estimated_cost_impact_usd": usd(record.cost_usd_nanos),
            },
        )
    return True
