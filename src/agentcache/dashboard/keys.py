"""Pages of API keys: list, make, look at, change, rotate, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings as django_conf
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.dashboard.key_figures import figures_of, limit_of
from agentcache.dashboard.key_forms import ChangeKeyForm, LimitFields, NewKeyForm, RotateForm
from agentcache.dashboard.key_snippets import env_file, snippets
from agentcache.kit.api_keys import is_well_formed
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.ids import new_id
from agentcache.quotas.models import SubjectKind
from agentcache.quotas.services import set_limit
from agentcache.settings import Settings
from agentcache.teams import queries, services
from agentcache.teams.access import TeamRequest, key_manager, team_page
from agentcache.teams.models import ApiKey
from agentcache.teams.permissions import Permission
from agentcache.teams.queries import KeyState
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import CreatedApiKey

#: Session member: which showings of a form were sent, and which key came of each.
_SENT_FORMS = "agentcache_key_forms"
_SENT_FORMS_MAX = 20
_form = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key in the list."""

    key: ApiKey
    state: KeyState
    label: str
    tone: str


_SHOWN = {
    KeyState.LIVE: ("Live", "good"),
    KeyState.ROTATING: ("Rotating", "warn"),
    KeyState.EXPIRED: ("Expired", "quiet"),
    KeyState.REVOKED: ("Revoked", "bad"),
    KeyState.INACTIVE: ("Inactive", "warn"),
}


@require_safe
@team_page(Permission.KEYS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the team's keys, masked; those that have ended only when asked for."""
    context = request.team_context
    asked, shows_all = request.GET.get("cursor", ""), request.GET.get("ended") == "1"
    rotating = queries.rotating_keys(context.team)
    page = queries.page_of_api_keys(context.team, with_ended=shows_all, cursor=asked)
    return render(request, "dashboard/keys.html", {
        "rows": [_shown(key, rotating) for key in page.rows],
        "cursor": page.next_cursor,
        "asked": asked,
        "shows_all": shows_all,
        "ended": queries.count_ended_keys(context.team),
        "may_manage": context.may(Permission.KEYS_MANAGE),
    })  # fmt: skip


@_form
@team_page(Permission.KEYS_MANAGE, fresh=True)
def new(request: TeamRequest) -> HttpResponse:
    """Make a key, and show it this once."""
    manager, team = key_manager(request), request.team_context.team
    form = NewKeyForm(manager, request.POST or None, initial={"once": new_id(), "namespace": team.default_namespace})
    if request.method == "POST":
        if made := _made_before(request):
            return redirect("dashboard:key", made)
        if form.is_valid():
            try:
                with transaction.atomic():
                    created = services.create_api_key(current_secrets(), team, **form.arguments(), by=manager)
                    _limit(request, created.row, form)
            except AgentCacheError as error:
                form.show(error)
            else:
                _remember(request, created.row)
                return _show_once(request, created, "Your new API key")
    return render(request, "dashboard/key_new.html", {"form": form}, status=422 if form.errors else 200)


@_form
@team_page(Permission.KEYS_READ)
def detail(request: TeamRequest, key_id: str) -> HttpResponse:
    """Show what a key may do, what it did lately, and how near its limits are."""
    row = _row(request, key_id)
    team = request.team_context.team
    shown = _shown(row, queries.rotating_keys(team))
    return render(request, "dashboard/key.html", {
        "shown": shown,
        "key": row,
        "former": queries.former_values(row),
        "figures": figures_of(team, row, timezone.now()),
        "calls": [(one.label, one.code) for one in snippets(row.display, _origin())],
        "may_manage": request.team_context.may(Permission.KEYS_MANAGE) and key_manager(request).owns(row),
        "is_ended": row.revoked_at is not None,
    })  # fmt: skip


@_form
@team_page(Permission.KEYS_MANAGE, fresh=True)
def change(request: TeamRequest, key_id: str) -> HttpResponse:
    """Change what a key may do, and its limits."""
    manager, row = key_manager(request), _row(request, key_id)
    form = ChangeKeyForm(manager, row, request.POST or None)
    limits = LimitFields(request.POST or None, initial=limit_of(row), prefix="limit")
    if request.method == "POST" and form.is_valid() and limits.is_valid():
        try:
            with transaction.atomic():
                services.change_api_key(row.team, row.pk, form.changes(), by=manager)
                _limit(request, row, limits)
        except AgentCacheError as error:
            form.show(error)
        else:
            messages.success(request, f"{form.cleaned_data['name']} was changed; servers go by it within 5 seconds.")
            return redirect("dashboard:key", row.pk)
    status = 422 if form.errors or limits.errors else 200
    return render(request, "dashboard/key_change.html", {"form": form, "limits": limits, "key": row}, status=status)


@_form
@team_page(Permission.KEYS_MANAGE, fresh=True)
def rotate(request: TeamRequest, key_id: str) -> HttpResponse:
    """Exchange a key's value, and show the new one this once."""
    row = _row(request, key_id)
    form = RotateForm(request.POST or None, initial={"once": new_id()})
    if request.method == "POST":
        if made := _made_before(request):
            return redirect("dashboard:key", made)
        if form.is_valid():
            overlap = timedelta(hours=int(form.cleaned_data["overlap"]))
            try:
                created = services.rotate_api_key(
                    current_secrets(), row.team, row.pk, overlap=overlap, by=key_manager(request)
                )
            except AgentCacheError as error:
                form.add_error(None, error.message)
            else:
                _remember(request, created.row)
                return _show_once(request, created, f"The new value of {row.name}", former=row.display, overlap=overlap)
    status = 422 if form.errors else 200
    return render(request, "dashboard/key_rotate.html", {"form": form, "key": row}, status=status)


@_form
@team_page(Permission.KEYS_MANAGE, fresh=True)
def revoke(request: TeamRequest, key_id: str) -> HttpResponse:
    """Say what stops, and revoke a key."""
    row = _row(request, key_id)
    team = request.team_context.team
    problem = ""
    if request.method == "POST":
        try:
            services.revoke_api_key(team, row.pk, by=key_manager(request))
        except AgentCacheError as error:
            problem = error.message
        else:
            messages.success(request, f"{row.name} is revoked: it is refused within 5 seconds.")
            return redirect("dashboard:keys")
    context = {"key": row, "figures": figures_of(team, row, timezone.now()), "problem": problem}
    return render(request, "dashboard/key_revoke.html", context, status=422 if problem else 200)


@require_POST
@team_page(Permission.KEYS_MANAGE)
def env(request: TeamRequest, key_id: str) -> HttpResponse:
    """Send the key that the page shows back as a `.env` file; we do not keep it, so the page has to bring it along."""
    row, api_key = _row(request, key_id), request.POST.get("api_key", "")
    is_its_own = is_well_formed(api_key) and bytes(row.key_hash) in current_secrets().possible_hashes(api_key)
    if not is_its_own:
        raise Http404
    response = HttpResponse(env_file(api_key, _origin()), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="agentcache.env"'
    return response


def _show_once(request: TeamRequest, created: CreatedApiKey, title: str, **more: object) -> HttpResponse:
    origin = _origin()
    context = {
        "title": title,
        "key": created.row,
        "api_key": created.api_key,
        "calls": [(one.label, one.code) for one in snippets(created.api_key, origin)],
        **more,
    }
    return render(request, "dashboard/key_created.html", context, status=201)


def _limit(request: TeamRequest, row: ApiKey, form: LimitFields) -> None:
    limit = form.limit
    # Taking away what was never set would be an empty entry in the audit log.
    if not limit.is_empty or limit_of(row):
        set_limit(request.team_context.team, SubjectKind.KEY, row.pk, limit, actor=Actor.of(request))


def _made_before(request: TeamRequest) -> str:
    sent: dict[str, str] = request.session.get(_SENT_FORMS, {})
    return sent.get(request.POST.get("once", ""), "")


def _remember(request: TeamRequest, row: ApiKey) -> None:
    sent = list(request.session.get(_SENT_FORMS, {}).items())[-_SENT_FORMS_MAX:]
    request.session[_SENT_FORMS] = dict([*sent, (request.POST["once"], row.pk)])


def _row(request: TeamRequest, key_id: str) -> ApiKey:
    row = queries.get_api_key(request.team_context.team, key_id)
    if row is None:
        raise Http404
    return row


def _shown(row: ApiKey, rotating: frozenset[str]) -> KeyRow:
    state = queries.key_state(row, rotating)
    label, tone = _SHOWN[state]
    if row.revoked_because == "leaked":
        label = "Revoked: leaked"
    return KeyRow(row, state, label, tone)


def _origin() -> str:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings.origin
