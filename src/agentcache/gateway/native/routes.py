"""The native API's routes, each with who may call it beside it. A route that says nothing cannot be made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from agentcache.gateway.native import explaining, invalidating, looking, managing, near, near_schemas, schemas, storing
from agentcache.gateway.native.exchange import Exchange
from agentcache.gateway.ports import Scope

_SEGMENT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: where it is, who may call it, what it takes and gives."""

    name: str
    method: str
    path: str
    summary: str
    serve: Callable[[Exchange], Awaitable[None]]
    #: Any one of these lets a caller in.
    scopes: tuple[Scope, ...]
    #: Status of success and what is answered with it; None for no body.
    status: int
    reply: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    #: Problems beyond those of every route.
    problems: tuple[int, ...] = ()
    may_limit_age: bool = False
    #: Whether a call counts as a request of the month; every call is held to rates.
    is_request: bool = False
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ValueError(f"{self.method} {self.path} names no scope, so nobody could call it")
        pattern = "".join(
            f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(_SEGMENT.split(self.path))
        )
        object.__setattr__(self, "pattern", re.compile(pattern))


_READ, _WRITE = (Scope.CACHE_READ,), (Scope.CACHE_WRITE,)


def _removal(
    name: str,
    summary: str,
    serve: Callable[[Exchange], Awaitable[None]],
    body: type[msgspec.Struct],
    reply: type[msgspec.Struct],
) -> Route:
    """Return the route of what makes entries unusable by criteria."""
    return Route(
        name=f"cache.{name}", method="POST", path=f"/api/cache/{name}", summary=summary, serve=serve, scopes=_WRITE,
        body=body, status=200, reply=reply, problems=(413,),
    )  # fmt: skip


ROUTES: tuple[Route, ...] = (
    Route(
        name="cache.get",
        method="POST",
        path="/api/cache/get",
        summary="Look up a request, a prompt or a key; a miss is an answer too, and an expired entry is a miss",
        serve=looking.get_by_request,
        scopes=_READ,
        body=schemas.GetRequest,
        status=200,
        reply=schemas.GetReply,
        problems=(413,),
        may_limit_age=True,
        is_request=True,
    ),
    Route(
        name="cache.getByKey",
        method="GET",
        path="/api/cache/get",
        summary="Look up a key; a miss is a 404",
        serve=looking.get_by_key,
        scopes=_READ,
        query=schemas.GetQuery,
        status=200,
        reply=schemas.GetReply,
        problems=(404,),
        may_limit_age=True,
        is_request=True,
    ),
    Route(
        name="cache.set",
        method="POST",
        path="/api/cache/set",
        summary="Store an answer; one that its provider could have given to the whole request is served on the "
        "provider's route too",
        serve=storing.set_entry,
        scopes=_WRITE,
        body=schemas.SetRequest,
        status=201,
        reply=schemas.SetReply,
        problems=(413,),
    ),
    Route(
        name="cache.entries.list",
        method="GET",
        path="/api/cache/entries",
        summary="Search entries, newest first, without their values",
        serve=managing.list_entries,
        scopes=_READ,
        query=schemas.EntriesQuery,
        status=200,
        reply=schemas.EntriesPage,
    ),
    Route(
        name="cache.entries.show",
        method="GET",
        path="/api/cache/entries/{key}",
        summary="Show an entry with its value, an expired one too while it is kept",
        serve=managing.show_entry,
        scopes=_READ,
        status=200,
        reply=schemas.EntryReply,
        problems=(404,),
    ),
    Route(
        name="cache.entries.delete",
        method="DELETE",
        path="/api/cache/entries/{key}",
        summary="Remove an entry; once this is answered no worker serves it",
        serve=managing.delete_entry,
        scopes=_WRITE,
        status=204,
        reply=None,
        problems=(404,),
    ),
    _removal(
        "invalidate",
        "Invalidate every entry that meets all criteria, or mark them stale; with dry_run, say what it would be",
        invalidating.invalidate,
        schemas.InvalidateRequest,
        schemas.InvalidateReply,
    ),
    _removal(
        "purge",
        "Remove every entry that meets all criteria; once this is answered no worker serves them",
        invalidating.purge,
        schemas.PurgeRequest,
        schemas.PurgeReply,
    ),
    Route(
        name="cache.stats",
        method="GET",
        path="/api/cache/stats",
        summary="Count what the cache holds for the team, and the team's calls",
        serve=managing.show_stats,
        scopes=(Scope.STATS_READ, Scope.CACHE_READ),
        query=schemas.StatsQuery,
        status=200,
        reply=schemas.StatsReply,
    ),
    Route(
        name="cache.explain",
        method="POST",
        path="/api/cache/explain",
        summary="Say what a request's cache key is made of, and on a miss what the nearest stored request has "
        "otherwise",
        serve=explaining.explain,
        scopes=_READ,
        body=schemas.Question,
        status=200,
        reply=schemas.ExplainReply,
        problems=(413,),
    ),
    Route(
        name="cache.feedback",
        method="POST",
        path="/api/cache/feedback",
        summary="Say whether an answer to a near question was right; a wrong one answers no near question any more",
        serve=near.give_feedback,
        scopes=_WRITE,
        body=near_schemas.FeedbackRequest,
        status=200,
        reply=near_schemas.FeedbackReply,
        problems=(404,),
    ),
)

#: Names of the operations that no month's number counts: keeping, seeing and removing what is stored.
NOT_REQUESTS: frozenset[str] = frozenset(route.name for route in ROUTES if not route.is_request)
