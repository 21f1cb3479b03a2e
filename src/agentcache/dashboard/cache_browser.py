"""What is cached: search, one entry with its lineage, deletion."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from agentcache.analytics import queries
from agentcache.analytics.labels import labels_of
from agentcache.analytics.queries import EventFilters
from agentcache.audit.services import Actor, record
from agentcache.dashboard.entry_access import entry_access, tenant_of
from agentcache.dashboard.requests import request_rows
from agentcache.engine.entries import EntryMeta, Selector, Tenant
from agentcache.engine.freshness import Freshness, age_seconds, freshness, ttl_seconds
from agentcache.engine.stores.port import EntryStore, EntrySummary, Page, StoreUnavailable
from agentcache.gateway.native.targets import native_key_beside
from agentcache.invalidations.queries import that_meant
from agentcache.kit.errors import BadRequest
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.permissions import Permission

PAGE_ROWS: Final = 50
#: By freshness or by the beginning of a key, so many of the newest entries are looked through.
SEARCHED_MAX: Final = 1_000
_SERVED_ROWS: Final = 10
_LISTED_INVALIDATIONS: Final = 5
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")
_KEY_CHARS: Final = 64
#: Of a stored answer so much is shown.
_SHOWN_BYTES: Final = 20_000


@dataclass(frozen=True, slots=True)
class EntryRow:
    """An entry as it is listed."""

    summary: EntrySummary
    now: float

    @property
    def key(self) -> str:
        """Its cache key, in hex."""
        return self.summary.key.hex()

    @property
    def meta(self) -> EntryMeta:
        """What is known about it."""
        return self.summary.meta

    @property
    def freshness(self) -> str:
        """fresh, stale or expired."""
        return freshness(self.meta, self.now).value

    @property
    def age(self) -> float:
        """Seconds since the answer was made."""
        return age_seconds(self.meta, self.now)

    @property
    def ttl(self) -> float:
        """Seconds that are left of its lifetime; below zero when it is over."""
        return ttl_seconds(self.meta, self.now)

    @property
    def saved_usd(self) -> float:
        """What its hits saved, at the price when it was made."""
        return self.summary.hits * self.meta.cost_usd_nanos / 1e9

    @property
    def cost_usd(self) -> float:
        """What the answer cost."""
        return self.meta.cost_usd_nanos / 1e9

    @property
    def stored_at(self) -> datetime:
        """When it was stored."""
        return datetime.fromtimestamp(self.meta.stored_at, UTC)

    @property
    def expires_at(self) -> datetime:
        """When its lifetime ends."""
        return datetime.fromtimestamp(self.meta.expires_at, UTC)

    @property
    def marked_stale_at(self) -> datetime | None:
        """When a soft invalidation ended its lifetime."""
        since = self.summary.stale_at
        return datetime.fromtimestamp(since, UTC) if since is not None else None

    @property
    def last_used_at(self) -> datetime | None:
        """When it was last served or stored."""
        used = self.summary.last_used_at
        return datetime.fromtimestamp(used, UTC) if used else None


@dataclass(frozen=True, slots=True)
class Search:
    """What entries are looked for by."""

    selector: Selector
    state: str = ""
    key_begin: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Search:
        """Read an address. Raises `BadRequest`."""
        key = query.get("key", "").strip().lower()
        if key and not _HEX.fullmatch(key):
            raise BadRequest("A cache key has hex digits only.", param="key")
        state = query.get("freshness", "")
        if state and state not in {one.value for one in Freshness}:
            raise BadRequest(f"{state[:20]!r} is not fresh, stale or expired.", param="freshness")
        label = query.get("label", "").strip()
        return cls(
            Selector(
                keys=(bytes.fromhex(key),) if len(key) == _KEY_CHARS else (),
                namespace=query.get("namespace", "").strip() or None,
                model=query.get("model", "").strip() or None,
                tags=(tag,) if (tag := query.get("tag", "").strip()) else (),
                pattern=f"*/*/*/*{_as_glob(label)}*" if label else None,
            ),
            state,
            "" if len(key) == _KEY_CHARS else key,
        )

    @property
    def needs_looking(self) -> bool:
        """Whether the store cannot select by it."""
        return bool(self.state or self.key_begin)

    def fits(self, row: EntryRow) -> bool:
        """Say whether a listed entry is meant."""
        return row.key.startswith(self.key_begin) and (not self.state or row.freshness == self.state)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of entries."""

    rows: list[EntryRow]
    cursor: str
    is_cut: bool = False


@require_safe
@team_page(Permission.CACHE_READ)
def cache(request: TeamRequest) -> HttpResponse:
    """List the team's entries, newest first."""
    tenant = tenant_of(request.team_context.team)
    asked = request.GET.dict()
    context: dict[str, object] = {"asked": asked, "states": [one.value for one in Freshness]}
    try:
        search = Search.of(request.GET)
        cursor = request.GET.get("cursor", "")
        context["found"] = entry_access().call(lambda store: _find(store, tenant, search, cursor))
        context["stats"] = entry_access().call(lambda store: store.stats(tenant))
    except BadRequest as error:
        context["problem"] = error.message
    except StoreUnavailable as error:
        context["problem"] = (
            f"The cache store cannot be reached: {error.message} Requests go to the providers meanwhile."
        )
    context["searched_max"] = SEARCHED_MAX
    context["may_purge"] = request.team_context.may(Permission.CACHE_PURGE)
    context["is_filtered"] = any(value for name, value in asked.items() if name != "cursor")
    return render(
        request, "dashboard/cache.html", context, status=503 if "stats" not in context and "found" in context else 200
    )


@require_safe
@team_page(Permission.CACHE_READ)
def entry(request: TeamRequest, key: str) -> HttpResponse:
    """Show one entry: what it was made from, who asked, how it was used."""
    team = request.team_context.team
    row = _entry(request, key)
    may_read_requests = request.team_context.may(Permission.REQUESTS_READ)
    served = (
        queries.list_events(team, EventFilters(entry_key=row.key), limit=_SERVED_ROWS).rows if may_read_requests else ()
    )
    context: dict[str, object] = {
        "row": row,
        "writer": labels_of(team, "api_key", [row.meta.writer])[row.meta.writer],
        "parts": sorted((path, digest.hex()) for path, digest in row.meta.parts.items()),
        "served": request_rows(team, served),
        "may_read_requests": may_read_requests,
        "invalidations": that_meant(team, row.summary.key, row.meta, _LISTED_INVALIDATIONS),
        "answer": None,
        "may_purge": request.team_context.may(Permission.CACHE_PURGE),
    }
    if request.GET.get("answer") == "1":
        # Reading the answer counts as a use of the entry.
        found = entry_access().call(lambda store: store.get(tenant_of(team), row.summary.key)).entry
        context["answer"] = found.body[:_SHOWN_BYTES].decode("utf-8", "replace") if found is not None else ""
        context["is_answer_cut"] = found is not None and len(found.body) > _SHOWN_BYTES
    return render(request, "dashboard/cache_entry.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.CACHE_PURGE)
def delete_entry(request: TeamRequest, key: str) -> HttpResponse:
    """Ask whether an entry shall be deleted, and delete it: no worker serves it afterwards."""
    row = _entry(request, key)
    if request.method != "POST":
        return render(request, "dashboard/cache_delete.html", {"row": row})
    team = request.team_context.team
    tenant = tenant_of(team)
    # The native key beside it goes as well: whoever removes one means both.
    selector = Selector(keys=(row.summary.key, native_key_beside(tenant, row.summary.key)))
    removed = entry_access().call(lambda store: store.invalidate(tenant, selector))
    record(
        action="cache_entry.deleted", actor=Actor.of(request), team_id=team.pk, target_kind="cache_entry",
        target_id=row.key, target_name=row.meta.label or row.meta.model, after={"entries": removed},
    )  # fmt: skip
    messages.success(request, "The entry was deleted. The next request like it goes to the provider.")
    return redirect("dashboard:cache")


def _entry(request: TeamRequest, key: str) -> EntryRow:
    if len(key) != _KEY_CHARS or not _HEX.fullmatch(key):
        raise Http404
    tenant = tenant_of(request.team_context.team)
    page = entry_access().call(lambda store: store.list_entries(tenant, Selector(keys=(bytes.fromhex(key),)), limit=1))
    if not page.rows:
        raise Http404
    return EntryRow(page.rows[0], time.time())


async def _find(store: EntryStore, tenant: Tenant, search: Search, cursor: str) -> Found:
    now = time.time()
    rows: list[EntryRow] = []
    looked = 0
    while True:
        page: Page = await store.list_entries(tenant, search.selector, cursor=cursor, limit=PAGE_ROWS)
        listed = [EntryRow(one, now) for one in page.rows]
        rows += [row for row in listed if search.fits(row)]
        looked += len(listed)
        cursor = page.cursor
        if not search.needs_looking or not cursor or len(rows) >= PAGE_ROWS or looked >= SEARCHED_MAX:
            return Found(rows, cursor, is_cut=bool(cursor) and looked >= SEARCHED_MAX)


def _as_glob(text: str) -> str:
    """Return a pattern that means the text itself."""
    return re.sub(r"([*?\[])", r"[\1]", text)
