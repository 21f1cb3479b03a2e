"""Pages of invitations: the team's own, and the one that a mailed link opens."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.accounts import client
from agentcache.accounts.access import user_of
from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.teams import queries, services
from agentcache.teams.access import TeamRequest, open_after_signing_in, switch_team, team_page
from agentcache.teams.errors import InvitationUnusable
from agentcache.teams.permissions import Permission
from agentcache.teams.queries import FoundInvitation, InvitationState
from agentcache.teams.views.forms import InvitationForm, JoinForm, show_error
from agentcache.teams.views.pages import show

#: States in which an invitation can be sent again or taken back.
OPEN_STATES = (InvitationState.PENDING, InvitationState.EXPIRED, InvitationState.INVALID)

_form = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@team_page(Permission.MEMBERS_READ)
def invites(request: TeamRequest) -> HttpResponse:
    """Show who was invited and where each invitation stands."""
    context = request.team_context
    asked = request.GET.get("cursor", "")
    page = queries.list_invitations(context.team, cursor=asked)
    shown = {
        "rows": page.rows,
        "cursor": page.next_cursor,
        "asked": asked,
        "form": InvitationForm(context.member) if context.may(Permission.MEMBERS_MANAGE) else None,
        "open_states": OPEN_STATES,
        "seats": queries.seats_taken(context.team),
    }
    return show(request, "invites", "invites", shown)


@_form
@team_page(Permission.MEMBERS_MANAGE, fresh=True)
def invite(request: TeamRequest) -> HttpResponse:
    """Mail an invitation."""
    context = request.team_context
    form = InvitationForm(context.member, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            sent = services.invite(
                context.team, form.cleaned_data["email"], form.cleaned_data["role"],
                by=context.member, actor=Actor.of(request), address=client.address(request),
            )  # fmt: skip
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"An invitation is on its way to {sent.email}.")
            return redirect("teams:invites")
    shown = {"form": form, "seats": queries.seats_taken(context.team)}
    return show(request, "invites", "invite", shown, is_wrong=bool(form.errors))


@require_POST
@team_page(Permission.MEMBERS_MANAGE, fresh=True, back="teams:invites")
def resend(request: TeamRequest, invitation_id: str) -> HttpResponse:
    """Mail an invitation again."""
    context = request.team_context
    try:
        sent = services.resend_invitation(
            context.team, invitation_id,
            by=context.member, actor=Actor.of(request), address=client.address(request),
        )  # fmt: skip
    except AgentCacheError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"A new invitation is on its way to {sent.email}; the former link has ended.")
    return redirect("teams:invites")


@require_POST
@team_page(Permission.MEMBERS_MANAGE, fresh=True, back="teams:invites")
def cancel(request: TeamRequest, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    context = request.team_context
    try:
        cancelled = services.cancel_invitation(context.team, invitation_id, by=context.member, actor=Actor.of(request))
    except AgentCacheError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"The invitation of {cancelled.email} was taken back.")
    return redirect("teams:invites")


@_form
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show what a mailed link invites to, and accept it: by whoever is signed in, or with a new account.

    Only a POST accepts: programs that scan mails follow links.
    """
    found = queries.find_invitation(token)
    if found is None:
        return render(request, "teams/invitation_unknown.html", status=404)
    try:
        found.require_usable()
        services.require_seat_for(found)
        if request.method == "POST":
            return _accept(request, token, found)
    except InvitationUnusable as error:
        return _unusable(request, found, error)
    return render(request, "teams/invitation.html", _shown(request, token, found))


def _accept(request: HttpRequest, token: str, found: FoundInvitation) -> HttpResponse:
    if not request.user.is_authenticated:
        form = JoinForm(request.POST)
        if not form.is_valid():
            return _join_form(request, token, found, form)
        try:
            member = services.join_by_invitation(
                request, token, form.cleaned_data["password"], form.cleaned_data["name"]
            )
        except InvitationUnusable:
            raise
        except AgentCacheError as error:
            show_error(form, error)
            return _join_form(request, token, found, form)
        open_after_signing_in(request, member.team_id)
        messages.success(request, "Your account is made. Sign in to open the team.")
        return redirect("accounts:login")
    member = services.accept_invitation(token, user_of(request), actor=Actor.of(request))
    switch_team(request, member.team_id)
    messages.success(request, f"Welcome to {member.team}.")
    return redirect("teams:members")


def _join_form(request: HttpRequest, token: str, found: FoundInvitation, form: JoinForm) -> HttpResponse:
    return render(request, "teams/invitation.html", {**_shown(request, token, found), "form": form}, status=422)


def _shown(request: HttpRequest, token: str, found: FoundInvitation) -> dict[str, object]:
    wanted = found.invitation.email
    is_signed_in = request.user.is_authenticated
    return {
        "invitation": found.invitation,
        "address": f"/invite/{token}",
        "is_for_another": is_signed_in and user_of(request).email.lower() != wanted,
        # Whoever holds the link reads the mailbox, so this tells nobody else who has an account.
        "has_account": queries.has_account(wanted),
        "form": JoinForm(),
    }


def _unusable(request: HttpRequest, found: FoundInvitation, error: InvitationUnusable) -> HttpResponse:
    context = {"invitation": found.invitation, "state": found.state, "error": error}
    return render(request, "teams/invitation_unusable.html", context, status=error.status)
