"""The JSON API of listeners. Members are spelled as the roadmap has them; intervals are milliseconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.conf import settings as django_conf
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from pydantic import ConfigDict, Field

from agentcache.audit.services import Actor
from agentcache.listeners import queries, services
from agentcache.listeners.errors import RefreshNotAllowed
from agentcache.listeners.models import Listener, ListenerEvent
from agentcache.listeners.rules import INTERVAL_SECONDS_MAX, Wanted, host_of
from agentcache.settings import Settings
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission

router = Router(tags=["Listeners"])
_READ = TeamAuth(Permission.LISTENERS_READ)
_MANAGE = TeamAuth(Permission.LISTENERS_MANAGE)

Interval = Annotated[int, Field(ge=1000, le=INTERVAL_SECONDS_MAX * 1000, multiple_of=1000)]


class _Given(Schema):
    model_config = ConfigDict(extra="forbid")


class ListenerGiven(_Given):
    """A source to watch."""

    url: str = Field(description="What is watched: a page, JSON, text, a PDF, a feed or a sitemap.")
    checkInterval: Interval = Field(  # noqa: N815 - the roadmap's spelling
        description="Milliseconds between two checks, whole seconds; at least what the plan allows."
    )
    namespace: str = Field(
        default="", description="Where the tags are invalidated; without tags, the whole namespace is."
    )
    tags: list[str] = Field(default_factory=list, description="Entries with one of these tags are invalidated, too.")
    invalidateOnChange: bool = Field(  # noqa: N815
        default=True,
        description="Whether a change removes what names the URL as its source, and what namespace and tags mean.",
    )
    refreshOnChange: bool = Field(  # noqa: N815
        default=False,
        description="Whether what the change means is asked for anew in the background, with requests that the team "
        "keeps and its provider credentials. Costs money, so it needs the permission to prewarm.",
    )
    webhook: str = Field(default="", description="URL that is told of each change, signed with the team's key.")
    selector: str = Field(
        default="", description="CSS selector, or JSON path that begins with `$`: only this part is compared."
    )


class ListenerChanges(_Given):
    """What to change; members that are left out stay."""

    url: str | None = None
    checkInterval: Interval | None = None  # noqa: N815
    namespace: str | None = None
    tags: list[str] | None = None
    invalidateOnChange: bool | None = None  # noqa: N815
    refreshOnChange: bool | None = None  # noqa: N815
    webhook: str | None = None
    selector: str | None = None


class ListenerShown(Schema):
    """A listener and how it is."""

    id: str
    url: str
    checkInterval: int  # noqa: N815
    namespace: str
    tags: list[str]
    invalidateOnChange: bool  # noqa: N815
    refreshOnChange: bool  # noqa: N815
    #: The whole address for those who may change it, else its host.
    webhook: str
    selector: str
    #: waiting, watching, failing or paused.
    state: str
    #: Why it is paused: "", person or failures.
    pausedBecause: str  # noqa: N815
    #: fresh, stale, expired, or null before the first reading.
    freshness: str | None
    #: html, json, text, pdf, feed, sitemap, or null before the first reading.
    kind: str | None
    createdAt: datetime  # noqa: N815
    lastCheckedAt: datetime | None  # noqa: N815
    lastReadAt: datetime | None  # noqa: N815
    lastChangedAt: datetime | None  # noqa: N815
    #: null while it is paused.
    nextCheckAt: datetime | None  # noqa: N815
    lastStatus: int | None  # noqa: N815
    checks: int
    changes: int
    failuresInRow: int  # noqa: N815
    failure: str | None

    @classmethod
    def of(cls, row: Listener, request: TeamRequest) -> ListenerShown:
        """Show one."""
        return cls(**_shown(row, request))


class EventShown(Schema):
    """Something that happened to a listener."""

    id: int
    #: first, changed, failed, recovered, paused or resumed.
    kind: str
    at: datetime
    #: How often in a row, and since when.
    times: int
    since: datetime
    detail: str
    #: Lines that begin with +, - or a blank; @@ where lines are left out.
    diff: str
    addedLines: int  # noqa: N815
    removedLines: int  # noqa: N815
    invalidated: int
    #: How many requests are asked anew; null where that was not wanted, or is not known yet.
    askedAnew: int | None  # noqa: N815
    #: What was asked for: what (source, tags, namespace), value, entries.
    selectors: list[dict[str, Any]]

    @classmethod
    def of(cls, event: ListenerEvent) -> EventShown:
        """Show one."""
        return cls(
            id=event.pk, kind=event.kind, at=event.at, times=event.times, since=event.since, detail=event.detail,
            diff=event.diff, addedLines=event.added, removedLines=event.removed, invalidated=event.invalidated,
            askedAnew=event.asked_anew, selectors=event.selectors,
        )  # fmt: skip


class ListenerWithHistory(ListenerShown):
    """A listener with what happened to it, newest first."""

    history: list[EventShown]


class ListenersShown(Schema):
    """A page of listeners, newest first."""

    listeners: list[ListenerShown]
    #: Continues the list; "" at the end.
    cursor: str


class ListAsked(_Given, PageAsked):
    """Which listeners."""

    search: str = ""
    state: queries.State | None = None


class HistoryAsked(_Given):
    """How much history."""

    before: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 20


@router.post("/register", auth=_MANAGE, response={201: ListenerShown}, operation_id="listeners.register")
def register(request: TeamRequest, body: ListenerGiven) -> Status[ListenerShown]:
    """Watch a source. The first check reads it; from the second on, a change is noticed."""
    _check_refresh(request, wants_it=body.refreshOnChange)
    wanted = Wanted(
        url=body.url, check_interval_seconds=body.checkInterval // 1000, namespace=body.namespace,
        tags=tuple(body.tags), selector=body.selector, invalidates=body.invalidateOnChange, webhook_url=body.webhook,
        refreshes=body.refreshOnChange,
    )  # fmt: skip
    row = services.register(request.team_context.team, wanted, _settings(), timezone.now(), actor=Actor.of(request))
    return Status(201, ListenerShown.of(row, request))


@router.get("", auth=_READ, response=ListenersShown, operation_id="listeners.list")
def list_listeners(request: TeamRequest, asked: Query[ListAsked]) -> ListenersShown:
    """Return the team's listeners, newest first."""
    page = queries.list_listeners(
        request.team_context.team, search=asked.search, state=asked.state or "", cursor=asked.cursor, limit=asked.limit
    )
    return ListenersShown(listeners=[ListenerShown.of(row, request) for row in page.rows], cursor=page.cursor)


@router.get("/{listener_id}", auth=_READ, response=ListenerWithHistory, operation_id="listeners.get")
def get_listener(request: TeamRequest, listener_id: str, asked: Query[HistoryAsked]) -> ListenerWithHistory:
    """Return a listener with what happened to it; `before` continues the history."""
    row = queries.get_listener(request.team_context.team, listener_id)
    events = queries.history(row, before=asked.before, limit=asked.limit)
    return ListenerWithHistory(**_shown(row, request), history=[EventShown.of(event) for event in events])


@router.patch("/{listener_id}", auth=_MANAGE, response=ListenerShown, operation_id="listeners.change")
def change(request: TeamRequest, listener_id: str, body: ListenerChanges) -> ListenerShown:
    """Change what is watched; another URL or selector begins with a first reading again."""
    _check_refresh(request, wants_it=bool(body.refreshOnChange))
    given = {name: value for name, value in body.dict(exclude_unset=True).items() if value is not None}
    changes = {_NAMES[name]: value for name, value in given.items()}
    if "check_interval_seconds" in changes:
        changes["check_interval_seconds"] //= 1000
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    team = request.team_context.team
    row = services.change(team, listener_id, changes, _settings(), timezone.now(), actor=Actor.of(request))
    return ListenerShown.of(row, request)


@router.post("/{listener_id}/pause", auth=_MANAGE, response=ListenerShown, operation_id="listeners.pause")
def pause(request: TeamRequest, listener_id: str) -> ListenerShown:
    """Stop looking at a source."""
    row = services.pause(request.team_context.team, listener_id, timezone.now(), actor=Actor.of(request))
    return ListenerShown.of(row, request)


@router.post("/{listener_id}/resume", auth=_MANAGE, response=ListenerShown, operation_id="listeners.resume")
def resume(request: TeamRequest, listener_id: str) -> ListenerShown:
    """Look at a source again, at once."""
    row = services.resume(request.team_context.team, listener_id, timezone.now(), actor=Actor.of(request))
    return ListenerShown.of(row, request)


@router.post("/{listener_id}/check", auth=_MANAGE, response={202: ListenerShown}, operation_id="listeners.check")
def check(request: TeamRequest, listener_id: str) -> Status[ListenerShown]:
    """Have a source looked at as soon as its host may be asked; the history tells what came of it."""
    row = services.check_now(request.team_context.team, listener_id, timezone.now())
    return Status(202, ListenerShown.of(row, request))


@router.delete("/{listener_id}", auth=_MANAGE, response={204: None}, operation_id="listeners.delete")
def delete(request: TeamRequest, listener_id: str) -> Status[None]:
    """Watch a source no longer, and forget its history."""
    services.delete(request.team_context.team, listener_id, actor=Actor.of(request))
    return Status(204, None)


#: Member of the API -> member of `Wanted`.
_NAMES = {
    "url": "url", "checkInterval": "check_interval_seconds", "namespace": "namespace", "tags": "tags",
    "invalidateOnChange": "invalidates", "refreshOnChange": "refreshes", "webhook": "webhook_url", "selector": "selector",
}  # fmt: skip


def _check_refresh(request: TeamRequest, *, wants_it: bool) -> None:
    """Raise `Forbidden` where somebody wants to spend the team's money who may not."""
    if wants_it and not request.team_context.may(Permission.PREWARM_RUN):
        raise RefreshNotAllowed(param="refreshOnChange")


def _shown(row: Listener, request: TeamRequest) -> dict[str, Any]:
    webhook = row.webhook_url
    if webhook and not request.team_context.may(Permission.LISTENERS_MANAGE):
        webhook = host_of(webhook)
    return {
        "id": row.pk,
        "url": row.url,
        "checkInterval": row.check_interval_seconds * 1000,
        "namespace": row.namespace,
        "tags": row.tags,
        "invalidateOnChange": row.invalidates,
        "refreshOnChange": row.refreshes,
        "webhook": webhook,
        "selector": row.selector,
        "state": queries.state_of(row).value,
        "pausedBecause": row.paused_because,
        "freshness": queries.freshness_of(row, timezone.now()) or None,
        "kind": row.kind or None,
        "createdAt": row.created_at,
        "lastCheckedAt": row.last_checked_at,
        "lastReadAt": row.last_read_at,
        "lastChangedAt": row.last_changed_at,
        "nextCheckAt": None if row.paused_because else row.next_check_at,
        "lastStatus": row.last_status,
        "checks": row.checks,
        "changes": row.changes,
        "failuresInRow": row.failures_in_row,
        "failure": row.failure or None,
    }


def _settings() -> Settings:
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings
