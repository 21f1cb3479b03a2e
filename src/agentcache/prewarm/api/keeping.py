"""The JSON API of kept requests, under /api/cache/prewarm/keeping."""

from __future__ import annotations

from ninja import Router, Schema

from agentcache.audit.services import Actor
from agentcache.prewarm import queries, services
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission

router = Router(tags=["Prewarm"])


class KeepingShown(Schema):
    """Whether requests are kept to be asked again, and how many are."""

    keeps_requests: bool
    kept: int


class KeepingGiven(Schema, extra="forbid"):
    """Whether requests are to be kept."""

    keeps_requests: bool


@router.get("", auth=TeamAuth(Permission.PREWARM_READ), response=KeepingShown, operation_id="prewarm.keeping.show")
def show_keeping(request: TeamRequest) -> KeepingShown:
    """Return whether requests are kept, and how many are."""
    team = request.team_context.team
    return KeepingShown(keeps_requests=queries.keeps_requests(team.pk), kept=queries.count_kept(team))


@router.put("", auth=TeamAuth(Permission.PREWARM_RUN), response=KeepingShown, operation_id="prewarm.keeping.set")
def set_keeping(request: TeamRequest, body: KeepingGiven) -> KeepingShown:
    """Keep what is fetched and stored from now on, encrypted; or delete what is kept, and keep no more."""
    services.set_keeping(request.team_context.team, is_on=body.keeps_requests, actor=Actor.of(request))
    return show_keeping(request)
