"""What every page knows of teams."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from agentcache.accounts.models import User
from agentcache.design import navigation
from agentcache.teams import queries
from agentcache.teams.access import SESSION_TEAM
from agentcache.teams.models import Membership, Team
from agentcache.teams.permissions import permissions_of_member


def own_teams(request: HttpRequest) -> dict[str, Any]:
    """Return the teams of who is looking, for the switcher; asked for only where a page shows them.

    Pages about oneself are about no team; their side bar is that of the team that is open.
    """
    user = getattr(request, "user", None)
    members: dict[str, Any] = {"own_teams": SimpleLazyObject(lambda: _teams(user))}
    if isinstance(user, User) and not hasattr(request, "team_context"):
        membership = SimpleLazyObject(lambda: _open_membership(request, user))
        members["open_team"] = SimpleLazyObject(lambda: membership.team if membership else None)
        members["sections"] = SimpleLazyObject(lambda: _sections(request, membership))
    return members


def _open_membership(request: HttpRequest, user: User) -> Membership | None:
    opened = request.session.get(SESSION_TEAM, "")
    found = queries.find_membership(user, opened) if opened else None
    return found or queries.last_used_membership(user)


def _sections(request: HttpRequest, membership: Any) -> list[Any]:
    if not membership:
        return navigation.links(request.path, ())
    permissions = permissions_of_member(
        membership.role, is_owner=membership.is_owner, has_billing=membership.has_billing
    )
    return navigation.links(request.path, {str(permission) for permission in permissions})


def _teams(user: object) -> list[Team]:
    return [membership.team for membership in queries.memberships_of(user)] if isinstance(user, User) else []
