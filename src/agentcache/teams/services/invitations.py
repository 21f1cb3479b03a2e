"""Writes to invitations."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.http import HttpRequest
from django.utils import timezone

from agentcache.accounts import limits
from agentcache.accounts.limits import Door
from agentcache.accounts.models import User
from agentcache.accounts.services.registration import checked_email, join_invited
from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.mails import services as mails
from agentcache.teams import queries
from agentcache.teams.errors import (
    AlreadyMember,
    InvitationClosed,
    InvitationForAnother,
    InvitationNotFound,
    RoleAboveOwn,
)
from agentcache.teams.links import page_link
from agentcache.teams.models import Invitation, InvitationLink, Membership, Team
from agentcache.teams.permissions import Permission, rank
from agentcache.teams.queries import FoundInvitation
from agentcache.teams.seats import require_seat_to_invite, require_seat_to_join
from agentcache.teams.services.locking import locked, still_may
from agentcache.teams.services.members import checked_role
from agentcache.teams.services.notes import note
from agentcache.teams.tenancy import rows_of

#: How long a link works after it was mailed.
LIFE = timedelta(days=7)


def invite(team: Team, email: str, role: str, *, by: Membership, actor: Actor, address: str = "") -> Invitation:
    """Mail somebody an invitation; one that is open for the address is sent again, with the new role.

    Answers the same whether or not the address has an account here. `address` is the caller's, for the limit of mails.
    """
    email, role = checked_email(email), checked_role(role)
    with _one_mail(team, address), locked(team):
        acting = still_may(by, Permission.MEMBERS_MANAGE)
        if rank(role) > rank(acting.role):
            raise RoleAboveOwn
        if rows_of(team, Membership).filter(user__email__iexact=email).exists():
            raise AlreadyMember(param="email")
        require_seat_to_invite(team, taken=queries.count_seats(team, with_email=email))
        now = timezone.now()
        open_ones = rows_of(team, Invitation).filter(accepted_at=None, cancelled_at=None)
        invitation = open_ones.filter(email=email).first()
        action = "invitation.created" if invitation is None else "invitation.resent"
        if invitation is None:
            invitation = Invitation(team=team, email=email)
        invitation.role = role
        _send(invitation, acting, now)
        note(action, invitation, actor, after={"email": email, "role": role})
    return invitation


def resend_invitation(team: Team, invitation_id: str, *, by: Membership, actor: Actor, address: str = "") -> Invitation:
    """Mail an open invitation again, in the name of who does it: new link, new 7 days; earlier links stop working."""
    with _one_mail(team, address), locked(team):
        acting = still_may(by, Permission.MEMBERS_MANAGE)
        invitation = _open_invitation(team, invitation_id)
        if rank(invitation.role) > rank(acting.role):
            raise RoleAboveOwn
        require_seat_to_invite(team, taken=queries.count_seats(team, with_email=invitation.email))
        _send(invitation, acting, timezone.now())
        note("invitation.resent", invitation, actor, after={"email": invitation.email, "role": invitation.role})
    return invitation


def cancel_invitation(team: Team, invitation_id: str, *, by: Membership, actor: Actor) -> Invitation:
    """Take an open invitation back; its links stop working at once."""
    with locked(team):
        still_may(by, Permission.MEMBERS_MANAGE)
        invitation = _open_invitation(team, invitation_id)
        invitation.cancelled_at = timezone.now()
        invitation.save(update_fields=["cancelled_at"])
        note("invitation.cancelled", invitation, actor, before={"email": invitation.email, "role": invitation.role})
    return invitation


def accept_invitation(token: str, user: User, *, actor: Actor) -> Membership:
    """Make the user a member. Raises an error of `InvitationUnusable`, or `InvitationNotFound`, that says what to do."""
    found = queries.find_invitation(token)
    if found is None:
        raise InvitationNotFound
    with locked(found.invitation.team) as team:
        # Read again inside the lock: of two at once, one wins and the other finds it used.
        found = queries.find_invitation(token)
        if found is None:
            raise InvitationNotFound
        invitation = found.invitation
        found.require_usable()
        if user.email.lower() != invitation.email:
            raise InvitationForAnother
        member = rows_of(team, Membership).filter(user=user).first()
        if member is None:
            _require_seat(team)
            member = Membership.objects.create(team=team, user=user, role=invitation.role)
        invitation.accepted_at = timezone.now()
        invitation.accepted_by = user
        invitation.save(update_fields=["accepted_at", "accepted_by"])
        note("invitation.accepted", invitation, actor, after={"email": invitation.email, "role": member.role})
    return member


def join_by_invitation(request: HttpRequest, token: str, password: str, name: str = "") -> Membership:
    """Make an account for the invited address, which the mailed link has proved, and a member of it.

    Raises what `accept_invitation` raises, and what is wrong with name or password. Does not sign in.
    """
    found = queries.find_invitation(token)
    if found is None:
        raise InvitationNotFound
    found.require_usable()
    # Before there is an account for nothing; judged again when the invitation is accepted.
    _require_seat(found.invitation.team)
    # Two transactions: hashing a password must not hold up everybody who writes. Whoever is cut off in between has an
    # account, and an invitation that is still open.
    user = join_invited(request, found.invitation.email, password, name)
    return accept_invitation(token, user, actor=Actor.of(request))


def require_seat_for(found: FoundInvitation) -> None:
    """Raise `NoSeatLeft` when whoever was invited could not join now."""
    team = found.invitation.team
    if not rows_of(team, Membership).filter(user__email__iexact=found.invitation.email).exists():
        _require_seat(team)


@contextmanager
def _one_mail(team: Team, address: str) -> Iterator[None]:
    """Count a mail to be sent; raises `TooManyAttempts`. What is refused sends none, and is not counted."""
    limits.take(Door.INVITE, account=team.pk, address=address)
    try:
        yield
    except AgentCacheError:
        limits.forgive(Door.INVITE, account=team.pk, address=address)
        raise


def _require_seat(team: Team) -> None:
    require_seat_to_join(team, members=rows_of(team, Membership).count())


def _send(invitation: Invitation, acting: Membership, now: datetime) -> None:
    team = invitation.team
    invitation.invited_by = acting.user
    invitation.sent_at = now
    invitation.expires_at = now + LIFE
    invitation.save()
    invitation.links.filter(is_live=True).update(is_live=False)
    token = secrets.token_urlsafe(32)
    InvitationLink.objects.create(token_hash=queries.hash_token(token), invitation=invitation, created_at=now)
    context = {
        "team": team.name,
        "inviter": acting.user.name or acting.user.email,
        "inviter_email": acting.user.email,
        "role": invitation.get_role_display(),
        "link": page_link("teams:invitation", token),
        "expires_at": invitation.expires_at.strftime("%-d %B %Y, %H:%M UTC"),
    }
    mails.send("team-invitation", invitation.email, context)


def _open_invitation(team: Team, invitation_id: str) -> Invitation:
    invitation = rows_of(team, Invitation).select_related("team").filter(pk=invitation_id).first()
    if invitation is None:
        raise InvitationNotFound(param="invitation_id")
    if invitation.accepted_at is not None or invitation.cancelled_at is not None:
        raise InvitationClosed
    return invitation
