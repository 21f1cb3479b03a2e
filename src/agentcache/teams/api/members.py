"""Members: list, change, remove, leave, hand the team over."""

from __future__ import annotations

from ninja import Query, Status

from agentcache.audit.services import Actor
from agentcache.teams import queries, services
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.api.routes import router
from agentcache.teams.api.schemas import KeyShown, Leaving, MemberChanges, MemberShown, MembersShown, Transfer
from agentcache.teams.errors import MemberNotFound
from agentcache.teams.models import Membership
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission

_READ = TeamAuth(Permission.MEMBERS_READ)
_MANAGE = TeamAuth(Permission.MEMBERS_MANAGE, people_only=True, fresh=True)


@router.get("/{team_id}/members", auth=_READ, response=MembersShown, operation_id="teams.listMembers")
def list_members(request: TeamRequest, team_id: str, query: Query[PageAsked]) -> MembersShown:
    """Return the team's members: owners first, then by role and name."""
    team = request.team_context.team
    page = queries.list_members(team, cursor=query.cursor, limit=query.limit)
    seats = queries.seats_taken(team)
    shown = [MemberShown.of(row) for row in page.rows]
    return MembersShown(members=shown, cursor=page.next_cursor, seats=seats.taken, seats_max=seats.most)


@router.patch("/{team_id}/members/{member_id}", auth=_MANAGE, response=MemberShown, operation_id="teams.changeMember")
def change_member(request: TeamRequest, team_id: str, member_id: str, body: MemberChanges) -> MemberShown:
    """Change a member's role or marks; effective at the member's next request."""
    context = request.team_context
    given = body.model_dump(exclude_none=True)
    services.change_member(context.team, member_id, by=context.member, actor=Actor.of(request), **given)
    return _shown(request, member_id)


@router.get(
    "/{team_id}/members/{member_id}/keys",
    auth=TeamAuth(Permission.KEYS_READ),
    response=list[KeyShown],
    operation_id="teams.listKeysOfMember",
)
def list_keys_of_member(request: TeamRequest, team_id: str, member_id: str) -> list[KeyShown]:
    """Return the working keys that a member made: what is to be decided when the member goes."""
    keys = queries.keys_made_by(_member(request, member_id))
    return [KeyShown(id=key.pk, name=key.name, display=key.display, last_used_at=key.last_used_at) for key in keys]


@router.delete("/{team_id}/members/{member_id}", auth=_MANAGE, response={204: None}, operation_id="teams.removeMember")
def remove_member(request: TeamRequest, team_id: str, member_id: str, revoke_keys: bool = False) -> Status[None]:
    """Take somebody out of the team; with `revoke_keys`, the keys they made stop working as well."""
    context = request.team_context
    services.remove_member(context.team, member_id, by=context.member, actor=Actor.of(request), revoke_keys=revoke_keys)
    return Status(204, None)


@router.post(
    "/{team_id}/leave",
    auth=TeamAuth(Permission.MEMBERS_READ, people_only=True),
    response={204: None},
    operation_id="teams.leaveTeam",
)
def leave_team(request: TeamRequest, team_id: str, body: Leaving) -> Status[None]:
    """Leave the team."""
    context = request.team_context
    services.leave_team(context.team, by=context.member, actor=Actor.of(request), revoke_keys=body.revoke_keys)
    return Status(204, None)


@router.post(
    "/{team_id}/transfer",
    auth=TeamAuth(Permission.TEAM_DELETE, people_only=True, fresh=True),
    response=MemberShown,
    operation_id="teams.transferOwnership",
)
def transfer_ownership(request: TeamRequest, team_id: str, body: Transfer) -> MemberShown:
    """Make a member the owner in the caller's place; the caller stays an admin."""
    context = request.team_context
    services.transfer_ownership(context.team, body.member_id, by=context.member, actor=Actor.of(request))
    return _shown(request, body.member_id)


def _member(request: TeamRequest, member_id: str) -> Membership:
    member = queries.find_member(request.team_context.team, member_id)
    if member is None:
        raise MemberNotFound(param="member_id")
    return member


def _shown(request: TeamRequest, member_id: str) -> MemberShown:
    row = queries.get_member(request.team_context.team, member_id)
    if row is None:
        raise MemberNotFound(param="member_id")
    return MemberShown.of(row)
