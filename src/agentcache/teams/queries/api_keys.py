"""Reads of API keys."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from agentcache.gateway.ports import Refusal, Scope
from agentcache.teams.models import ApiKey, FormerApiKey, Membership, Team
from agentcache.teams.permissions import grantable_scopes, permissions_of_member
from agentcache.teams.queries.pages import PAGE_ROWS, ListPage, page_of
from agentcache.teams.tenancy import rows_of

_SCOPES = {scope.value: scope for scope in Scope}


class KeyState(StrEnum):
    """What a key is at the moment."""

    LIVE = "live"
    #: Its former value still works beside the new one.
    ROTATING = "rotating"
    EXPIRED = "expired"
    REVOKED = "revoked"
    #: Its member was disabled or is not in the team any more.
    INACTIVE = "inactive"


_STATES = {Refusal.REVOKED: KeyState.REVOKED, Refusal.EXPIRED: KeyState.EXPIRED, Refusal.INACTIVE: KeyState.INACTIVE}


@dataclass(frozen=True, slots=True)
class FoundApiKey:
    """A key found by its whole value: the present one, or a former one."""

    row: ApiKey
    former: FormerApiKey | None = None

    def refusal(self, now: datetime) -> Refusal | None:
        """Return why the value is let in no more, None while it works."""
        if self.row.revoked_at is None and self.former is not None and self.former.ends_at <= now:
            return Refusal.ROTATED
        return refusal_of(self.row, now)

    def scopes(self) -> frozenset[Scope]:
        """Return what the key may do: what is written in it, and of a member's own key no more than the member may."""
        scopes = frozenset(_SCOPES[scope] for scope in self.row.scopes if scope in _SCOPES)
        if self.row.is_shared:
            return scopes
        role = _role_of_member(self.row) or ""
        return scopes & grantable_scopes(permissions_of_member(role, is_owner=False, has_billing=False))


def list_api_keys(team: Team) -> QuerySet[ApiKey]:
    """Return a team's keys, newest first, revoked and expired ones too."""
    return _with_member(rows_of(team, ApiKey)).order_by("-created_at", "-id")


def page_of_api_keys(
    team: Team, *, with_ended: bool = True, cursor: str = "", limit: int = PAGE_ROWS
) -> ListPage[ApiKey]:
    """Return a page of a team's keys, newest first, on wish without those that are revoked or expired."""
    narrowed = None if with_ended else ~_ended()
    return page_of(_with_member(rows_of(team, ApiKey)), ["-created_at"], cursor=cursor, limit=limit, narrowed=narrowed)


def count_ended_keys(team: Team) -> int:
    """Return how many of a team's keys are revoked or expired."""
    return rows_of(team, ApiKey).filter(_ended()).count()


def get_api_key(team: Team, api_key_id: str) -> ApiKey | None:
    """Return a key of the team."""
    return _with_member(rows_of(team, ApiKey)).filter(pk=api_key_id).first()


def former_values(row: ApiKey) -> list[FormerApiKey]:
    """Return the former values of a key that still work, the one that ends first at the front."""
    return list(FormerApiKey.objects.filter(api_key=row, ends_at__gt=timezone.now()).order_by("ends_at"))


def rotating_keys(team: Team) -> frozenset[str]:
    """Return the ids of the team's keys with a former value that still works."""
    former = FormerApiKey.objects.filter(api_key__team=team, ends_at__gt=timezone.now())
    return frozenset(former.values_list("api_key_id", flat=True))


def refusal_of(row: ApiKey, now: datetime) -> Refusal | None:
    """Return why a key is let in no more, None while it works."""
    if row.revoked_at is not None:
        return Refusal.REVOKED
    if row.expires_at is not None and row.expires_at <= now:
        return Refusal.EXPIRED
    if row.is_shared:
        return None
    # Asked at every check rather than noted when somebody goes: nothing can then be forgotten.
    maker = row.created_by
    if maker is None or not maker.is_active or _role_of_member(row) is None:
        return Refusal.INACTIVE
    return None


def key_state(row: ApiKey, rotating: frozenset[str] = frozenset()) -> KeyState:
    """Return what a key is now; `rotating` as `rotating_keys` returns it."""
    refusal = refusal_of(row, timezone.now())
    if refusal is not None:
        return _STATES[refusal]
    return KeyState.ROTATING if row.pk in rotating else KeyState.LIVE


def find_api_key(possible_hashes: Sequence[bytes]) -> FoundApiKey | None:
    """Return the key whose present or former value is stored under one of these hashes, whether it works or not.

    Crosses tenants on purpose: this look-up is what tells the tenant.
    """
    hashes = list(possible_hashes)
    for row in _with_member(ApiKey.objects.filter(key_hash__in=hashes)):
        if _is_one_of(bytes(row.key_hash), hashes):
            return FoundApiKey(row)
    for former in FormerApiKey.objects.filter(key_hash__in=hashes):
        if _is_one_of(bytes(former.key_hash), hashes):
            return FoundApiKey(_with_member(ApiKey.objects.all()).get(pk=former.api_key_id), former)
    return None


def find_live_api_key(possible_hashes: Sequence[bytes]) -> ApiKey | None:
    """Return the key stored under one of these hashes, with its team, unless it is let in no more."""
    found = find_api_key(possible_hashes)
    return None if found is None or found.refusal(timezone.now()) is not None else found.row


def _ended() -> Q:
    return Q(revoked_at__isnull=False) | Q(expires_at__isnull=False, expires_at__lte=timezone.now())


def _with_member(rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Read team, maker and the maker's present role along with the keys."""
    member = Membership.objects.filter(team=OuterRef("team"), user=OuterRef("created_by"))
    role = Subquery(member.values("role")[:1])
    return rows.select_related("team", "created_by", "created_by_key").annotate(member_role=role)


def _role_of_member(row: ApiKey) -> str | None:
    if hasattr(row, "member_role"):
        role: str | None = row.member_role
        return role
    member = rows_of(row.team, Membership).filter(user=row.created_by_id).first()
    return member.role if member is not None else None


def _is_one_of(stored: bytes, hashes: Sequence[bytes]) -> bool:
    return any(hmac.compare_digest(stored, known) for known in hashes)
