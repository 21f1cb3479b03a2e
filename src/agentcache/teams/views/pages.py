"""What all pages of the open team share."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from agentcache.teams.access import TeamRequest
from agentcache.teams.permissions import Permission

_TABS = (
    ("members", "Members", Permission.MEMBERS_READ),
    ("invites", "Invites", Permission.MEMBERS_READ),
    ("roles", "Roles", Permission.MEMBERS_READ),
    ("settings", "Settings", Permission.TEAM_MANAGE),
)


def show(
    request: TeamRequest, tab: str, template: str, context: Mapping[str, object], *, is_wrong: bool = False
) -> HttpResponse:
    """Answer with a page below the tabs of the team; `is_wrong` when a form was refused."""
    may = request.team_context.may
    shared = {
        "team": request.team_context.team,
        "tab": reverse(f"teams:{tab}"),
        "team_tabs": [(label, reverse(f"teams:{name}")) for name, label, permission in _TABS if may(permission)],
        "may_manage_members": may(Permission.MEMBERS_MANAGE),
        "may_manage_team": may(Permission.TEAM_MANAGE),
        "is_owner": may(Permission.TEAM_DELETE),
    }
    return render(request, f"teams/{template}.html", {**shared, **context}, status=422 if is_wrong else 200)
