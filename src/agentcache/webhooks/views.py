"""The pages of webhooks: endpoints, their deliveries, one delivery, what events there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.ids import new_id
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets
from agentcache.teams.views.forms import show_error
from agentcache.webhooks import queries, services
from agentcache.webhooks.event_types import EVENT_TYPES
from agentcache.webhooks.forms import EndpointForm, RangeForm, RotateForm, TestForm
from agentcache.webhooks.keeping import delivery_days_of
from agentcache.webhooks.models import Delivery, DeliveryState, DisabledBecause, Endpoint
from agentcache.webhooks.services import EndpointEdits, EndpointWithSecret

#: State -> tone of its badge.
TONES = {DeliveryState.WAITING: "info", DeliveryState.DELIVERED: "good", DeliveryState.FAILED: "bad"}
#: Session member: which showings of a form were sent, and which endpoint came of each.
_SENT_FORMS = "agentcache_webhook_forms"
_SENT_FORMS_MAX = 20
_form = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@team_page(Permission.WEBHOOKS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show the team's endpoints and how they do."""
    context = request.team_context
    rows = [(row, *state_of(row.endpoint)) for row in queries.list_endpoints(context.team)]
    shown = {"rows": rows, "may_manage": context.may(Permission.WEBHOOKS_MANAGE)}
    return render(request, "webhooks/index.html", shown)


@require_safe
@team_page(Permission.WEBHOOKS_READ)
def event_types(request: TeamRequest) -> HttpResponse:
    """Show every type of event with its members and a sample."""
    shown = [
        {
            "type": one,
            "sample": json.dumps(
                {"type": one.name, "timestamp": "2026-01-31T09:30:00.000Z", "data": one.sample}, indent=2
            ),
            "schema": json.dumps(one.schema, indent=2),
        }
        for one in EVENT_TYPES.values()
    ]
    return render(request, "webhooks/event_types.html", {"types": shown})


@_form
@team_page(Permission.WEBHOOKS_MANAGE, fresh=True)
def new(request: TeamRequest) -> HttpResponse:
    """Make an endpoint, and show its secret this once."""
    form = EndpointForm(request.POST or None, initial={"once": new_id()})
    if request.method == "POST":
        if made := _made_before(request):
            return redirect("webhooks:endpoint", made)
        if form.is_valid():
            try:
                created = services.create_endpoint(
                    current_secrets(), request.team_context.team, form.new(), actor=Actor.of(request)
                )
            except AgentCacheError as error:
                show_error(form, error)
            else:
                return _show_once(request, created, "The endpoint is made")
    return render(request, "webhooks/new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@team_page(Permission.WEBHOOKS_READ)
def detail(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Show an endpoint and what was delivered to it."""
    return _show_endpoint(request, endpoint_id, RangeForm.of_last_day())


@_form
@team_page(Permission.WEBHOOKS_MANAGE, fresh=True)
def change(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Change where and of what an endpoint is told."""
    team = request.team_context.team
    endpoint = queries.get_endpoint(team, endpoint_id)
    form = EndpointForm(request.POST or None, initial=EndpointForm.filled_in(endpoint))
    if request.method == "POST" and form.is_valid():
        try:
            services.change_endpoint(team, endpoint_id, form.edits(), actor=Actor.of(request))
        except AgentCacheError as error:
            show_error(form, error)
        else:
            messages.success(request, "The endpoint is changed.")
            return redirect("webhooks:endpoint", endpoint_id)
    context = {"form": form, "endpoint": endpoint}
    return render(request, "webhooks/change.html", context, status=422 if form.errors else 200)


@_form
@team_page(Permission.WEBHOOKS_MANAGE, fresh=True)
def rotate(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Replace an endpoint's secret, and show the new one this once."""
    team = request.team_context.team
    endpoint = queries.get_endpoint(team, endpoint_id)
    form = RotateForm(request.POST or None, initial={"once": new_id()})
    if request.method == "POST":
        if made := _made_before(request):
            return redirect("webhooks:endpoint", made)
        if form.is_valid():
            overlap = timedelta(hours=int(form.cleaned_data["overlap"]))
            made_anew = services.rotate_secret(
                current_secrets(), team, endpoint_id, overlap=overlap, actor=Actor.of(request)
            )
            return _show_once(request, made_anew, "The new secret", overlap=overlap)
    context = {"form": form, "endpoint": endpoint}
    return render(request, "webhooks/rotate.html", context, status=422 if form.errors else 200)


@require_POST
@team_page(Permission.WEBHOOKS_MANAGE)
def switch(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Switch an endpoint on or off."""
    is_on = request.POST.get("on") == "1"
    edits = EndpointEdits(is_enabled=is_on)
    services.change_endpoint(request.team_context.team, endpoint_id, edits, actor=Actor.of(request))
    messages.success(
        request, "The endpoint is on." if is_on else "The endpoint is off; what waited for it is given up."
    )
    return redirect("webhooks:endpoint", endpoint_id)


@_form
@team_page(Permission.WEBHOOKS_MANAGE)
def delete(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Say what ends with an endpoint, and delete it."""
    team = request.team_context.team
    endpoint = queries.get_endpoint(team, endpoint_id)
    if request.method == "POST":
        services.delete_endpoint(team, endpoint_id, actor=Actor.of(request))
        messages.success(request, f"{endpoint.url} is deleted.")
        return redirect("webhooks:index")
    return render(request, "webhooks/delete.html", {"endpoint": endpoint})


@require_POST
@team_page(Permission.WEBHOOKS_MANAGE)
def send_test(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Send a sample, and lead to its delivery."""
    event_type = request.POST.get("event_type", "")
    try:
        row = services.send_test(request.team_context.team, endpoint_id, event_type, actor=Actor.of(request))
    except services.NOT_SENT as error:
        messages.error(request, error.message)
        return redirect("webhooks:endpoint", endpoint_id)
    return redirect("webhooks:delivery", endpoint_id, row.pk)


@require_POST
@team_page(Permission.WEBHOOKS_MANAGE)
def redeliver_range(request: TeamRequest, endpoint_id: str) -> HttpResponse:
    """Start the job that sends a range again, and lead to it."""
    form = RangeForm(request.POST)
    if form.is_valid():
        try:
            task = services.start_redelivery(
                request.team_context.team, form.range_of(endpoint_id), actor=Actor.of(request)
            )
        except services.NOT_SENT as error:
            show_error(form, error)
        else:
            return redirect("tasks:task", task.pk)
    return _show_endpoint(request, endpoint_id, form, status=422)


@require_safe
@team_page(Permission.WEBHOOKS_READ)
def delivery(request: TeamRequest, endpoint_id: str, delivery_id: str) -> HttpResponse:
    """Show what was sent and every try; asked for again while it waits."""
    context = request.team_context
    row = queries.get_delivery(context.team, delivery_id)
    attempts = queries.attempts_of(row)
    shown = {
        "row": row,
        "tone": TONES[DeliveryState(row.state)],
        "body": _indented(row.message.body),
        "attempts": attempts,
        "headers": attempts[0].request_headers if attempts else {},
        "is_live": row.state == DeliveryState.WAITING and not attempts,
        "may_manage": context.may(Permission.WEBHOOKS_MANAGE),
    }
    template = "webhooks/tries.html" if request.headers.get("HX-Request") == "true" else "webhooks/delivery.html"
    return render(request, template, shown)


@require_POST
@team_page(Permission.WEBHOOKS_MANAGE)
def redeliver(request: TeamRequest, endpoint_id: str, delivery_id: str) -> HttpResponse:
    """Send one delivery again."""
    try:
        services.redeliver(request.team_context.team, delivery_id, actor=Actor.of(request))
        messages.success(request, "It is on its way again.")
    except services.NOT_SENT as error:
        messages.error(request, error.message)
    return redirect("webhooks:delivery", endpoint_id, delivery_id)


def state_of(endpoint: Endpoint) -> tuple[str, str]:
    """Return how an endpoint does in a word, and the tone of its badge."""
    if not endpoint.is_enabled:
        return ("Off", "quiet") if endpoint.disabled_because == DisabledBecause.PERSON else ("Switched off", "bad")
    return ("Failing", "warn") if endpoint.failures_in_row else ("On", "good")


def _show_endpoint(request: TeamRequest, endpoint_id: str, form: RangeForm, *, status: int = 200) -> HttpResponse:
    context = request.team_context
    endpoint = queries.get_endpoint(context.team, endpoint_id)
    state, event_type = request.GET.get("state", ""), request.GET.get("event_type", "")
    page = queries.page_of(
        context.team,
        endpoint_id=endpoint.pk,
        state=state if state in DeliveryState.values else "",
        event_type=event_type if event_type in EVENT_TYPES else "",
        cursor=request.GET.get("cursor", ""),
    )
    label, tone = state_of(endpoint)
    shown: Mapping[str, object] = {
        "endpoint": endpoint,
        "label": label,
        "tone": tone,
        "former_secrets": queries.former_secrets(endpoint),
        "public_keys": services.public_keys(current_secrets(), endpoint),
        "rows": [(row, *_told(row)) for row in page.deliveries],
        "next_cursor": page.next_cursor,
        "states": DeliveryState.choices,
        "state": state,
        "types": list(EVENT_TYPES),
        "event_type": event_type,
        "is_filtered": bool(state or event_type),
        "test_form": TestForm(),
        "kept_days": delivery_days_of(context.team),
        "range_form": form,
        "may_manage": context.may(Permission.WEBHOOKS_MANAGE),
    }
    return render(request, "webhooks/endpoint.html", shown, status=status)


def _told(row: Delivery) -> tuple[str, str]:
    """Return what became of a delivery in words, and the tone of its badge."""
    return row.get_state_display(), TONES[DeliveryState(row.state)]


def _show_once(request: TeamRequest, made: EndpointWithSecret, title: str, **more: object) -> HttpResponse:
    sent = list(request.session.get(_SENT_FORMS, {}).items())[-_SENT_FORMS_MAX:]
    request.session[_SENT_FORMS] = dict([*sent, (request.POST.get("once", ""), made.row.pk)])
    context = {"title": title, "endpoint": made.row, "secret": made.secret, **more}
    return render(request, "webhooks/secret.html", context, status=201)


def _made_before(request: TeamRequest) -> str:
    sent: dict[str, str] = request.session.get(_SENT_FORMS, {})
    once = request.POST.get("once", "")
    return sent.get(once, "") if once else ""


def _indented(body: str) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
