"""`get`: what is stored for a request, a prompt or a key, in whichever key space it is."""

from __future__ import annotations

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.freshness import age_seconds, freshness, may_serve, ttl_seconds
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.asgi_types import HeaderList
from agentcache.gateway.directives import parse_name
from agentcache.gateway.native.batches import find_batch
from agentcache.gateway.native.exchange import Exchange, utc
from agentcache.gateway.native.schemas import GetQuery, GetReply, GetRequest
from agentcache.gateway.native.targets import Target, find_target, named_target
from agentcache.gateway.native.values import key_space, shown_value
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import hit_headers
from agentcache.kit.errors import NotFound

ENDPOINT = "cache.get"


class NotInCache(NotFound):
    """Nothing is stored under this key."""

    code = "not_in_cache"


class EntryExpired(NotInCache):
    """What is stored under this key has expired."""

    code = "entry_expired"


async def get_by_request(exchange: Exchange) -> None:
    """Answer `POST /api/cache/get`: a miss is a 200 too, and names the key."""
    asked = await exchange.read(GetRequest, exchange.parts.settings.body_max_bytes)
    target = find_target(exchange.parts, exchange.principal, exchange.caller, asked)
    try:
        entry, reason = await find_entry(exchange, target)
    except StoreUnavailable:
        # A cache in trouble must not make its callers unavailable: to them it is a miss.
        exchange.parts.meter.count_store_error()
        entry, reason = None, "store_unavailable"
    if entry is not None:
        await _send_hit(exchange, target, entry)
        return
    if exchange.admitted.refusal is not None:
        raise exchange.admitted.refusal
    key = target.key.hex()
    reply = GetReply(
        hit=False,
        key=key,
        dialect=target.dialect_name,
        endpoint=target.endpoint_name,
        model=target.model,
        namespace=target.namespace,
        reason=reason,
        bypass=target.bypass,
    )
    _record_miss(exchange, target, 200)
    await exchange.reply(reply, headers=_miss_headers(exchange, target, reason))


async def get_by_key(exchange: Exchange) -> None:
    """Answer `GET /api/cache/get?key=…`: a miss is a 404."""
    query = exchange.query(GetQuery)
    namespace = exchange.caller.directives.namespace
    if isinstance(query.namespace, str):
        namespace = parse_name(query.namespace, "namespace")
    bucket = parse_name(query.bucket, "bucket", 64) if isinstance(query.bucket, str) else ""
    target = named_target(exchange.principal, query.key, namespace, bucket)
    entry, reason = await find_entry(exchange, target)
    if entry is None:
        if exchange.admitted.refusal is not None:
            raise exchange.admitted.refusal
        _record_miss(exchange, target, 404)
        raise EntryExpired if reason == "expired" else NotInCache
    await _send_hit(exchange, target, entry)


async def find_entry(exchange: Exchange, target: Target) -> tuple[Entry | None, str]:
    """Return the newest entry that may be served, else why there is none; raises `StoreUnavailable`."""
    now = exchange.parts.clock.now()
    max_age = exchange.caller.directives.max_age
    reason = "absent"
    best: Entry | None = None
    if target.is_batch:
        tenant, entries = exchange.principal.tenant, exchange.parts.entries
        best = await find_batch(entries, tenant, target, now=now, max_age=max_age)
    for entry in await stored_entries(exchange, target):
        if not may_serve(entry.meta, now):
            reason = "expired"
        elif not may_serve(entry.meta, now, max_age=max_age):
            reason = "older_than_max_age"
        elif best is None or entry.meta.stored_at > best.meta.stored_at:
            best = entry
    return best, reason


async def stored_entries(exchange: Exchange, target: Target) -> list[Entry]:
    """Return what the store has under the target's keys, whatever its age; raises `StoreUnavailable`."""
    found = []
    for key in target.keys:
        entry = (await exchange.parts.entries.get(exchange.principal.tenant, key)).entry
        if entry is not None and target.only_namespace in (None, entry.meta.namespace):
            found.append(entry)
    return found


async def _send_hit(exchange: Exchange, target: Target, entry: Entry) -> None:
    meta = entry.meta
    now = exchange.parts.clock.now()
    value, encoding = shown_value(exchange.parts, entry, target.request)
    reply = GetReply(
        hit=True,
        key=entry.key.hex(),
        value=value,
        value_encoding=encoding,
        freshness=freshness(meta, now).value,
        age=int(age_seconds(meta, now)),
        ttl=ttl_seconds(meta, now),
        cost_saved_usd=meta.cost_usd_nanos / 1e9,
        saved_ms=int(meta.upstream_ms),
        stored_at=utc(meta.stored_at),
        dialect=meta.dialect,
        endpoint=meta.endpoint,
        model=meta.model,
        namespace=meta.namespace,
        key_space=key_space(meta),
        tags=list(meta.tags),
        sources=list(meta.sources),
        bypass=target.bypass,
    )
    exchange.record(
        Outcome.EXACT,
        200,
        dialect=meta.dialect,
        endpoint=ENDPOINT,
        model=meta.model,
        namespace=meta.namespace,
        input_tokens=meta.input_tokens,
        output_tokens=meta.output_tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
        entry_key=entry.key.hex(),
        served=freshness(meta, now),
    )
    # Without the upstream's own headers: this answer is ours, not the provider's.
    headers = hit_headers(entry.key, msgspec.structs.replace(meta, headers=()), now, exchange.request_id)
    await exchange.reply(reply, headers=[pair for pair in headers if pair[0] != b"content-type"])


def _record_miss(exchange: Exchange, target: Target, status: int) -> None:
    exchange.record(
        Outcome.MISS,
        status,
        dialect=target.dialect_name,
        endpoint=ENDPOINT,
        model=target.model,
        namespace=target.namespace,
        entry_key=target.key.hex(),
        reason="miss",
    )


def _miss_headers(exchange: Exchange, target: Target, reason: str) -> HeaderList:
    """Return `Cache-Status` without `hit` and without `fwd`: this API asks nobody else."""
    key = target.key.hex()
    return [
        (b"cache-status", f'AgentCache; key="{key}"; detail={reason}'.encode()),
        (b"x-agentcache-key", key.encode()),
        (b"x-agentcache-request-id", exchange.request_id.encode()),
    ]
