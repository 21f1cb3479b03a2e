"""Pages of teams themselves: new, switch, settings, logo, delete."""

from __future__ import annotations

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.accounts.access import signed_in, user_of
from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError, NotFound
from agentcache.kit.webhook_signing import shown_secret
from agentcache.teams import logo_response, queries, services
from agentcache.teams.access import SESSION_TEAM, TeamRequest, switch_team, team_page
from agentcache.teams.errors import InvalidLogo
from agentcache.teams.jobs import signing_keys
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services.logos import LOGO_BYTES_MAX
from agentcache.teams.views.forms import LogoForm, NewTeamForm, SettingsForm, TypedNameForm, show_error
from agentcache.teams.views.pages import show

_form = require_http_methods(["GET", "HEAD", "POST"])


@_form
@signed_in
def new(request: HttpRequest) -> HttpResponse:
    """Make a team and open it."""
    form = NewTeamForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            team = services.create_team_of(user_of(request), form.cleaned_data["name"], actor=Actor.of(request))
        except AgentCacheError as error:
            show_error(form, error)
        else:
            switch_team(request, team.pk)
            messages.success(request, f"{team} is yours.")
            return redirect("teams:members")
    return render(request, "teams/new.html", {"form": form}, status=422 if form.errors else 200)


@_form
@signed_in
def switch(request: HttpRequest) -> HttpResponse:
    """List one's teams, and open another one in this session."""
    if request.method == "POST":
        try:
            switch_team(request, request.POST.get("team", ""))
        except NotFound as error:
            raise Http404(error.message) from error
        return redirect("/dashboard")
    opened = request.session.get(SESSION_TEAM, "")
    return render(
        request, "teams/switch.html", {"memberships": queries.memberships_of(user_of(request)), "opened": opened}
    )


@_form
@team_page(Permission.TEAM_MANAGE)
def settings(request: TeamRequest) -> HttpResponse:
    """Show and change the team's settings."""
    team = request.team_context.team
    form = SettingsForm(request.POST) if request.method == "POST" else SettingsForm.of(team)
    if request.method == "POST" and form.is_valid():
        try:
            services.update_team(team, actor=Actor.of(request), **form.cleaned_data)
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, "The settings are kept.")
            return redirect("teams:settings")
    context = {"form": form, "logo_form": LogoForm(), "logo": queries.find_logo(team)}
    return show(request, "settings", "settings", context, is_wrong=bool(form.errors))


@require_POST
@team_page(Permission.TEAM_MANAGE)
def set_logo(request: TeamRequest) -> HttpResponse:
    """Keep an uploaded picture, or forget the one there is."""
    team = request.team_context.team
    try:
        if "remove" in request.POST:
            services.remove_logo(team, actor=Actor.of(request))
            messages.success(request, "The logo is gone.")
        else:
            services.set_logo(team, _uploaded(request), actor=Actor.of(request))
            messages.success(request, "The logo is kept.")
    except InvalidLogo as error:
        messages.error(request, error.message)
    return redirect("teams:settings")


@_form
@team_page(Permission.TEAM_MANAGE, fresh=True)
def webhook_key(request: TeamRequest) -> HttpResponse:
    """Show the key that signs the team's webhooks when asked to, or replace it."""
    team, key = request.team_context.team, ""
    if request.method == "POST":
        if "replace" in request.POST:
            team = services.replace_webhook_key(team, actor=Actor.of(request))
            messages.success(request, "Webhooks are signed with a new key; the former one signs along for 24 hours.")
        key = shown_secret(signing_keys(current_secrets(), team, timezone.now())[0])
    return show(request, "settings", "webhook_key", {"signing_key": key, "since": team.webhook_key_since})


@require_safe
@signed_in
def logo(request: HttpRequest, team_id: str, digest: str) -> HttpResponse:
    """Return the picture of one of one's teams; the digest only makes the address change with the picture."""
    membership = queries.find_membership(user_of(request), team_id)
    if membership is None:
        raise Http404
    try:
        return logo_response.of(membership.team)
    except NotFound as error:
        raise Http404(error.message) from error


@_form
@team_page(Permission.TEAM_DELETE, fresh=True)
def delete(request: TeamRequest) -> HttpResponse:
    """Say what ends with the team, and delete it once its name is typed."""
    context = request.team_context
    form = TypedNameForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.delete_team(context.team, form.cleaned_data["name"], by=context.member, actor=Actor.of(request))
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, f"{context.team} is deleted.")
            return redirect("teams:switch")
    shown = {"form": form, "ends": queries.what_ends_with(context.team)}
    return show(request, "settings", "delete", shown, is_wrong=bool(form.errors))


def _uploaded(request: TeamRequest) -> bytes:
    upload = request.FILES.get("logo")
    if not isinstance(upload, UploadedFile) or (upload.size or 0) > LOGO_BYTES_MAX:
        raise InvalidLogo(param="logo")
    content: bytes = upload.read()
    return content
