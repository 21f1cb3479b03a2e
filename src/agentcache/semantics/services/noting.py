"""The audit's row for a change of what people set of a namespace."""

from __future__ import annotations

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.semantics.drafts import JudgeDraft, SettingsDraft
from agentcache.semantics.models import Judge, NamespaceSettings


def note_change(
    action: str,
    row: NamespaceSettings | Judge,
    actor: Actor,
    *,
    before: SettingsDraft | JudgeDraft | None,
    after: SettingsDraft | JudgeDraft | None,
) -> None:
    """Record what was set before and after; None where there was, or is, nothing."""
    audit.record(
        action=action,
        actor=actor,
        team_id=row.team_id,
        target_kind="semantics",
        target_id=row.pk,
        target_name=row.namespace,
        before=None if before is None else before.as_document(),
        after=None if after is None else after.as_document(),
    )
