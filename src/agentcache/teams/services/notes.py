"""What happens to teams and to what belongs to them, written down in the audit log."""

from __future__ import annotations

from collections.abc import Mapping

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.teams.models import ApiKey, Invitation, Membership, Team

Subject = Team | Membership | Invitation | ApiKey


def note(
    action: str,
    subject: Subject,
    actor: Actor,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write an act down, in the transaction of the change itself."""
    kind, name = _named(subject)
    audit.record(
        action=action,
        actor=actor,
        team_id=subject.pk if isinstance(subject, Team) else subject.team_id,
        target_kind=kind,
        target_id=subject.pk,
        target_name=name,
        before=before,
        after=after,
    )


def _named(subject: Subject) -> tuple[str, str]:
    match subject:
        case Team():
            return "team", subject.name
        case Membership():
            return "member", subject.user.email
        case Invitation():
            return "invitation", subject.email
        case ApiKey():
            return "api_key", subject.name
