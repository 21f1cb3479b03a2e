"""The audit log: list, export."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.http import StreamingHttpResponse
from ninja import Query, Schema
from pydantic import AwareDatetime

from agentcache.audit import queries as audit
from agentcache.audit.queries import AuditFilters
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.api.routes import router
from agentcache.teams.audit_export import export_response
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission


class AuditQuery(Schema):
    """Which events; what is left out does not narrow."""

    #: Part of an e-mail address, or the id of a user or key.
    actor: str = ""
    #: A whole action, or with a dot at the end all on that noun (`member.`).
    action: str = ""
    #: Part of a name, or an id.
    target: str = ""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def filters(self) -> AuditFilters:
        """Return them as the query takes them."""
        return AuditFilters(**self.model_dump(include={"actor", "action", "target", "since", "until"}))


class AuditListQuery(AuditQuery, PageAsked):
    """Which events, and which page of them."""


class AuditActor(Schema):
    """Who did it; all empty for the server itself."""

    user_id: str
    email: str
    api_key_id: str
    impersonator_id: str
    network: str


class AuditTarget(Schema):
    """What it was done to."""

    kind: str
    id: str
    name: str


class AuditEventShown(Schema):
    """One act."""

    id: str
    at: datetime
    action: str
    actor: AuditActor
    target: AuditTarget
    before: dict[str, object] | None
    after: dict[str, object] | None


class AuditEvents(Schema):
    """A page of the log, newest first; `cursor` continues it and is empty at the end."""

    events: list[AuditEventShown]
    cursor: str


@router.get(
    "/{team_id}/audit", auth=TeamAuth(Permission.AUDIT_READ), response=AuditEvents, operation_id="teams.listEvents"
)
def list_events(request: TeamRequest, team_id: str, query: Query[AuditListQuery]) -> AuditEvents:
    """Return who did what, newest first."""
    team = request.team_context.team
    page = audit.page_of(team.pk, query.filters(), cursor=query.cursor, rows=query.limit)
    shown = [AuditEventShown.model_validate(audit.as_dict(event)) for event in page.events]
    return AuditEvents(events=shown, cursor=page.next_cursor)


@router.get(
    "/{team_id}/audit/export",
    auth=TeamAuth(Permission.AUDIT_READ, fresh=True),
    response={200: None},
    operation_id="teams.exportEvents",
)
def export_events(
    request: TeamRequest,
    team_id: str,
    query: Query[AuditQuery],
    format: Literal["csv", "jsonl"] = "csv",  # noqa: A002
) -> StreamingHttpResponse:
    """Return the whole log that the filters leave, as CSV or lines of JSON."""
    return export_response(request.team_context.team, query.filters(), format)
