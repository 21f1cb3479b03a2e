"""Pages of listeners: list, new, one with its history, change, pause, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.conf import settings as django_conf
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.audit.services import Actor
from agentcache.kit.errors import AgentCacheError, NotFound
from agentcache.listeners import queries, services
from agentcache.listeners.forms import ListenerForm
from agentcache.listeners.models import EventKind, Listener, ListenerEvent
from agentcache.listeners.queries import State
from agentcache.listeners.reading.messages import DOCUMENT_KINDS
from agentcache.listeners.rules import host_of
from agentcache.quotas.queries import plan_of
from agentcache.settings import Settings
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission

HISTORY_ROWS = 20
_form = require_http_methods(["GET", "HEAD", "POST"])
_STATES = {
    State.WAITING: ("Not read yet", "info"),
    State.WATCHING: ("Watching", "good"),
    State.FAILING: ("Cannot be read", "warn"),
    State.PAUSED: ("Paused", "quiet"),
}
_EVENTS = {
    EventKind.FIRST: ("First reading", "info"),
    EventKind.CHANGED: ("Changed", "accent"),
    EventKind.FAILED: ("Could not be read", "warn"),
    EventKind.RECOVERED: ("Readable again", "good"),
    EventKind.PAUSED: ("Paused", "quiet"),
    EventKind.RESUMED: ("Resumed", "good"),
}
_LINES = {"+": "added", "-": "removed", "@": "left-out"}


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """A listener as it is listed."""

    row: Listener
    now: datetime

    @property
    def state(self) -> State:
        """How it is."""
        return queries.state_of(self.row)

    @property
    def label(self) -> str:
        """How it is, in words."""
        return "Paused: cannot be read" if self.row.paused_because == "failures" else _STATES[self.state][0]

    @property
    def tone(self) -> str:
        """The colour of that."""
        return "bad" if self.row.paused_because == "failures" else _STATES[self.state][1]

    @property
    def freshness(self) -> str:
        """fresh, stale, expired or ""."""
        return queries.freshness_of(self.row, self.now)

    @property
    def is_due(self) -> bool:
        """Whether a check is about to be made, or under way."""
        return not self.row.paused_because and self.row.next_check_at <= self.now

    @property
    def next_in(self) -> float:
        """Seconds until the next check."""
        return max(0.0, (self.row.next_check_at - self.now).total_seconds())

    @property
    def place(self) -> str:
        """The address without its scheme."""
        return self.row.url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened, as it is shown."""

    event: ListenerEvent

    @property
    def label(self) -> str:
        """What it was."""
        return _EVENTS[EventKind(self.event.kind)][0]

    @property
    def tone(self) -> str:
        """The colour of that."""
        return _EVENTS[EventKind(self.event.kind)][1]

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """The lines of the difference: kind, sign, text."""
        lines = self.event.diff.split("\n") if self.event.diff else []
        return [(_LINES.get(line[:1], "same"), line[:1].strip() or " ", line[1:]) for line in lines]


@require_safe
@team_page(Permission.LISTENERS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """List what the team watches."""
    context, now = request.team_context, timezone.now()
    asked = request.GET.dict()
    page = queries.list_listeners(
        context.team,
        search=asked.get("search", "").strip(),
        state=asked.get("state", ""),
        cursor=asked.get("cursor", ""),
    )
    plan = plan_of(context.team)
    return render(request, "listeners/index.html", {
        "rows": [ListenerRow(row, now) for row in page.rows],
        "cursor": page.cursor,
        "asked": asked,
        "is_filtered": bool(asked.get("search") or asked.get("state")),
        "states": [(state.value, label) for state, (label, _) in _STATES.items()],
        "counts": queries.counts(context.team, now),
        "plan": plan,
        "may_manage": context.may(Permission.LISTENERS_MANAGE),
    })  # fmt: skip


@_form
@team_page(Permission.LISTENERS_MANAGE)
def new(request: TeamRequest) -> HttpResponse:
    """Watch a source."""
    team = request.team_context.team
    plan = plan_of(team)
    may_refresh = request.team_context.may(Permission.PREWARM_RUN)
    form = ListenerForm(
        request.POST or None, plan=plan, may_refresh=may_refresh, initial={"url": request.GET.get("url", "")}
    )
    if request.method == "POST" and form.is_valid():
        try:
            row = services.register(team, form.wanted, _settings(), timezone.now(), actor=Actor.of(request))
        except AgentCacheError as error:
            form.show(error)
        else:
            messages.success(request, "The source is watched. Its first reading follows in a moment.")
            return redirect("listeners:listener", row.pk)
    context = {"form": form, "plan": plan}
    return render(request, "listeners/new.html", context, status=422 if form.errors else 200)


@require_safe
@team_page(Permission.LISTENERS_READ)
def listener(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Show what is watched, how that goes, and what happened."""
    context = request.team_context
    row = queries.get_listener(context.team, listener_id)
    before = request.GET.get("before", "")
    # Beyond 18 digits it is nobody's id, and too large for the database.
    events = queries.history(
        row, before=int(before) if before.isdecimal() and len(before) < 19 else 0, limit=HISTORY_ROWS + 1
    )
    return render(request, "listeners/listener.html", {
        "shown": ListenerRow(row, timezone.now()),
        "row": row,
        "kind": DOCUMENT_KINDS.get(row.kind, row.kind),
        "webhook_host": host_of(row.webhook_url) if row.webhook_url else "",
        "events": [EventRow(event) for event in events[:HISTORY_ROWS]],
        "older": events[HISTORY_ROWS - 1].pk if len(events) > HISTORY_ROWS else "",
        "is_newest": not before,
        "may_manage": context.may(Permission.LISTENERS_MANAGE),
        "may_read_cache": context.may(Permission.CACHE_READ),
    })  # fmt: skip


@_form
@team_page(Permission.LISTENERS_MANAGE)
def change(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Change what is watched."""
    team = request.team_context.team
    row = queries.get_listener(team, listener_id)
    may_refresh = request.team_context.may(Permission.PREWARM_RUN)
    form = ListenerForm(request.POST or None, plan=plan_of(team), may_refresh=may_refresh, row=row)
    if request.method == "POST" and form.is_valid():
        try:
            services.change(team, row.pk, form.members, _settings(), timezone.now(), actor=Actor.of(request))
        except NotFound:
            raise
        except AgentCacheError as error:
            form.show(error)
        else:
            messages.success(request, "The listener was changed. The source is checked at once.")
            return redirect("listeners:listener", row.pk)
    return render(request, "listeners/change.html", {"form": form, "row": row}, status=422 if form.errors else 200)


@_form
@team_page(Permission.LISTENERS_MANAGE)
def delete(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Ask whether a source shall be watched no longer, and forget it."""
    team = request.team_context.team
    row = queries.get_listener(team, listener_id)
    if request.method != "POST":
        return render(request, "listeners/delete.html", {"row": row})
    services.delete(team, row.pk, actor=Actor.of(request))
    messages.success(request, "The source is watched no longer.")
    return redirect("listeners:index")


@require_POST
@team_page(Permission.LISTENERS_MANAGE)
def check(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Have a source looked at."""
    checking = partial(services.check_now, request.team_context.team, listener_id, timezone.now())
    return _done(request, listener_id, checking, "The source is checked as soon as its host may be asked.")


@require_POST
@team_page(Permission.LISTENERS_MANAGE)
def pause(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Stop looking at a source."""
    pausing = partial(services.pause, request.team_context.team, listener_id, timezone.now(), actor=Actor.of(request))
    return _done(request, listener_id, pausing, "The listener is paused: changes are not noticed until it is resumed.")


@require_POST
@team_page(Permission.LISTENERS_MANAGE)
def resume(request: TeamRequest, listener_id: str) -> HttpResponse:
    """Look at a source again."""
    resuming = partial(services.resume, request.team_context.team, listener_id, timezone.now(), actor=Actor.of(request))
    return _done(request, listener_id, resuming, "The listener is resumed, and checked at once.")


def _done(request: TeamRequest, listener_id: str, do: Callable[[], Listener], said: str) -> HttpResponse:
    try:
        do()
    except NotFound:
        raise
    except AgentCacheError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, said)
    return redirect("listeners:listener", listener_id)


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
