"""The page of who did what, and its export."""

from __future__ import annotations

from urllib.parse import urlencode

from django import forms
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agentcache.audit import queries as audit
from agentcache.audit.queries import AuditFilters
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.audit_export import export_response
from agentcache.teams.permissions import Permission

#: Names in the address of the page that narrow the list.
_FILTER_NAMES = ("actor", "action", "target", "since", "until")


#: Gives way to its neighbours where the row is narrow.
_SEARCH = forms.TextInput(attrs={"type": "search"})


class FilterForm(forms.Form):
    """What to show of the log."""

    actor = forms.CharField(
        required=False, max_length=254, label="Who", help_text="E-mail address, or a key's id", widget=_SEARCH
    )
    action = forms.ChoiceField(required=False, label="What")
    target = forms.CharField(required=False, max_length=254, label="To what", help_text="Name or id", widget=_SEARCH)
    since = forms.DateTimeField(required=False, label="From", widget=forms.DateTimeInput(attrs={"type": "date"}))
    until = forms.DateTimeField(required=False, label="Before", widget=forms.DateTimeInput(attrs={"type": "date"}))


@require_safe
@team_page(Permission.AUDIT_READ)
def audit_log(request: TeamRequest) -> HttpResponse:
    """Show what was done in the team, newest first."""
    team = request.team_context.team
    form, filters = _filters(request)
    page = audit.page_of(team.pk, filters, cursor=request.GET.get("cursor", ""))
    given = {name: request.GET[name] for name in _FILTER_NAMES if request.GET.get(name)}
    context = {
        "form": form,
        "page": page,
        "query": urlencode(given),
        "older": urlencode({**given, "cursor": page.next_cursor}) if page.next_cursor else "",
        "is_filtered": bool(given),
    }
    return render(request, "teams/audit.html", context)


@require_safe
@team_page(Permission.AUDIT_READ, fresh=True)
def export(request: TeamRequest) -> StreamingHttpResponse:
    """Hand out what the filters show, whole, as CSV or JSON lines."""
    _, filters = _filters(request)
    return export_response(request.team_context.team, filters, request.GET.get("format", "csv"))


def _filters(request: TeamRequest) -> tuple[FilterForm, AuditFilters]:
    form = FilterForm(request.GET)
    action = form.fields["action"]
    assert isinstance(action, forms.ChoiceField)
    actions = audit.actions_of(request.team_context.team.pk)
    action.choices = [("", "Everything"), *((name, name) for name in actions)]
    form.is_valid()
    # A filter that cannot be read narrows nothing, and the form says so beside it.
    kept = form.cleaned_data
    return form, AuditFilters(
        actor=kept.get("actor", ""),
        action=kept.get("action", ""),
        target=kept.get("target", ""),
        since=kept.get("since"),
        until=kept.get("until"),
    )
