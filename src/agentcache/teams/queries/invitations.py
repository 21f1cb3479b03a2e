"""Reads of invitations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from agentcache.accounts.models import User
from agentcache.teams.errors import (
    InvitationClosed,
    InvitationExpired,
    InvitationInvalid,
    InvitationReplaced,
)
from agentcache.teams.models import Invitation, InvitationLink, Membership, Team
from agentcache.teams.permissions import BY_ROLE, Permission, rank
from agentcache.teams.queries.pages import PAGE_ROWS, ListPage, page_of
from agentcache.teams.seats import seats_of
from agentcache.teams.tenancy import rows_of

_INVITING_ROLES = frozenset(role for role, granted in BY_ROLE.items() if Permission.MEMBERS_MANAGE in granted)


class InvitationState(StrEnum):
    """Where an invitation stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    #: Who sent it may not invite to that role any more.
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class FoundInvitation:
    """The invitation that a mailed link belongs to."""

    invitation: Invitation
    state: InvitationState
    #: False for a link in an older mail than the last.
    is_newest_link: bool

    def require_usable(self) -> None:
        """Raise what says why the link cannot be used, and what to do."""
        if self.state in (InvitationState.ACCEPTED, InvitationState.CANCELLED):
            raise InvitationClosed
        if not self.is_newest_link:
            raise InvitationReplaced
        if self.state is InvitationState.EXPIRED:
            raise InvitationExpired
        if self.state is InvitationState.INVALID:
            raise InvitationInvalid


@dataclass(frozen=True, slots=True)
class SeatsTaken:
    """How full a team is."""

    plan: str
    #: Members and people with an open invitation, nobody twice.
    taken: int
    #: None for any number.
    most: int | None

    @property
    def is_full(self) -> bool:
        """Whether nobody else can be invited."""
        return self.most is not None and self.taken >= self.most


def hash_token(token: str) -> bytes:
    """Return the form in which a link's token is kept: SHA-256, for 32 random bytes need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def find_invitation(token: str) -> FoundInvitation | None:
    """Return the invitation of a mailed link with its team and inviter. Crosses tenants: the link names the team."""
    link = (
        InvitationLink.objects.select_related("invitation__team", "invitation__invited_by")
        .filter(token_hash=hash_token(token))
        .first()
    )
    if link is None:
        return None
    return FoundInvitation(link.invitation, state_of(link.invitation), link.is_live)


def state_of(invitation: Invitation) -> InvitationState:
    """Tell where an invitation stands now."""
    inviter = rows_of(invitation.team, Membership).filter(user_id=invitation.invited_by_id).first()
    return _state(invitation, inviter)


def list_invitations(
    team: Team, *, cursor: str = "", limit: int = PAGE_ROWS
) -> ListPage[tuple[Invitation, InvitationState]]:
    """Return a page of a team's invitations with their inviters and where each stands, newest first."""
    rows = rows_of(team, Invitation).select_related("invited_by", "team")
    page = page_of(rows, ["-sent_at"], cursor=cursor, limit=limit)
    found = rows_of(team, Membership).filter(user__in={row.invited_by_id for row in page.rows})
    inviters = {row.user_id: row for row in found}
    states = [(row, _state(row, inviters.get(row.invited_by_id or ""))) for row in page.rows]
    return ListPage(states, page.next_cursor)


def has_account(email: str) -> bool:
    """Tell whether somebody signs in with this address; for whoever has proved to read its mailbox, and nobody else."""
    return User.objects.filter(email__iexact=email).exists()


def count_seats(team: Team, *, with_email: str = "") -> int:
    """Return how many seats a team takes: members, and invited people who are not members; nobody twice.

    `with_email`, in lower case, is taken as invited.
    """
    members = {email.lower() for email in rows_of(team, Membership).values_list("user__email", flat=True)}
    pending = rows_of(team, Invitation).filter(accepted_at=None, cancelled_at=None, expires_at__gt=timezone.now())
    return len(members | set(pending.values_list("email", flat=True)) | ({with_email} if with_email else set()))


def seats_taken(team: Team) -> SeatsTaken:
    """Return how many of its plan's seats a team takes."""
    seats = seats_of(team)
    return SeatsTaken(seats.plan, count_seats(team), seats.most)


def _state(invitation: Invitation, inviter: Membership | None) -> InvitationState:
    if invitation.accepted_at is not None:
        return InvitationState.ACCEPTED
    if invitation.cancelled_at is not None:
        return InvitationState.CANCELLED
    if invitation.expires_at <= timezone.now():
        return InvitationState.EXPIRED
    is_worth_it = (
        inviter is not None and inviter.role in _INVITING_ROLES and rank(inviter.role) >= rank(invitation.role)
    )
    return InvitationState.PENDING if is_worth_it else InvitationState.INVALID
