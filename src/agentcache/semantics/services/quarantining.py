"""Quarantine: entries that answer no near questions, why, and how they get out. The index is told after the transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils import timezone

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.kit.ids import new_id
from agentcache.semantics.errors import NearQuestionNotFound, NotInQuarantine
from agentcache.semantics.models import EventKind, NearQuestion, QuarantinedEntry, QuarantineReason
from agentcache.semantics.services.counting import count
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of
from agentcache.webhooks.services import emit

_KEY: Final = "API key "
#: Kept of what a report repeats of the hit that it is about.
_REPEATED: Final = (
    "namespace", "request_id", "entry_key", "asked_digest", "cosine", "score", "threshold", "risk", "risk_limit",
    "agreement", "verifier", "veto", "features", "reasons", "saved_usd_nanos", "writer", "api_key_id", "dialect", "model",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that is to answer no near questions, and why."""

    entry_key: str
    reason: QuarantineReason
    namespace: str = ""
    model: str = ""
    event_id: str = ""
    diversity: float | None = None
    prompts: int | None = None

    @classmethod
    def of(
        cls, row: NearQuestion, reason: QuarantineReason, *, diversity: float | None = None, prompts: int | None = None
    ) -> Found:
        """Return the entry of a near question."""
        return cls(row.entry_key, reason, row.namespace, row.model, row.pk, diversity, prompts)


def put_in(team: Team, found: Found, *, by: str, actor: Actor | None = None) -> QuarantinedEntry:
    """Put an entry into quarantine, in the transaction of its cause; one that is there already stays as it is."""
    row = rows_of(team, QuarantinedEntry).filter(entry_key=found.entry_key, released_at__isnull=True).first()
    if row is not None:
        return row
    row = QuarantinedEntry.objects.create(
        team=team,
        entry_key=found.entry_key,
        namespace=found.namespace,
        model=found.model,
        reason=found.reason,
        diversity=found.diversity,
        prompts=found.prompts,
        event_id=found.event_id,
        at=timezone.now(),
        by=by[:254],
    )
    _note("semantics.quarantined", row, actor or Actor.system(), after=_told(row))
    members = ("entry_key", "namespace", "model", "prompts", "diversity", "by")
    told = {name: getattr(row, name) for name in members}
    emit(team.pk, "semantic.quarantined", {**told, "reason": found.reason.value})
    return row


def report_bad_hit(team: Team, request_id: str, *, actor: Actor) -> QuarantinedEntry:
    """Take a person's word that the answer of a request was for another question: it counts as evidence.

    The entry is in quarantine when this returns; whoever calls tells the index. Raises `NearQuestionNotFound`.
    """
    with transaction.atomic():
        Team.objects.select_for_update().get(pk=team.pk)
        hit = rows_of(team, NearQuestion).filter(request_id=request_id, kind=EventKind.HIT).first()
        if hit is None:
            raise NearQuestionNotFound(param="request_id")
        reports = rows_of(team, NearQuestion).filter(request_id=request_id, kind=EventKind.REPORTED)
        if not reports.exists():
            repeated = {name: getattr(hit, name) for name in _REPEATED}
            report = NearQuestion.objects.create(
                id=new_id(), team=team, kind=EventKind.REPORTED, at=timezone.now(), agreed=False, judged_by="caller",
                **repeated,
            )  # fmt: skip
            count([report])
            audit.record(
                action="semantics.bad_hit_reported", actor=actor, team_id=team.pk, target_kind="request",
                target_id=request_id, target_name=hit.model, after={"entry_key": hit.entry_key, "score": hit.score},
            )  # fmt: skip
        return put_in(team, Found.of(hit, QuarantineReason.REPORTED), by=name_of(actor), actor=actor)


def release(team: Team, entry_key: str, *, actor: Actor) -> QuarantinedEntry:
    """Let an entry answer near questions again. Whoever calls tells the index. Raises `NotInQuarantine`."""
    with transaction.atomic():
        Team.objects.select_for_update().get(pk=team.pk)
        row = rows_of(team, QuarantinedEntry).filter(entry_key=entry_key, released_at__isnull=True).first()
        if row is None:
            raise NotInQuarantine(param="entry_key")
        row.released_at, row.released_by, row.is_told = timezone.now(), name_of(actor), False
        row.save(update_fields=["released_at", "released_by", "is_told"])
        _note("semantics.released", row, actor, before=_told(row))
    return row


def note_told(row_id: str, released_at: datetime | None) -> None:
    """Note that the index knows of a quarantine, or of its end, as it was read."""
    QuarantinedEntry.objects.filter(pk=row_id, released_at=released_at).update(is_told=True)


def tell_anew() -> int:
    """Have the index told again of every quarantine, and return of how many: one that was lost, or is another one, holds none."""
    return QuarantinedEntry.objects.filter(is_told=True, released_at__isnull=True).update(is_told=False)


def name_of(actor: Actor) -> str:
    """Return who acts, as lists show it."""
    return (actor.user_email or (f"{_KEY}{actor.api_key_id}" if actor.api_key_id else ""))[:254]


def key_in(name: str) -> str:
    """Return the id of the API key that `name_of` named; "" where it named a person, or nobody."""
    return name.removeprefix(_KEY) if name.startswith(_KEY) else ""


def _told(row: QuarantinedEntry) -> dict[str, object]:
    return {
        "reason": row.reason,
        "namespace": row.namespace,
        "diversity": None if row.diversity is None else round(row.diversity, 3),
        "prompts": row.prompts,
    }


def _note(
    action: str,
    row: QuarantinedEntry,
    actor: Actor,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    audit.record(
        action=action, actor=actor, team_id=row.team_id, target_kind="cache_entry", target_id=row.entry_key,
        target_name=row.model, before=before, after=after,
    )  # fmt: skip
