"""Thresholds learned of what was decided: after every 50 judgements, and when other ones are asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.engine.semantic.controller import Judgement, learn
from agentcache.engine.semantic.settings import COSINE_THRESHOLD
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.semantics import queries
from agentcache.semantics.models import Evidence, NamespaceSettings, NearQuestion, VerifierKind
from agentcache.semantics.verifier_version import version_for
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

LEARN_EVERY: Final = 50
#: So many of the newest judgements count, and none that is older.
JUDGEMENTS_MAX: Final = 5_000
JUDGED_WITHIN: Final = timedelta(days=90)


def learn_due(now: datetime) -> int:
    """Learn the thresholds of every namespace with 50 judgements more than last time; return how many there were."""
    due = list(Evidence.objects.select_related("team").filter(decided__gte=F("learned_from") + LEARN_EVERY))
    for row in due:
        learn_threshold(row.team, row.namespace, now)
    return len(due)


def relearn(team: Team, now: datetime) -> None:
    """Learn anew where the settings ask for another verifier or target than the threshold was learned for."""
    for row in rows_of(team, Evidence).filter(learned_from__gt=0):
        settings = queries.settings_in_force(team, row.namespace)
        if settings is not None and not row.fits(version_for(settings), settings.target):
            learn_threshold(team, row.namespace, now)


def learn_threshold(team: Team, namespace: str, now: datetime) -> float | None:
    """Learn a namespace's threshold of its newest judgements, and return it; see `engine.semantic.controller`."""
    with transaction.atomic():
        row = rows_of(team, Evidence).select_for_update().get(namespace=namespace)
        settings = queries.settings_in_force(team, namespace) or NamespaceSettings(team=team, namespace=namespace)
        version = version_for(settings)
        floor, start = _bounds(settings)
        found = learn(judgements(team, namespace, version, now), target=settings.target, floor=floor, start=start)
        former = row.learned_threshold if row.fits(version, settings.target) else None
        row.learned_threshold, row.verifier, row.target = found, version, settings.target
        row.learned_from, row.learned_at = row.decided, now
        row.save(update_fields=["learned_threshold", "verifier", "target", "learned_from", "learned_at"])
        if found != former:
            audit.record(
                action="semantics.threshold_learned",
                actor=Actor.system(),
                team_id=team.pk,
                target_kind="semantics",
                target_id=str(row.pk),
                target_name=namespace,
                before={"threshold": former},
                after={"threshold": found, "judgements": row.decided, "target": settings.target},
            )
    return found


def judgements(team: Team, namespace: str, version: str, now: datetime) -> list[Judgement]:
    """Return what was decided of a namespace by scores of one verifier, newest first. Vetoed ones have no score."""
    rows = (
        rows_of(team, NearQuestion)
        .filter(namespace=namespace, agreed__isnull=False, verifier=version, veto="", at__gte=now - JUDGED_WITHIN)
        .order_by("-at")
        .values_list("score", "agreed", "share")[:JUDGEMENTS_MAX]
    )
    return [Judgement(score, bool(agreed), 1 / share if share > 0 else 1.0) for score, agreed, share in rows]


def _bounds(settings: NamespaceSettings) -> tuple[float, float]:
    """Return the lowest threshold that may be learned, and the one in force without evidence."""
    if settings.verifier == VerifierKind.COSINE:
        given = COSINE_THRESHOLD if settings.threshold is None else settings.threshold
        return given, given
    verifier = load_verifier()
    return verifier.balanced_threshold, verifier.safe_threshold
