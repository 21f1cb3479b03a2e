"""Reads of who belongs to which team."""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Value, When
from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.teams.models import ApiKey, Membership, Role, Team
from agentcache.teams.permissions import BY_ROLE
from agentcache.teams.queries.pages import PAGE_ROWS, ListPage, page_of
from agentcache.teams.tenancy import rows_of

_BY_RANK = Case(
    *(When(role=role, then=Value(-place)) for place, role in enumerate(BY_ROLE)), output_field=IntegerField()
)
_IN_LISTS = ("-is_owner", "by_rank", "user__name", "user__email")
_SECOND_FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as lists show one."""

    membership: Membership
    has_second_factor: bool
    #: Keys that work and that this member made.
    live_api_keys: int


def find_membership(user: User, team_id_or_slug: str) -> Membership | None:
    """Return the user's membership of a team, with the team. None for a team that is not there, or not theirs."""
    is_named = Q(team_id=team_id_or_slug) | Q(team__slug=team_id_or_slug)
    # By id first: a team whose slug is another's id must not stand in for it.
    found = sorted(memberships_of(user).filter(is_named), key=lambda row: row.team_id != team_id_or_slug)
    return found[0] if found else None


def last_used_membership(user: User) -> Membership | None:
    """Return the membership that the user used last, else the oldest one."""
    return memberships_of(user).order_by(F("last_seen_at").desc(nulls_last=True), "id").first()


def memberships_of(user: User) -> QuerySet[Membership]:
    """Return all memberships of a user, with their teams, by team name. Crosses tenants: these are the user's own."""
    return Membership.objects.filter(user=user).select_related("team").order_by("team__name", "team_id")


def list_members(team: Team, *, cursor: str = "", limit: int = PAGE_ROWS) -> ListPage[MemberRow]:
    """Return a page of a team's members: owners first, then by role and name. Five queries, however many there are."""
    page = page_of(_members(team), _IN_LISTS, cursor=cursor, limit=limit)
    return ListPage(_rows(team, page.rows), page.next_cursor)


def get_member(team: Team, membership_id: str) -> MemberRow | None:
    """Return a member of the team as lists show one."""
    rows = _rows(team, list(_members(team).filter(pk=membership_id)))
    return rows[0] if rows else None


def admins_of(team: Team) -> list[Membership]:
    """Return the admins of a team with their users, owners first, then by name."""
    return list(_members(team).filter(role=Role.ADMIN).order_by(*_IN_LISTS))


def count_members(team: Team) -> int:
    """Return how many people are in a team."""
    return rows_of(team, Membership).count()


def keys_made_by(member: Membership) -> QuerySet[ApiKey]:
    """Return the keys that work and that this member made: what breaks, or goes on unowned, when the member goes."""
    return live_api_keys(member.team).filter(created_by=member.user).order_by("name", "id")


def find_member(team: Team, membership_id: str) -> Membership | None:
    """Return a member of the team with the user."""
    return rows_of(team, Membership).select_related("user", "team").filter(pk=membership_id).first()


def count_owners(team: Team) -> int:
    """Return how many owners a team has."""
    return rows_of(team, Membership).filter(is_owner=True).count()


def live_api_keys(team: Team) -> QuerySet[ApiKey]:
    """Return the keys of a team that work."""
    is_live = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return rows_of(team, ApiKey).filter(is_live, revoked_at__isnull=True)


def _members(team: Team) -> QuerySet[Membership]:
    return rows_of(team, Membership).select_related("user", "team").annotate(by_rank=_BY_RANK)


def _rows(team: Team, members: list[Membership]) -> list[MemberRow]:
    users = [member.user_id for member in members]
    factors = Authenticator.objects.filter(user_id__in=users, type__in=_SECOND_FACTORS)
    secured = set(factors.values_list("user_id", flat=True))
    made = live_api_keys(team).filter(created_by__in=users)
    keys = dict(made.values_list("created_by").annotate(Count("id")).order_by())
    return [MemberRow(member, member.user_id in secured, keys.get(member.user_id, 0)) for member in members]
