"""Who may do what: one table that drives pages, API, key scopes and the reference page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from agentcache.gateway.ports import Scope


class Permission(StrEnum):
    """One thing that may be done in a team."""

    CACHE_READ = "cache.read"
    CACHE_PURGE = "cache.purge"
    POLICIES_READ = "policies.read"
    POLICIES_MANAGE = "policies.manage"
    SEMANTICS_READ = "semantics.read"
    SEMANTICS_MANAGE = "semantics.manage"
    REQUESTS_READ = "requests.read"
    STATS_READ = "stats.read"
    LISTENERS_READ = "listeners.read"
    LISTENERS_MANAGE = "listeners.manage"
    KEYS_READ = "keys.read"
    KEYS_MANAGE = "keys.manage"
    MEMBERS_READ = "members.read"
    MEMBERS_MANAGE = "members.manage"
    TEAM_MANAGE = "team.manage"
    TEAM_DELETE = "team.delete"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_MANAGE = "webhooks.manage"
    CREDENTIALS_READ = "credentials.read"
    CREDENTIALS_MANAGE = "credentials.manage"
    PREWARM_READ = "prewarm.read"
    PREWARM_RUN = "prewarm.run"
    JOBS_READ = "jobs.read"
    JOBS_CANCEL = "jobs.cancel"
    AUDIT_READ = "audit.read"
    BILLING_READ = "billing.read"
    BILLING_MANAGE = "billing.manage"


DESCRIPTIONS: Final[Mapping[Permission, str]] = MappingProxyType({
    Permission.CACHE_READ: "Browse cached entries and see what they hold",
    Permission.CACHE_PURGE: "Delete cached entries and invalidate tags",
    Permission.POLICIES_READ: "See policies, their versions, and what they would have done to past traffic",
    Permission.POLICIES_MANAGE: "Change for how long answers are kept, and which are not",
    Permission.SEMANTICS_READ: "See semantic hits and what was judged of them, and try pairs of prompts",
    Permission.SEMANTICS_MANAGE: "Change which namespaces look up by meaning, have judges asked, and release entries from quarantine",
    Permission.REQUESTS_READ: "See requests, and why each was a hit or a miss",
    Permission.STATS_READ: "See usage, savings and analytics, and export them",
    Permission.LISTENERS_READ: "See watched sources, and what changed there",
    Permission.LISTENERS_MANAGE: "Watch sources, change and pause listeners, delete them",
    Permission.KEYS_READ: "See the list of API keys, never the keys themselves",
    Permission.KEYS_MANAGE: "Create, change, rotate and revoke API keys",
    Permission.MEMBERS_READ: "See who is in the team and who is invited",
    Permission.MEMBERS_MANAGE: "Invite people, change roles, remove members",
    Permission.TEAM_MANAGE: "Change the team's name, logo, defaults and limits",
    Permission.TEAM_DELETE: "Delete the team, and make others its owners",
    Permission.WEBHOOKS_READ: "See webhook endpoints and what was delivered to them",
    Permission.WEBHOOKS_MANAGE: "Make, change, test and delete webhook endpoints, and send deliveries again",
    Permission.CREDENTIALS_READ: "See for which providers a credential is kept, never the credentials themselves",
    Permission.CREDENTIALS_MANAGE: "Keep, test and delete provider credentials",
    Permission.PREWARM_READ: "See what was prewarmed, and what it cost",
    Permission.PREWARM_RUN: "Prewarm: ask providers with the team's credentials",
    Permission.JOBS_READ: "See jobs and how far they are",
    Permission.JOBS_CANCEL: "Cancel jobs",
    Permission.AUDIT_READ: "Read and export the audit log",
    Permission.BILLING_READ: "See plan, invoices and payment method",
    Permission.BILLING_MANAGE: "Change plan and payment method",
})  # fmt: skip

VIEWER: Final = frozenset({
    Permission.CACHE_READ, Permission.POLICIES_READ, Permission.SEMANTICS_READ, Permission.REQUESTS_READ, Permission.STATS_READ,
    Permission.LISTENERS_READ, Permission.KEYS_READ, Permission.MEMBERS_READ, Permission.JOBS_READ, Permission.PREWARM_READ,
})  # fmt: skip
MEMBER: Final = VIEWER | {
    Permission.CACHE_PURGE, Permission.LISTENERS_MANAGE, Permission.KEYS_MANAGE, Permission.WEBHOOKS_READ,
    Permission.JOBS_CANCEL, Permission.CREDENTIALS_READ,
}  # fmt: skip
ADMIN: Final = MEMBER | {
    Permission.MEMBERS_MANAGE, Permission.POLICIES_MANAGE, Permission.SEMANTICS_MANAGE, Permission.TEAM_MANAGE,
    Permission.AUDIT_READ, Permission.BILLING_READ,
    Permission.WEBHOOKS_MANAGE, Permission.CREDENTIALS_MANAGE, Permission.PREWARM_RUN,
}  # fmt: skip
#: What the billing mark adds to any role.
BILLING_MARK: Final = frozenset({Permission.BILLING_READ, Permission.BILLING_MANAGE})
#: What the owner mark adds; owners are always admins.
OWNER_MARK: Final = BILLING_MARK | {Permission.TEAM_DELETE}

#: Role -> what it may do, lowest role first. Keys are values of `models.Role`.
BY_ROLE: Final[Mapping[str, frozenset[Permission]]] = MappingProxyType({
    "viewer": VIEWER,
    "member": MEMBER,
    "admin": ADMIN,
})  # fmt: skip

#: Scope of an API key -> what it may do in the control plane. Managing members, deleting the team and paying are for
#: people: a leaked key must not be able to keep its thief in the team.
BY_SCOPE: Final[Mapping[Scope, frozenset[Permission]]] = MappingProxyType({
    Scope.CACHE_READ: frozenset({Permission.CACHE_READ, Permission.LISTENERS_READ}),
    Scope.CACHE_WRITE: frozenset({
        Permission.CACHE_PURGE, Permission.LISTENERS_MANAGE, Permission.JOBS_READ, Permission.JOBS_CANCEL,
    }),
    Scope.STATS_READ: frozenset({Permission.STATS_READ, Permission.REQUESTS_READ}),
    Scope.ADMIN: ADMIN - {Permission.MEMBERS_MANAGE},
})  # fmt: skip


def permissions_of_member(role: str, *, is_owner: bool, has_billing: bool) -> frozenset[Permission]:
    """Return what a member with this role and these marks may do; an unknown role may nothing."""
    found = BY_ROLE.get(role, frozenset())
    if has_billing:
        found |= BILLING_MARK
    if is_owner:
        found |= OWNER_MARK
    return found


def permissions_of_scopes(scopes: Iterable[Scope]) -> frozenset[Permission]:
    """Return what a key with these scopes may do."""
    return frozenset[Permission]().union(*(BY_SCOPE[scope] for scope in scopes))


def grantable_scopes(permissions: frozenset[Permission]) -> frozenset[Scope]:
    """Return the scopes that somebody with these permissions may give to a key: none that does more than they may."""
    return frozenset(scope for scope, granted in BY_SCOPE.items() if granted <= permissions)


def rank(role: str) -> int:
    """Return a role's place among the roles, 0 for the lowest; an unknown role is below all."""
    return list(BY_ROLE).index(role) if role in BY_ROLE else -1


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One permission, and who has it."""

    permission: Permission
    description: str
    #: Roles that have it, lowest first.
    roles: list[str]
    #: Marks that add it: `owner`, `billing`.
    marks: list[str]
    #: Scopes with which an API key has it.
    scopes: list[str]


def matrix() -> list[MatrixRow]:
    """Return the whole table, one row for each permission."""
    marks = {"owner": OWNER_MARK, "billing": BILLING_MARK}
    return [
        MatrixRow(
            permission,
            DESCRIPTIONS[permission],
            roles=[role for role, granted in BY_ROLE.items() if permission in granted],
            marks=[mark for mark, granted in marks.items() if permission in granted],
            scopes=[scope.value for scope, granted in BY_SCOPE.items() if permission in granted],
        )
        for permission in Permission
    ]
