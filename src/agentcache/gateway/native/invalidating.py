"""`invalidate` and `purge`: make answers unusable, say what was met, and have it written down."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from agentcache.engine.entries import Reach, Selector
from agentcache.gateway.directives import parse_name, parse_sources, parse_tags
from agentcache.gateway.invalidating import WEEK_MS, Preview, both_keys, criteria_of, preview, selector_of
from agentcache.gateway.native.exchange import Exchange, InvalidMember, utc
from agentcache.gateway.native.schemas import (
    BlastRadius,
    InvalidateReply,
    InvalidateRequest,
    PurgeReply,
    PurgeRequest,
)
from agentcache.gateway.ports import RECORD_INVALIDATION, InvalidationRecord
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger
from agentcache.kit.networks import caller_address

#: Bodies of this API that carry no request and no value.
BODY_BYTES_MAX = 2 * 1024 * 1024
#: What a purge may select by; `all` alone stands for none of them.
_PURGED_BY = ("namespace", "tags", "source", "pattern", "dialect", "model", "keys")
#: As `invalidate` calls them, whose words the audit log has.
_RECORDED_AS = {"source": "url", "dialect": "provider"}

_log = get_logger(__name__)


async def invalidate(exchange: Exchange) -> None:
    """Answer `POST /api/cache/invalidate`: once it is answered, no worker serves what it means as if it were good."""
    asked = await exchange.read(InvalidateRequest, BODY_BYTES_MAX)
    tenant, now = exchange.principal.tenant, exchange.parts.clock.now()
    selector = selector_of(tenant, asked, now)
    if asked.dry_run:
        await exchange.reply(_dry_reply(await _preview(exchange, selector, now)))
        return
    reach = await exchange.parts.entries.withdraw(tenant, selector, soft=asked.soft)
    record = InvalidationRecord(
        id=new_id("inv_"),
        tenant_id=tenant.id,
        at=now,
        criteria=criteria_of(asked),
        entries=reach.entries,
        is_soft=asked.soft,
        reason=asked.reason,
        notify=asked.notify,
    )
    is_recorded = await _hand_over(exchange, record, reach)
    await exchange.reply(
        InvalidateReply(
            id=record.id,
            invalidated=reach.entries,
            namespaces=list(reach.namespaces),
            estimated_cost_impact=reach.cost_usd_nanos / 1e9,
            soft=asked.soft,
            dry_run=False,
            recorded=is_recorded,
        )
    )


async def purge(exchange: Exchange) -> None:
    """Answer `POST /api/cache/purge`."""
    asked = await exchange.read(PurgeRequest, BODY_BYTES_MAX)
    selector = _purged(exchange, asked)
    entries, tenant = exchange.parts.entries, exchange.principal.tenant
    if asked.dry_run:
        number = await entries.count(tenant, selector)
    else:
        reach = await entries.withdraw(tenant, selector)
        number = reach.entries
        given: dict[str, Any] = msgspec.to_builtins(asked)
        criteria = {_RECORDED_AS.get(name, name): given[name] for name in (*_PURGED_BY, "all") if name in given}
        now = exchange.parts.clock.now()
        record = InvalidationRecord(id=new_id("inv_"), tenant_id=tenant.id, at=now, criteria=criteria, entries=number)
        await _hand_over(exchange, record, reach)
    await exchange.reply(PurgeReply(invalidated=number, dry_run=asked.dry_run))


async def _preview(exchange: Exchange, selector: Selector, now: float) -> Preview:
    tenant, totals = exchange.principal.tenant, exchange.totals
    hits = None
    if totals is not None:
        try:
            hits = await totals.entry_hits(tenant.id, int(now * 1000) - WEEK_MS)
        except Unavailable:
            # What would go is known all the same; the reply says that hits are not.
            _log.warning("hits_not_counted", team_id=tenant.id)
    return await preview(exchange.parts.entries, tenant, selector, hits)


def _dry_reply(found: Preview) -> InvalidateReply:
    reach = found.reach
    return InvalidateReply(
        invalidated=reach.entries,
        namespaces=list(reach.namespaces),
        estimated_cost_impact=reach.cost_usd_nanos / 1e9,
        dry_run=True,
        preview=BlastRadius(
            entries=reach.entries,
            bytes=reach.body_bytes,
            by_namespace=reach.namespaces,
            hits_last_7_days=found.hits,
            saved_last_7_days_usd=None if found.hits is None else found.saved_usd_nanos / 1e9,
            hits_since=None if found.hits is None else utc(found.since_ms / 1000),
            hits_complete=found.is_complete,
        ),
    )


async def _hand_over(exchange: Exchange, record: InvalidationRecord, reach: Reach) -> bool:
    """Have an invalidation written down; False where that cannot be: it has happened, and must not look undone."""
    peer = exchange.asgi_scope.get("client")
    record.body_bytes = reach.body_bytes
    record.namespaces = reach.namespaces
    record.cost_usd_nanos = reach.cost_usd_nanos
    record.api_key_id = exchange.principal.api_key_id
    record.user_id = exchange.principal.user_id
    record.address = caller_address(
        peer[0] if peer else "",
        exchange.caller.headers.get("x-forwarded-for", ""),
        exchange.parts.settings.trusted_proxies,
    )
    try:
        await exchange.parts.jobs.enqueue(RECORD_INVALIDATION, msgspec.to_builtins(record))
    except Unavailable:
        _log.error("invalidation_not_recorded", id=record.id, team_id=record.tenant_id, entries=record.entries)
        return False
    return True


def _purged(exchange: Exchange, asked: PurgeRequest) -> Selector:
    """Return what a purge means; raise `InvalidMember` unless it has a criterion, or says `all` and nothing else."""
    given = [name for name in _PURGED_BY if getattr(asked, name) is not UNSET]
    if bool(given) == asked.all:
        problem = "'all' stands alone" if given else "give at least one criterion, or all: true for every entry"
        raise InvalidMember(f"{problem[:1].upper()}{problem[1:]}; criteria are {', '.join(_PURGED_BY)}.", param="all")
    if asked.tags is not UNSET and not asked.tags:
        raise InvalidMember("tags: an empty list selects nothing.", param="tags")
    return Selector(
        keys=() if asked.keys is UNSET else both_keys(exchange.principal.tenant, asked.keys),
        namespace=None if asked.namespace is UNSET else parse_name(asked.namespace, "namespace"),
        tags=() if asked.tags is UNSET else parse_tags(asked.tags, "tags"),
        source=None if asked.source is UNSET else parse_sources([asked.source], "source")[0],
        pattern=None if asked.pattern is UNSET else asked.pattern,
        dialect=None if asked.dialect is UNSET else asked.dialect,
        model=None if asked.model is UNSET else asked.model,
    )
