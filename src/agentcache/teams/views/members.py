"""Pages of who belongs to the team."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.teams import queries, services
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.errors import MemberNotFound
from agentcache.teams.models import Membership
from agentcache.teams.permissions import BY_ROLE, Permission, matrix
from agentcache.teams.views.forms import MemberForm, RemovalForm, show_error
from agentcache.teams.views.pages import show

_form = require_http_methods(["GET", "HEAD", "POST"])
#: Roles and marks as they are called, with their titles, in the order of the table.
_COLUMNS = (*((role, role.title()) for role in BY_ROLE), ("billing", "+ Billing"), ("owner", "+ Owner"))


@require_safe
@team_page(Permission.MEMBERS_READ)
def members(request: TeamRequest) -> HttpResponse:
    """Show the members."""
    team = request.team_context.team
    asked = request.GET.get("cursor", "")
    page = queries.list_members(team, cursor=asked)
    context = {
        "rows": page.rows,
        "cursor": page.next_cursor,
        "asked": asked,
        "people": queries.count_members(team),
        "seats": queries.seats_taken(team),
        "own": request.team_context.member,
    }
    return show(request, "members", "members", context)


@_form
@team_page(Permission.MEMBERS_MANAGE, fresh=True)
def member(request: TeamRequest, member_id: str) -> HttpResponse:
    """Show one member, and change role and marks."""
    acting, row = request.team_context.member, _member(request, member_id)
    form = MemberForm(row, acting, request.POST or None)
    if request.method == "POST" and form.is_valid():
        wanted = {name: form.cleaned_data[name] for name in form.changed_data}
        # An owner is an admin: taking the mark is one step, the role another.
        if wanted.get("is_owner"):
            wanted.pop("role", None)
        try:
            services.change_member(row.team, row.pk, by=acting, actor=Actor.of(request), **wanted)
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"{row.user} was changed.")
            return redirect("teams:members")
    context = {"member": row, "form": form, "keys": queries.keys_made_by(row), "is_self": row.pk == acting.pk}
    return show(request, "members", "member", context, is_wrong=bool(form.errors))


@_form
@team_page(Permission.MEMBERS_MANAGE, fresh=True)
def remove(request: TeamRequest, member_id: str) -> HttpResponse:
    """Say what breaks when a member goes, and remove the member."""
    acting, row = request.team_context.member, _member(request, member_id)
    form = RemovalForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.remove_member(row.team, row.pk, by=acting, actor=Actor.of(request), revoke_keys=form.revokes_keys)
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"{row.user} is not in {row.team} any more.")
            return redirect("teams:members")
    context = {"member": row, "form": form, "keys": queries.keys_made_by(row)}
    return show(request, "members", "remove", context, is_wrong=bool(form.errors))


@_form
@team_page(Permission.TEAM_DELETE, fresh=True)
def transfer(request: TeamRequest, member_id: str) -> HttpResponse:
    """Make a member the owner in one's own place."""
    acting, row = request.team_context.member, _member(request, member_id)
    if request.method == "POST":
        services.transfer_ownership(row.team, row.pk, by=acting, actor=Actor.of(request))
        messages.success(request, f"{row.user} owns {row.team} now; you are an admin.")
        return redirect("teams:members")
    return show(request, "members", "transfer", {"member": row})


@_form
@team_page(Permission.MEMBERS_READ)
def leave(request: TeamRequest) -> HttpResponse:
    """Leave the team."""
    acting = request.team_context.member
    form = RemovalForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.leave_team(acting.team, by=acting, actor=Actor.of(request), revoke_keys=form.revokes_keys)
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"You have left {acting.team}.")
            return redirect("teams:switch")
    context = {"form": form, "keys": queries.keys_made_by(acting)}
    return show(request, "members", "leave", context, is_wrong=bool(form.errors))


@require_safe
@team_page(Permission.MEMBERS_READ)
def roles(request: TeamRequest) -> HttpResponse:
    """Show what each role may do."""
    return show(request, "roles", "roles", {"columns": _COLUMNS, "rows": _matrix_rows()})


def _member(request: TeamRequest, member_id: str) -> Membership:
    row = queries.find_member(request.team_context.team, member_id)
    if row is None:
        raise MemberNotFound
    return row


def _matrix_rows() -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """Return each permission with what it is, and for each of `_COLUMNS` its title and whether it has it."""
    return [
        (
            row.permission,
            row.description,
            [(title, name in row.roles or name in row.marks) for name, title in _COLUMNS],
        )
        for row in matrix()
    ]
