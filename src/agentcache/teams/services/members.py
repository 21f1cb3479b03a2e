"""Writes to who belongs to a team."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from agentcache.accounts.models import User
from agentcache.accounts.services.sessions import renew_sessions
from agentcache.audit.services import Actor
from agentcache.mails import services as mails
from agentcache.teams.errors import (
    InvalidRole,
    LastOwner,
    MemberNotFound,
    MissingPermission,
    OwnersAreAdmins,
    RoleAboveOwn,
)
from agentcache.teams.links import page_link
from agentcache.teams.models import Membership, Role, Team
from agentcache.teams.permissions import Permission, rank
from agentcache.teams.services.api_keys import release_api_keys
from agentcache.teams.services.locking import locked, permissions_of, still_may
from agentcache.teams.services.notes import note
from agentcache.teams.tenancy import rows_of


def add_owner(team: Team, user: User) -> Membership:
    """Make the user of a new team its owner, with every permission."""
    return Membership.objects.create(team=team, user=user, role=Role.ADMIN, is_owner=True, has_billing=True)


def touch_membership(membership: Membership, at: datetime) -> None:
    """Note that a member used the team, to the minute, unless a later use is known."""
    minute = at.replace(second=0, microsecond=0)
    if membership.last_seen_at is not None and membership.last_seen_at >= minute:
        return
    is_later = Q(last_seen_at__isnull=True) | Q(last_seen_at__lt=minute)
    rows_of(membership.team, Membership).filter(is_later, pk=membership.pk).update(last_seen_at=minute)


def change_role(team: Team, membership_id: str, role: str, *, by: Membership, actor: Actor) -> Membership:
    """Give a member another role, at most the role of who changes it; effective at the member's next request."""
    role = checked_role(role)
    with locked(team):
        acting = still_may(by, Permission.MEMBERS_MANAGE)
        member = _member(team, membership_id)
        if member.is_owner and role != Role.ADMIN:
            raise OwnersAreAdmins
        if rank(role) > rank(acting.role):
            raise RoleAboveOwn
        if member.role == role:
            return member
        before = _described(member)
        member.role = role
        member.save(update_fields=["role"])
        note("member.role_changed", member, actor, before=before, after=_described(member))
        renew_sessions(member.user)
    return member


def set_owner(team: Team, membership_id: str, is_owner: bool, *, by: Membership, actor: Actor) -> Membership:
    """Set or take away a member's owner mark. Only owners do that, and one always stays."""
    with locked(team):
        still_may(by, Permission.TEAM_DELETE)
        member = _member(team, membership_id)
        if member.is_owner == is_owner:
            return member
        if not is_owner:
            _require_another_owner(member)
        before = _described(member)
        member.is_owner = is_owner
        if is_owner:
            member.role = Role.ADMIN
        member.save(update_fields=["role", "is_owner"])
        note("member.owner_changed", member, actor, before=before, after=_described(member))
        renew_sessions(member.user)
    return member


def set_billing(team: Team, membership_id: str, has_billing: bool, *, by: Membership, actor: Actor) -> Membership:
    """Set or take away a member's billing mark. Needs both the right over members and the right that is given."""
    with locked(team):
        acting = still_may(by, Permission.MEMBERS_MANAGE)
        if Permission.BILLING_MANAGE not in permissions_of(acting):
            raise MissingPermission.of(Permission.BILLING_MANAGE)
        member = _member(team, membership_id)
        if member.has_billing == has_billing:
            return member
        before = _described(member)
        member.has_billing = has_billing
        member.save(update_fields=["has_billing"])
        note("member.billing_changed", member, actor, before=before, after=_described(member))
        renew_sessions(member.user)
    return member


def transfer_ownership(team: Team, membership_id: str, *, by: Membership, actor: Actor) -> Membership:
    """Make a member an owner in the place of the owner who asks for it, who stays an admin."""
    with locked(team):
        former = still_may(by, Permission.TEAM_DELETE)
        member = _member(team, membership_id)
        if member.pk == former.pk:
            return member
        before = _described(member)
        member.is_owner, member.role, member.has_billing = True, Role.ADMIN, True
        member.save(update_fields=["role", "is_owner", "has_billing"])
        former.is_owner = False
        former.save(update_fields=["is_owner"])
        note("team.ownership_transferred", member, actor, before=before, after=_described(member))
        mails.send("team-ownership", member.user.email, {
            "team": team.name, "former_owner": _called(former.user), "link": page_link("teams:members"),
        })  # fmt: skip
        renew_sessions(member.user)
        renew_sessions(former.user)
    return member


def remove_member(team: Team, membership_id: str, *, by: Membership, actor: Actor, revoke_keys: bool) -> None:
    """Take somebody out of the team; the API keys they made go on working unless they are revoked as well."""
    with locked(team):
        acting = still_may(by, Permission.MEMBERS_MANAGE)
        member = _member(team, membership_id)
        if member.is_owner and not acting.is_owner:
            raise MissingPermission.of(Permission.TEAM_DELETE)
        _take_out(member, "member.removed", actor, revoke_keys=revoke_keys)
        mails.send("team-removed", member.user.email, {"team": team.name, "by": _called(acting.user)})


def change_member(
    team: Team,
    membership_id: str,
    *,
    by: Membership,
    actor: Actor,
    role: str | None = None,
    is_owner: bool | None = None,
    has_billing: bool | None = None,
) -> None:
    """Change what is given, all of it or nothing."""
    with transaction.atomic():
        # First the mark that fixes the role: an owner who becomes a member loses the mark before the role.
        if is_owner is not None:
            set_owner(team, membership_id, is_owner, by=by, actor=actor)
        if role is not None:
            change_role(team, membership_id, role, by=by, actor=actor)
        if has_billing is not None:
            set_billing(team, membership_id, has_billing, by=by, actor=actor)


def leave_team(team: Team, *, by: Membership, actor: Actor, revoke_keys: bool = False) -> None:
    """Leave a team. Raises `LastOwner` for its only owner."""
    with locked(team):
        _take_out(_member(team, by.pk), "member.left", actor, revoke_keys=revoke_keys)


def checked_role(role: str) -> str:
    """Return a role; raise `InvalidRole` for any other word."""
    if role not in Role.values:
        raise InvalidRole(param="role")
    return role


def _take_out(member: Membership, action: str, actor: Actor, *, revoke_keys: bool) -> None:
    _require_another_owner(member)
    revoked = release_api_keys(member, revoke=revoke_keys, actor=actor)
    note(action, member, actor, before=_described(member), after={"revoked_api_keys": revoked})
    rows_of(member.team, Membership).filter(pk=member.pk).delete()
    renew_sessions(member.user)


def _require_another_owner(member: Membership) -> None:
    others = rows_of(member.team, Membership).filter(is_owner=True).exclude(pk=member.pk)
    if member.is_owner and not others.exists():
        raise LastOwner


def _member(team: Team, membership_id: str) -> Membership:
    member = rows_of(team, Membership).select_related("user", "team").filter(pk=membership_id).first()
    if member is None:
        raise MemberNotFound(param="member_id")
    return member


def _described(member: Membership) -> dict[str, object]:
    return {"role": member.role, "is_owner": member.is_owner, "has_billing": member.has_billing}


def _called(user: User) -> str:
    return user.name or user.email
