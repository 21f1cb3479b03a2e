"""What every page knows of teams."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from agentcache.accounts.models import User
from agentcache.teams import queries


def own_teams(request: HttpRequest) -> dict[str, Any]:
    """Return the teams of who is looking, for the switcher; asked for only where a page shows them."""
    user = getattr(request, "user", None)
    return {"own_teams": SimpleLazyObject(lambda: _teams(user))}


def _teams(user: object) -> list[Any]:
    return [membership.team for membership in queries.memberships_of(user)] if isinstance(user, User) else []
