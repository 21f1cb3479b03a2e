"""A team's audit log as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils import timezone

from agentcache.audit import queries as audit
from agentcache.audit.queries import AuditFilters
from agentcache.teams.models import Team

_CHUNK_LINES = 500


def export_response(team: Team, filters: AuditFilters, form: str) -> StreamingHttpResponse:
    """Answer with the whole log that the filters leave, streamed: as CSV, or with `jsonl` as lines of JSON."""
    events = audit.events_of(team.pk, filters)
    is_json = form == "jsonl"
    lines = audit.export_jsonl(events) if is_json else audit.export_csv(events)
    kind, suffix = ("application/jsonl", "jsonl") if is_json else ("text/csv; charset=utf-8", "csv")
    response = StreamingHttpResponse(_in_chunks(lines), content_type=kind)
    name = f"audit-{team.slug}-{timezone.now():%Y-%m-%d}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response.security_policy = {"default-src": "'none'", "frame-ancestors": "'none'", "sandbox": ""}  # type: ignore[attr-defined]  # for the middleware
    return response


async def _in_chunks(lines: Iterator[str]) -> AsyncIterator[str]:
    # Read in the thread of the database; given the lines themselves, Django would read all of them into memory first.
    @sync_to_async
    def read() -> str:
        return "".join(islice(lines, _CHUNK_LINES))

    while chunk := await read():
        yield chunk
