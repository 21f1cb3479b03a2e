"""The JSON API of prewarming, under /api/cache/prewarm."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field

from agentcache.audit.services import Actor
from agentcache.kit.errors import PayloadTooLarge
from agentcache.kit.money import usd
from agentcache.prewarm import queries, services
from agentcache.prewarm.errors import InvalidBatch
from agentcache.prewarm.given import BATCH_BYTES_MAX, Choice, OptionsGiven, check_options, read_batch, read_lines
from agentcache.prewarm.models import Batch, BatchRequest, RequestState
from agentcache.prewarm.probing import dialects_of
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.paging import PageAsked
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets, current_settings

router = Router(tags=["Prewarm"])

_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


class BatchShown(Schema):
    """A prewarming and what came of it. Money is decimal US dollars."""

    id: str
    title: str
    job_id: str
    #: `waiting`, `running`, `done`, `failed` or `cancelled`.
    state: str
    dry_run: bool
    concurrency: int
    requests_per_second: float | None
    #: Null for no cap.
    cost_cap_usd: str | None
    requests: int
    #: How many of them are items of embeddings, of which one call to the provider asks many.
    embeddings: int
    warmed: int
    #: Requests whose answers were fresh.
    fresh: int
    failed: int
    #: Requests that were not made: for want of money, of a price, or because it was a dry run.
    left_out: int
    cost_usd: str
    #: What a dry run found: about, and at the very most; without those that have no known price.
    likely_cost_usd: str | None
    most_cost_usd: str | None
    without_a_price: int | None
    error: str
    started_by: str
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, batch: Batch) -> BatchShown:
        """Show one."""
        cap, is_dry = batch.cost_cap_usd_nanos, batch.is_dry_run
        same = "id title state concurrency warmed failed error started_by created_at ended_at".split()
        return cls(
            job_id=batch.task_id,
            dry_run=is_dry,
            requests_per_second=batch.rate_per_second,
            cost_cap_usd=None if cap is None else usd(cap),
            requests=batch.total,
            embeddings=batch.items,
            fresh=batch.skipped,
            left_out=batch.total - batch.warmed - batch.skipped - batch.failed if batch.is_ended else 0,
            cost_usd=usd(batch.cost_usd_nanos),
            likely_cost_usd=usd(batch.likely_usd_nanos) if is_dry else None,
            most_cost_usd=usd(batch.most_usd_nanos) if is_dry else None,
            without_a_price=batch.unpriced if is_dry else None,
            **{name: getattr(batch, name) for name in same},
        )


class BatchesShown(Schema):
    """A page of prewarmings, newest first; `cursor` continues it and is empty at the end."""

    prewarmings: list[BatchShown]
    cursor: str


class ResultShown(Schema):
    """What became of one request."""

    #: Its place in the batch, from 0.
    position: int
    provider: str
    model: str
    #: `request`, or `embedding` for an item of embeddings that is asked together with others.
    kind: str
    #: `waiting`, `sending`, `warmed`, `skipped`, `failed` or `left`.
    state: str
    reason: str
    status: int | None
    key: str
    cost_usd: str

    @classmethod
    def of(cls, row: BatchRequest) -> ResultShown:
        """Show one."""
        same = "position provider model state reason status".split()
        return cls(
            kind="embedding" if row.group else "request",
            key=row.cache_key,
            cost_usd=usd(row.cost_usd_nanos),
            **{name: getattr(row, name) for name in same},
        )


class ResultsShown(Schema):
    """A page of results in the order of the batch; `cursor` is the place to go on from, null at the end."""

    results: list[ResultShown]
    cursor: int | None


class ResultsQuery(Schema):
    """Which results."""

    state: RequestState | None = None
    cursor: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class LinesQuery(Schema):
    """How a batch is done that comes as JSON lines; a JSON object has these as members."""

    title: str = ""
    concurrency: int = 4
    requests_per_second: float | None = None
    #: "none" for no cap.
    cost_cap_usd: str | None = None
    output_tokens: int | None = None
    dry_run: bool = False


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["requests"]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "",
    auth=TeamAuth(Permission.PREWARM_RUN),
    response={202: BatchShown},
    operation_id="prewarm.start",
    openapi_extra=_BODY,
)
def start(request: TeamRequest, query: Query[LinesQuery]) -> Status[BatchShown]:
    """Fetch up to 10,000 answers ahead: a JSON object with `requests`, or JSON lines with the options in the query.

    With `from` in place of `requests`, they are chosen among those that the team keeps.
    """
    dialects, team = dialects_of(current_settings()), request.team_context.team
    raw = read_body(request)
    if request.content_type in _LINES:
        requests, options = (
            read_lines(raw, dialects),
            check_options(OptionsGiven(**query.model_dump(exclude_none=True))),
        )
    elif request.GET:
        raise InvalidBatch("A JSON object has its options as members, not in the query.", param=min(request.GET))
    else:
        given, options = read_batch(raw, dialects)
        requests = services.choose(current_secrets(), team, given) if isinstance(given, Choice) else given
    batch = services.start_batch(current_secrets(), team, requests, options, actor=Actor.of(request))
    return Status(202, BatchShown.of(batch))


@router.get("", auth=TeamAuth(Permission.PREWARM_READ), response=BatchesShown, operation_id="prewarm.list")
def list_batches(request: TeamRequest, query: Query[PageAsked]) -> BatchesShown:
    """Return the team's prewarmings, newest first."""
    page = queries.batches_of(request.team_context.team, cursor=query.cursor, rows=query.limit)
    return BatchesShown(prewarmings=[BatchShown.of(row) for row in page.batches], cursor=page.next_cursor)


@router.get("/{prewarm_id}", auth=TeamAuth(Permission.PREWARM_READ), response=BatchShown, operation_id="prewarm.show")
def show(request: TeamRequest, prewarm_id: str) -> BatchShown:
    """Return one prewarming. Its job, at /api/jobs, knows how fast it is and ends it."""
    return BatchShown.of(queries.get_batch(request.team_context.team, prewarm_id))


@router.get(
    "/{prewarm_id}/results",
    auth=TeamAuth(Permission.PREWARM_READ),
    response=ResultsShown,
    operation_id="prewarm.results",
)
def results(request: TeamRequest, prewarm_id: str, query: Query[ResultsQuery]) -> ResultsShown:
    """Return what became of each request, in the order of the batch."""
    team = request.team_context.team
    batch = queries.get_batch(team, prewarm_id)
    state = "" if query.state is None else query.state.value
    rows, following = queries.results_of(team, batch, state=state, start=query.cursor, rows=query.limit)
    return ResultsShown(results=[ResultShown.of(row) for row in rows], cursor=following)


@router.post(
    "/{prewarm_id}/run",
    auth=TeamAuth(Permission.PREWARM_RUN),
    response={202: BatchShown},
    operation_id="prewarm.run",
)
def run(request: TeamRequest, prewarm_id: str) -> Status[BatchShown]:
    """Do for real what a dry run of the last seven days found out."""
    batch = services.run_again(request.team_context.team, prewarm_id, actor=Actor.of(request))
    return Status(202, BatchShown.of(batch))


def read_body(request: HttpRequest) -> bytes:
    """Return the body of a request that may be as large as a batch."""
    # From the stream: what Django reads at once is bounded for forms.
    raw: bytes = request.read(BATCH_BYTES_MAX + 1)
    if len(raw) > BATCH_BYTES_MAX:
        raise PayloadTooLarge(f"A batch has at most {BATCH_BYTES_MAX // 1024 // 1024} MiB.")
    return raw
