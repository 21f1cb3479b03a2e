"""Every write of policies. Each adds a version; none changes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from django.db import transaction

from agentcache.accounts.models import User
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.policies import queries
from agentcache.policies.drafts import PolicyDraft, checked
from agentcache.policies.errors import PoliciesChanged, PolicyNotFound
from agentcache.policies.models import PolicyVersion
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_NOTE_CHARS_MAX = 200

Change = Callable[[list[PolicyDraft]], list[PolicyDraft]]


def save_all(
    team: Team, drafts: Sequence[PolicyDraft], *, actor: Actor, note: str = "", based_on: int | None = None
) -> PolicyVersion:
    """Put a whole list in place of the team's policies. Raises `InvalidPolicy`, `TooManyPolicies`, `PoliciesChanged`.

    `based_on` is the number of the version that the caller has seen; without it whatever is there is replaced.
    """
    return _save(team, lambda _former: list(drafts), note or "Replaced the list", actor, based_on)


def add_policy(
    team: Team, draft: PolicyDraft, *, actor: Actor, place: int | None = None, based_on: int | None = None
) -> PolicyDraft:
    """Add a policy, at a place in the order (0 is first) or at the end; return it as it is kept."""

    def change(former: list[PolicyDraft]) -> list[PolicyDraft]:
        at = len(former) if place is None else max(0, min(place, len(former)))
        return [*former[:at], replace(draft, id=""), *former[at:]]

    version = _save(team, change, f"Added {draft.name}", actor, based_on)
    return next(one for one in queries.drafts_of(version) if one.name == draft.name.strip())


def change_policy(
    team: Team, policy_id: str, draft: PolicyDraft, *, actor: Actor, based_on: int | None = None
) -> PolicyDraft:
    """Put another policy in a policy's place; return it as it is kept."""

    def change(former: list[PolicyDraft]) -> list[PolicyDraft]:
        at = _place_of(former, policy_id)
        return [*former[:at], replace(draft, id=policy_id), *former[at + 1 :]]

    version = _save(team, change, f"Changed {draft.name}", actor, based_on)
    return next(one for one in queries.drafts_of(version) if one.id == policy_id)


def remove_policy(team: Team, policy_id: str, *, actor: Actor, based_on: int | None = None) -> None:
    """Take a policy away."""
    name = queries.get_policy(team, policy_id).name
    _save(team, lambda former: _without(former, policy_id), f"Removed {name}", actor, based_on)


def move_policy(team: Team, policy_id: str, place: int, *, actor: Actor, based_on: int | None = None) -> None:
    """Put a policy at another place in the order; 0 is first, and what is beyond the end is last."""
    moved = queries.get_policy(team, policy_id)

    def change(former: list[PolicyDraft]) -> list[PolicyDraft]:
        rest = _without(former, policy_id)
        at = max(0, min(place, len(rest)))
        return [*rest[:at], former[_place_of(former, policy_id)], *rest[at:]]

    _save(team, change, f"Moved {moved.name}", actor, based_on)


def restore_version(team: Team, number: int, *, actor: Actor, based_on: int | None = None) -> PolicyVersion:
    """Put an earlier version's policies in force again, as a new version. Raises `PolicyVersionNotFound`."""
    former = queries.get_version(team, number)
    return _save(team, lambda _now: queries.drafts_of(former), f"Restored version {number}", actor, based_on)


def _save(team: Team, change: Change, note: str, actor: Actor, based_on: int | None) -> PolicyVersion:
    with transaction.atomic():
        # One writer of a team's policies at a time, so that numbers have no gap and nobody's change is lost.
        Team.objects.select_for_update().get(pk=team.pk)
        former = queries.current_version(team)
        number = former.number if former is not None else 0
        if based_on is not None and based_on != number:
            raise PoliciesChanged
        before = queries.drafts_of(former) if former is not None else []
        after = checked(change(before), queries.known_dialects())
        if former is not None and after == before:
            return former
        version = PolicyVersion.objects.create(
            team=team,
            number=number + 1,
            document=[draft.as_document() for draft in after],
            note=note[:_NOTE_CHARS_MAX],
            author=User.objects.filter(pk=actor.user_id).first() if actor.user_id else None,
            api_key_id=actor.api_key_id,
        )
        audit.record(
            action="policies.changed",
            actor=actor,
            team_id=team.pk,
            target_kind="policies",
            target_id=version.pk,
            target_name=f"version {version.number}: {version.note}",
            before=_told(number, before, after),
            after=_told(version.number, after, before),
        )
    return rows_of(team, PolicyVersion).get(pk=version.pk)


def _told(number: int, drafts: list[PolicyDraft], others: list[PolicyDraft]) -> dict[str, object]:
    """Return what the audit log says of a version beside another: the order, and the policies that differ.

    Their names are values: as names of members they would be taken for words of ours, and "Passwords" for a secret.
    """
    same = {draft.id: draft for draft in others}
    different = [draft.as_document() for draft in drafts if same.get(draft.id) != draft]
    return {"version": number, "order": [draft.name for draft in drafts], "policies": different}


def _place_of(drafts: list[PolicyDraft], policy_id: str) -> int:
    for place, draft in enumerate(drafts):
        if draft.id == policy_id:
            return place
    raise PolicyNotFound


def _without(drafts: list[PolicyDraft], policy_id: str) -> list[PolicyDraft]:
    at = _place_of(drafts, policy_id)
    return [*drafts[:at], *drafts[at + 1 :]]
