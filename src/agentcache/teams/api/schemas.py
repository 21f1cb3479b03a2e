"""What the JSON API of teams takes and gives. Unknown members are refused, so that none is stored unnoticed."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import ConfigDict

from agentcache.teams.models import Invitation, Membership, Team
from agentcache.teams.permissions import permissions_of_member
from agentcache.teams.queries import InvitationState, MemberRow


class Given(Schema):
    """A request body."""

    model_config = ConfigDict(extra="forbid")


class NewTeam(Given):
    """A team to be made."""

    name: str


class TeamChanges(Given):
    """Settings to be changed; what is left out stays."""

    name: str | None = None
    default_namespace: str | None = None
    #: Seconds, or with a unit (`12h`); "" for the server's own.
    default_lifetime: str | None = None


class TypedName(Given):
    """The team's name, typed to confirm its end."""

    name: str


class MemberChanges(Given):
    """Role and marks to be changed; what is left out stays."""

    role: str | None = None
    is_owner: bool | None = None
    has_billing: bool | None = None


class Leaving(Given):
    """How to leave a team."""

    revoke_keys: bool = False


class Transfer(Given):
    """Who is to own the team."""

    member_id: str


class NewInvitation(Given):
    """Whom to invite."""

    email: str
    role: str = "member"


class LinkToken(Given):
    """The token at the end of an invitation's link."""

    token: str


class TeamShown(Schema):
    """A team as its members see it."""

    id: str
    name: str
    slug: str
    is_personal: bool
    default_namespace: str
    default_lifetime_seconds: int | None
    has_logo: bool
    created_at: datetime

    @classmethod
    def of(cls, team: Team) -> TeamShown:
        """Show a team."""
        return cls(
            id=team.pk,
            name=team.name,
            slug=team.slug,
            is_personal=team.is_personal,
            default_namespace=team.default_namespace,
            default_lifetime_seconds=team.default_lifetime_seconds,
            has_logo=hasattr(team, "logo"),
            created_at=team.created_at,
        )


class OwnTeam(Schema):
    """A team of the caller's, with what the caller may do there."""

    team: TeamShown
    role: str
    is_owner: bool
    has_billing: bool
    permissions: list[str]
    #: Whether this is the team that is open in the session.
    is_open: bool = False

    @classmethod
    def of(cls, membership: Membership, *, is_open: bool = False) -> OwnTeam:
        """Show a membership."""
        permissions = permissions_of_member(
            membership.role, is_owner=membership.is_owner, has_billing=membership.has_billing
        )
        return cls(
            team=TeamShown.of(membership.team),
            role=membership.role,
            is_owner=membership.is_owner,
            has_billing=membership.has_billing,
            permissions=sorted(permissions),
            is_open=is_open,
        )


class MemberShown(Schema):
    """A member of a team."""

    id: str
    user_id: str
    email: str
    name: str
    role: str
    is_owner: bool
    has_billing: bool
    has_second_factor: bool
    #: API keys that work and that this member made.
    live_api_keys: int
    joined_at: datetime
    last_seen_at: datetime | None

    @classmethod
    def of(cls, row: MemberRow) -> MemberShown:
        """Show a member."""
        member = row.membership
        return cls(
            id=member.pk,
            user_id=member.user_id,
            email=member.user.email,
            name=member.user.name,
            role=member.role,
            is_owner=member.is_owner,
            has_billing=member.has_billing,
            has_second_factor=row.has_second_factor,
            live_api_keys=row.live_api_keys,
            joined_at=member.created_at,
            last_seen_at=member.last_seen_at,
        )


class MembersShown(Schema):
    """A page of a team's members; `cursor` continues it and is empty at the end."""

    members: list[MemberShown]
    cursor: str
    #: Members and people with an open invitation, nobody twice.
    seats: int
    #: How many the plan has; null for any number.
    seats_max: int | None


class KeyShown(Schema):
    """A key that stops working, or goes on without the member who made it."""

    id: str
    name: str
    display: str
    last_used_at: datetime | None


class InvitationShown(Schema):
    """An invitation. Its link is in the mail only."""

    id: str
    email: str
    role: str
    state: str
    invited_by: str | None
    sent_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, invitation: Invitation, state: InvitationState) -> InvitationShown:
        """Show an invitation."""
        inviter = invitation.invited_by
        return cls(
            id=invitation.pk,
            email=invitation.email,
            role=invitation.role,
            state=state.value,
            invited_by=inviter.email if inviter is not None else None,
            sent_at=invitation.sent_at,
            expires_at=invitation.expires_at,
        )


class InvitationsShown(Schema):
    """A page of a team's invitations; `cursor` continues it and is empty at the end."""

    invitations: list[InvitationShown]
    cursor: str


class PermissionShown(Schema):
    """One thing that may be done in a team, and who may do it."""

    permission: str
    description: str
    roles: list[str]
    marks: list[str]
    scopes: list[str]
