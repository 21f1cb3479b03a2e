"""Thresholds and rules learned of what was decided: after every 50 judgements, and when other ones are asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F, QuerySet

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.engine.semantic.controller import Judgement, learn
from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.risk_control import Allowed, Compared, learn_rule
from agentcache.engine.semantic.risk_rule import may_open, parse_rule, signals_of, trap_in
from agentcache.engine.semantic.settings import COSINE_THRESHOLD
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.semantics import queries
from agentcache.semantics.models import EventKind, Evidence, NamespaceSettings, NearQuestion, VerifierKind
from agentcache.semantics.verifier_version import version_for
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

LEARN_EVERY: Final = 50
_NOTHING_LEARNED: Final = {"threshold": None, "risk_limit": None, "opens": False}
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
    """Learn a namespace's threshold and rule of its newest judgements, and return the threshold; see `engine.semantic`."""
    with transaction.atomic():
        row = rows_of(team, Evidence).select_for_update().get(namespace=namespace)
        settings = queries.settings_in_force(team, namespace) or NamespaceSettings(team=team, namespace=namespace)
        version = version_for(settings)
        floor, start = _bounds(settings)
        found = learn(judgements(team, namespace, version, now), target=settings.target, floor=floor, start=start)
        allowed = None
        if settings.verifier == VerifierKind.TREES:
            allowed = learn_rule(compared_pairs(team, namespace, version, now), settings.target)
        former = _told(row) if row.fits(version, settings.target) else _NOTHING_LEARNED
        row.learned_threshold, row.verifier, row.target = found, version, settings.target
        row.learned_rule = None if allowed is None else _document(allowed)
        row.learned_from, row.learned_at = row.decided, now
        row.save(
            update_fields=["learned_threshold", "learned_rule", "verifier", "target", "learned_from", "learned_at"]
        )
        # The limit moves a little with every judgement; what is told is when more or less is open.
        if any(_told(row)[name] != former[name] for name in ("threshold", "opens")):
            audit.record(
                action="semantics.threshold_learned",
                actor=Actor.system(),
                team_id=team.pk,
                target_kind="semantics",
                target_id=str(row.pk),
                target_name=namespace,
                before=former,
                after={**_told(row), "judgements": row.decided, "target": settings.target},
            )
    return found


def _document(allowed: Allowed) -> dict[str, Any]:
    return {**allowed.rule.as_document(), "wrong_share": allowed.wrong_share, "compared": allowed.compared}


def _told(row: Evidence) -> dict[str, float | bool | None]:
    """Return what the audit log keeps of a change."""
    rule = parse_rule(row.learned_rule)
    return {
        "threshold": row.learned_threshold,
        "risk_limit": None if rule is None else round(rule.limit, 4),
        "opens": rule is not None and rule.opens,
    }


def judgements(team: Team, namespace: str, version: str, now: datetime) -> list[Judgement]:
    """Return what was decided of a namespace by scores of one verifier, newest first. Vetoed ones have no score."""
    rows = _decided(team, namespace, version, now).values_list("score", "agreed", "share")[:JUDGEMENTS_MAX]
    return [Judgement(score, bool(agreed), _weight(share)) for score, agreed, share in rows]


def compared_pairs(team: Team, namespace: str, version: str, now: datetime) -> list[Compared]:
    """Return what may open a namespace further than its threshold, newest first.

    That somebody calls a hit right opens nothing, and one pair of questions counts once, however often it is asked: nobody's
    word is enough, nor their diligence.
    """
    balanced = load_verifier().balanced_threshold
    rows = _decided(team, namespace, version, now).exclude(kind=EventKind.REPORTED, agreed=True)
    columns = ("entry_key", "asked_digest", "score", "cosine", "features", "agreement", "agreed", "share")
    found, seen = [], set()
    for entry_key, digest, score, cosine, features, agreement, agreed, share in rows.values_list(*columns)[
        :JUDGEMENTS_MAX
    ]:
        pair = entry_key, bytes(digest), agreed
        values = [features.get(name, 0.0) for name in FEATURES]
        signals, trap = signals_of(score, cosine, values, agreement), trap_in(values)
        if (digest and pair in seen) or not may_open(signals, trap, balanced=balanced):
            continue
        seen.add(pair)
        found.append(Compared(signals, bool(agreed), _weight(share)))
    return found


def _decided(team: Team, namespace: str, version: str, now: datetime) -> QuerySet[NearQuestion]:
    rows = rows_of(team, NearQuestion).filter(namespace=namespace, agreed__isnull=False, verifier=version, veto="")
    return rows.filter(at__gte=now - JUDGED_WITHIN).order_by("-at")


def _weight(share: float) -> float:
    return 1 / share if share > 0 else 1.0


def _bounds(settings: NamespaceSettings) -> tuple[float, float]:
    """Return the lowest threshold that may be learned, and the one in force without evidence."""
    if settings.verifier == VerifierKind.COSINE:
        given = COSINE_THRESHOLD if settings.threshold is None else settings.threshold
        return given, given
    verifier = load_verifier()
    return verifier.balanced_threshold, verifier.safe_threshold
