"""Every read of policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings as django_conf
from django.db.models import QuerySet

from agentcache.policies.drafts import PolicyDraft
from agentcache.policies.errors import PolicyNotFound, PolicyVersionNotFound
from agentcache.policies.models import PolicyVersion
from agentcache.providers.registry import DIALECTS
from agentcache.settings import Settings
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class CurrentPolicies:
    """A team's policies as they are in force."""

    #: 0 before the first save.
    version: int
    drafts: list[PolicyDraft]


def current_version(team: Team) -> PolicyVersion | None:
    """Return the version in force, or None before the first save."""
    return rows_of(team, PolicyVersion).order_by("-number").first()


def current_policies(team: Team) -> CurrentPolicies:
    """Return the policies in force."""
    version = current_version(team)
    return CurrentPolicies(0, []) if version is None else CurrentPolicies(version.number, drafts_of(version))


def drafts_of(version: PolicyVersion) -> list[PolicyDraft]:
    """Return the policies of a version, first match first."""
    return [PolicyDraft.of_document(document) for document in version.document]


def get_policy(team: Team, policy_id: str) -> PolicyDraft:
    """Return one of the policies in force; raise `PolicyNotFound`."""
    for draft in current_policies(team).drafts:
        if draft.id == policy_id:
            return draft
    raise PolicyNotFound


def name_of(team: Team, policy_id: str) -> str:
    """Return what a policy is called now; the end of its id when it is there no more."""
    names = {draft.id: draft.name for draft in current_policies(team).drafts}
    return names.get(policy_id, f"Removed policy …{policy_id[-6:]}")


def get_version(team: Team, number: int) -> PolicyVersion:
    """Return one version; raise `PolicyVersionNotFound`."""
    found = _versions(team).filter(number=number).first() if 0 < number < 2**31 else None
    if found is None:
        raise PolicyVersionNotFound
    return found


def list_versions(team: Team, *, before: int | None = None, limit: int = PAGE_ROWS) -> Sequence[PolicyVersion]:
    """Return versions, newest first; `before` continues a page."""
    rows = _versions(team).order_by("-number")
    return list((rows.filter(number__lt=before) if before is not None else rows)[:limit])


def known_dialects() -> tuple[str, ...]:
    """Return the providers that policies may name: those built in, and those that the operator added."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return tuple(sorted({*DIALECTS, *settings.upstreams}))


def _versions(team: Team) -> QuerySet[PolicyVersion]:
    return rows_of(team, PolicyVersion).select_related("author")
