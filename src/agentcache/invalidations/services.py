"""Writing invalidations down."""

from __future__ import annotations

from django.db import transaction

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.ports import InvalidationRecord
from agentcache.invalidations.queries import ACTION, TARGET_KIND, describe, find_invalidation
from agentcache.kit.money import usd
from agentcache.teams.models import Team
from agentcache.webhooks.services import emit


@transaction.atomic
def record_invalidation(record: InvalidationRecord, actor: Actor) -> bool:
    """Write an invalidation down and tell the team's webhooks; False when that had been done before, or the team is gone."""
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
        "cause": record.cause,
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
                "cause": record.cause,
                "estimated_cost_impact_usd": usd(record.cost_usd_nanos),
            },
        )
    return True
