"""Invitations: list, send, send again, take back, accept."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Query, Status

from agentcache.accounts import client
from agentcache.accounts.access import user_of
from agentcache.accounts.session_auth import SessionAuth
from agentcache.audit.services import Actor
from agentcache.teams import queries, services
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.api.routes import router
from agentcache.teams.api.schemas import InvitationShown, InvitationsShown, LinkToken, NewInvitation, OwnTeam
from agentcache.teams.models import Invitation
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission

_MANAGE = TeamAuth(Permission.MEMBERS_MANAGE, people_only=True, fresh=True)


@router.post("/invitations/accept", auth=SessionAuth(), response=OwnTeam, operation_id="teams.acceptInvitation")
def accept_invitation(request: HttpRequest, body: LinkToken) -> OwnTeam:
    """Become a member by the token of a mailed link."""
    return OwnTeam.of(services.accept_invitation(body.token, user_of(request), actor=Actor.of(request)))


@router.get(
    "/{team_id}/invitations",
    auth=TeamAuth(Permission.MEMBERS_READ),
    response=InvitationsShown,
    operation_id="teams.listInvitations",
)
def list_invitations(request: TeamRequest, team_id: str, query: Query[PageAsked]) -> InvitationsShown:
    """Return the team's invitations, newest first."""
    page = queries.list_invitations(request.team_context.team, cursor=query.cursor, limit=query.limit)
    shown = [InvitationShown.of(row, state) for row, state in page.rows]
    return InvitationsShown(invitations=shown, cursor=page.next_cursor)


@router.post("/{team_id}/invitations", auth=_MANAGE, response={201: InvitationShown}, operation_id="teams.invite")
def invite(request: TeamRequest, team_id: str, body: NewInvitation) -> Status[InvitationShown]:
    """Mail somebody an invitation; an open one for the same address is sent again."""
    context = request.team_context
    invitation = services.invite(
        context.team, body.email, body.role,
        by=context.member, actor=Actor.of(request), address=client.address(request),
    )  # fmt: skip
    return Status(201, _shown(invitation))


@router.post(
    "/{team_id}/invitations/{invitation_id}/resend",
    auth=_MANAGE,
    response=InvitationShown,
    operation_id="teams.resendInvitation",
)
def resend_invitation(request: TeamRequest, team_id: str, invitation_id: str) -> InvitationShown:
    """Mail an open invitation again: new link, new 7 days."""
    context = request.team_context
    invitation = services.resend_invitation(
        context.team, invitation_id, by=context.member, actor=Actor.of(request), address=client.address(request)
    )
    return _shown(invitation)


@router.delete(
    "/{team_id}/invitations/{invitation_id}", auth=_MANAGE, response={204: None}, operation_id="teams.cancelInvitation"
)
def cancel_invitation(request: TeamRequest, team_id: str, invitation_id: str) -> Status[None]:
    """Take an open invitation back."""
    context = request.team_context
    services.cancel_invitation(context.team, invitation_id, by=context.member, actor=Actor.of(request))
    return Status(204, None)


def _shown(invitation: Invitation) -> InvitationShown:
    return InvitationShown.of(invitation, queries.state_of(invitation))
