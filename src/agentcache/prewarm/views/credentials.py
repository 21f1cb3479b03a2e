"""The pages of provider credentials: which are kept, keep one, test, delete."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.prewarm import queries, services
from agentcache.prewarm.errors import CredentialNotFound
from agentcache.prewarm.forms import CredentialForm
from agentcache.prewarm.models import ProbeOutcome
from agentcache.prewarm.probing import dialects_of, find_dialect
from agentcache.providers.registry import title_of
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings
from agentcache.teams.views.forms import show_error

#: What a provider said -> tone of its badge.
TONES = {
    ProbeOutcome.WORKS.value: "good",
    ProbeOutcome.REFUSED.value: "bad",
    ProbeOutcome.UNREACHABLE.value: "warn",
    ProbeOutcome.UNCLEAR.value: "warn",
}
_form = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@team_page(Permission.CREDENTIALS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show for which providers the team keeps a credential, and what the provider said last."""
    context = request.team_context
    rows = [(row, TONES.get(row.probe_outcome, "quiet")) for row in queries.credentials_of(context.team)]
    shown = {"rows": rows, "may_manage": context.may(Permission.CREDENTIALS_MANAGE)}
    return render(request, "prewarm/credentials.html", shown)


@_form
@team_page(Permission.CREDENTIALS_MANAGE, fresh=True)
def keep(request: TeamRequest) -> HttpResponse:
    """Take a credential, test it, keep it."""
    settings = current_settings()
    initial = {"provider": request.GET.get("provider", "")}
    form = CredentialForm(request.POST or None, initial=initial, providers=dialects_of(settings))
    if request.method == "POST" and form.is_valid():
        dialect = find_dialect(settings, form.cleaned_data["provider"])
        try:
            row = services.keep_credential(
                current_secrets(),
                request.team_context.team,
                dialect,
                form.cleaned_data["credential"],
                actor=Actor.of(request),
            )
        except AgentCacheError as error:
            show_error(form, error)
        else:
            said = row.get_probe_outcome_display().lower()
            messages.success(request, f"The credential for {title_of(row.provider)} is kept. Its test says: {said}.")
            return redirect("prewarm:credentials")
    return render(request, "prewarm/credential_new.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@team_page(Permission.CREDENTIALS_MANAGE)
def test(request: TeamRequest, provider: str) -> HttpResponse:
    """Ask the provider whether it still takes the credential."""
    dialect = find_dialect(current_settings(), provider)
    row = services.test_credential(current_secrets(), request.team_context.team, dialect, actor=Actor.of(request))
    status = f" (status {row.probe_status})" if row.probe_status is not None else ""
    say = messages.success if row.probe_outcome == ProbeOutcome.WORKS else messages.warning
    say(request, f"{title_of(row.provider)}: {row.get_probe_outcome_display().lower()}{status}.")
    return redirect("prewarm:credentials")


@_form
@team_page(Permission.CREDENTIALS_MANAGE)
def delete(request: TeamRequest, provider: str) -> HttpResponse:
    """Say what ends with a credential, and delete it."""
    team = request.team_context.team
    row = queries.find_credential(team, provider)
    if row is None:
        raise CredentialNotFound
    if request.method == "POST":
        services.delete_credential(team, provider, actor=Actor.of(request))
        messages.success(request, f"The credential for {title_of(provider)} is deleted.")
        return redirect("prewarm:credentials")
    return render(request, "prewarm/credential_delete.html", {"row": row})
