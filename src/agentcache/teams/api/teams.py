"""Teams: list, make, show, change, delete; their roles and their logo."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Status

from agentcache.accounts.access import user_of
from agentcache.accounts.session_auth import SessionAuth
from agentcache.audit.services import Actor
from agentcache.teams import logo_response, queries, services
from agentcache.teams.access import SESSION_TEAM, TeamAuth, TeamRequest, switch_team
from agentcache.teams.api.routes import router
from agentcache.teams.api.schemas import NewTeam, OwnTeam, PermissionShown, TeamChanges, TeamShown, TypedName
from agentcache.teams.permissions import Permission, matrix


@router.get("", auth=SessionAuth(), response=list[OwnTeam], operation_id="teams.listTeams")
def list_teams(request: HttpRequest) -> list[OwnTeam]:
    """Return the teams of whoever is signed in."""
    opened = request.session.get(SESSION_TEAM, "")
    return [OwnTeam.of(row, is_open=row.team_id == opened) for row in queries.memberships_of(user_of(request))]


@router.post("", auth=SessionAuth(), response={201: TeamShown}, operation_id="teams.createTeam")
def create_team(request: HttpRequest, body: NewTeam) -> Status[TeamShown]:
    """Make a team that the caller owns."""
    team = services.create_team_of(user_of(request), body.name, actor=Actor.of(request))
    return Status(201, TeamShown.of(team))


@router.get("/roles", auth=SessionAuth(), response=list[PermissionShown], operation_id="teams.listRoles")
def list_roles(request: HttpRequest) -> list[PermissionShown]:
    """Return what each role, mark and key scope may do."""
    return [
        PermissionShown(
            permission=row.permission, description=row.description, roles=row.roles, marks=row.marks, scopes=row.scopes
        )
        for row in matrix()
    ]


@router.get("/{team_id}", auth=TeamAuth(Permission.MEMBERS_READ), response=TeamShown, operation_id="teams.showTeam")
def show_team(request: TeamRequest, team_id: str) -> TeamShown:
    """Return a team's settings."""
    return TeamShown.of(request.team_context.team)


@router.patch("/{team_id}", auth=TeamAuth(Permission.TEAM_MANAGE), response=TeamShown, operation_id="teams.changeTeam")
def change_team(request: TeamRequest, team_id: str, body: TeamChanges) -> TeamShown:
    """Change settings."""
    given = body.model_dump(exclude_unset=True)
    return TeamShown.of(services.update_team(request.team_context.team, actor=Actor.of(request), **given))


@router.delete(
    "/{team_id}",
    auth=TeamAuth(Permission.TEAM_DELETE, people_only=True, fresh=True),
    response={204: None},
    operation_id="teams.deleteTeam",
)
def delete_team(request: TeamRequest, team_id: str, body: TypedName) -> Status[None]:
    """Delete a team with its keys and members; the body repeats its name."""
    context = request.team_context
    services.delete_team(context.team, body.name, by=context.member, actor=Actor.of(request))
    return Status(204, None)


@router.post(
    "/{team_id}/open",
    auth=TeamAuth(Permission.MEMBERS_READ, people_only=True),
    response=OwnTeam,
    operation_id="teams.openTeam",
)
def open_team(request: TeamRequest, team_id: str) -> OwnTeam:
    """Open this team in the session: requests that name no team are about it from now on."""
    switch_team(request, request.team_context.team.pk)
    return OwnTeam.of(request.team_context.member, is_open=True)


@router.get(
    "/{team_id}/logo", auth=TeamAuth(Permission.MEMBERS_READ), response={200: None}, operation_id="teams.showLogo"
)
def show_logo(request: TeamRequest, team_id: str) -> HttpResponse:
    """Return the team's picture."""
    return logo_response.of(request.team_context.team)


@router.put(
    "/{team_id}/logo", auth=TeamAuth(Permission.TEAM_MANAGE), response={204: None}, operation_id="teams.setLogo"
)
def set_logo(request: TeamRequest, team_id: str) -> Status[None]:
    """Keep the body, a PNG, JPEG or WebP picture of at most 256 KB, as the team's logo."""
    services.set_logo(request.team_context.team, logo_response.read_body(request), actor=Actor.of(request))
    return Status(204, None)


@router.delete(
    "/{team_id}/logo", auth=TeamAuth(Permission.TEAM_MANAGE), response={204: None}, operation_id="teams.removeLogo"
)
def remove_logo(request: TeamRequest, team_id: str) -> Status[None]:
    """Forget the team's logo."""
    services.remove_logo(request.team_context.team, actor=Actor.of(request))
    return Status(204, None)
