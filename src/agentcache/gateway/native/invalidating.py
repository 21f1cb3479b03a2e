"""`invalidate` and `purge`: make answers unusable, say what was met, and have it written down."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from agentcache.engine.entries import Reach, Selector
from agentcache.gateway.authenticate import require
from agentcache.gateway.directives import parse_name, parse_sources, parse_tags
from agentcache.gateway.invalidating import (
    WEEK_MS,
    Preview,
    PrewarmUnavailable,
    ask_again_of,
    both_keys,
    criteria_of,
    preview,
    selector_of,
)
from agentcache.gateway.native.exchange import Exchange, InvalidMember, utc
from agentcache.gateway.native.schemas import (
    BlastRadius,
    InvalidateReply,
    InvalidateRequest,
    PurgeReply,
    PurgeRequest,
)
from agentcache.gateway.ports import RECORD_INVALIDATION, AskAgain, AskedAgain, InvalidationRecord, Scope
from agentcache.kit.egress.own_api import COMMAND_AGENT
from agentcache.kit.errors import Unavailable
from agentcache.kit.ids import new_id
from agentcache.kit.logs import get_logger

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
    selector, how = selector_of(tenant, asked, now), ask_again_of(asked)
    if how is not None:
        # Before anything is removed: who may not have it asked again may want it left as it is.
        require(exchange.principal, Scope.ADMIN)
        if exchange.prewarmer is None:
            raise PrewarmUnavailable(param="preWarm")
    if asked.dry_run:
        again = await _ask_again(exchange, selector, now, how, is_dry_run=True)
        await exchange.reply(_dry_reply(await _preview(exchange, selector, now), again))
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
    is_recorded = await hand_over(exchange, record, reach)
    again = await _ask_again(exchange, selector, now, how)
    await exchange.reply(
        InvalidateReply(
            id=record.id,
            invalidated=reach.entries,
            namespaces=list(reach.namespaces),
            estimated_cost_impact=reach.cost_usd_nanos / 1e9,
            pre_warmed=again.requests,
            pre_warm_problem=again.problem or None,
            soft=asked.soft,
            dry_run=False,
            recorded=is_recorded,
            job=again.job_id or None,
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
        await hand_over(exchange, record, reach)
    await exchange.reply(PurgeReply(invalidated=number, dry_run=asked.dry_run))


async def _ask_again(
    exchange: Exchange, selector: Selector, at: float, how: AskAgain | None, *, is_dry_run: bool = False
) -> AskedAgain:
    """Have it asked again, or say what that would be; nothing that is in the way of it undoes the invalidation."""
    if how is None or exchange.prewarmer is None:
        return AskedAgain()
    principal = exchange.principal
    try:
        if is_dry_run:
            return await exchange.prewarmer.would_ask(principal.tenant.id, selector, at, how)
        return await exchange.prewarmer.ask_again(
            principal.tenant.id,
            selector,
            at,
            how,
            api_key_id=principal.api_key_id,
            user_id=principal.user_id,
            address=exchange.address,
        )
    except Unavailable as error:
        _log.error("not_asked_again", team_id=principal.tenant.id, reason=error.message)
        return AskedAgain(problem=error.code)


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


def _dry_reply(found: Preview, again: AskedAgain) -> InvalidateReply:
    reach = found.reach
    return InvalidateReply(
        invalidated=reach.entries,
        namespaces=list(reach.namespaces),
        estimated_cost_impact=reach.cost_usd_nanos / 1e9,
        pre_warmed=again.requests,
        pre_warm_problem=again.problem or None,
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


async def hand_over(exchange: Exchange, record: InvalidationRecord, reach: Reach) -> bool:
    """Have an invalidation written down; False where that cannot be: it has happened, and must not look undone."""
    record.body_bytes = reach.body_bytes
    record.namespaces = reach.namespaces
    record.cost_usd_nanos = reach.cost_usd_nanos
    record.api_key_id = exchange.principal.api_key_id
    record.user_id = exchange.principal.user_id
    record.address = exchange.address
    record.cause = "command" if exchange.caller.headers.get("user-agent", "").startswith(COMMAND_AGENT) else "api"
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
