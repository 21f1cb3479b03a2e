"""Seeing and removing what is stored: list, show, delete, stats."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from agentcache.engine.entries import Entry, EntryMeta, Selector
from agentcache.engine.freshness import age_seconds, freshness, ttl_seconds
from agentcache.engine.stores.port import EntrySummary
from agentcache.gateway.directives import parse_name, parse_sources, parse_tags
from agentcache.gateway.invalidating import both_keys
from agentcache.gateway.native.exchange import Exchange, InvalidMember, utc
from agentcache.gateway.native.invalidating import hand_over
from agentcache.gateway.native.looking import NotInCache
from agentcache.gateway.native.schemas import (
    CallTotals,
    EntriesPage,
    EntriesQuery,
    EntryReply,
    EntryRow,
    StatsQuery,
    StatsReply,
)
from agentcache.gateway.native.targets import is_hex_key
from agentcache.gateway.native.values import key_space, shown_value
from agentcache.gateway.ports import InvalidationRecord
from agentcache.kit.ids import new_id

_DAY_SECONDS = 86400


async def list_entries(exchange: Exchange) -> None:
    """Answer `GET /api/cache/entries`."""
    query = exchange.query(EntriesQuery)
    selector = Selector(
        namespace=parse_name(query.namespace, "namespace") if isinstance(query.namespace, str) else None,
        tags=() if query.tag is UNSET else parse_tags([query.tag], "tag"),
        source=None if query.source is UNSET else _source(query.source),
        pattern=None if query.pattern is UNSET else query.pattern,
        dialect=None if query.dialect is UNSET else query.dialect,
        model=None if query.model is UNSET else query.model,
    )
    cursor = query.cursor
    page = await exchange.parts.entries.list_entries(
        exchange.principal.tenant, selector, cursor=cursor, limit=query.limit
    )
    now = exchange.parts.clock.now()
    await exchange.reply(EntriesPage(entries=[_row(row, now) for row in page.rows], cursor=page.cursor))


async def show_entry(exchange: Exchange) -> None:
    """Answer `GET /api/cache/entries/{key}`: the entry whatever its age, as long as the store keeps it."""
    tenant = exchange.principal.tenant
    found: list[Entry] = []
    for key in _keys_of(exchange, exchange.path["key"]):
        entry = (await exchange.parts.entries.get(tenant, key)).entry
        if entry is not None:
            found.append(entry)
    if not found:
        raise NotInCache
    entry = max(found, key=lambda entry: entry.meta.stored_at)
    page = await exchange.parts.entries.list_entries(tenant, Selector(keys=(entry.key,)), limit=1)
    now = exchange.parts.clock.now()
    # Gone between the two reads: the entry is still what was there when the caller asked.
    row = page.rows[0] if page.rows else EntrySummary(entry.key, entry.meta, len(entry.body), 1, now, entry.stale_at)
    value, encoding = shown_value(exchange.parts, entry)
    reply = EntryReply(**_described(row, now), value=value, value_encoding=encoding)
    await exchange.reply(reply)


async def delete_entry(exchange: Exchange) -> None:
    """Answer `DELETE /api/cache/entries/{key}`: once it is answered, no worker serves the entry."""
    key, tenant = exchange.path["key"], exchange.principal.tenant
    now = exchange.parts.clock.now()
    keys = _keys_of(exchange, key)
    reach = await exchange.parts.entries.withdraw(tenant, Selector(keys=keys))
    if not reach.entries:
        raise NotInCache
    record = InvalidationRecord(
        id=new_id("inv_"), tenant_id=tenant.id, at=now, criteria={"keys": [key]}, entries=reach.entries
    )
    await hand_over(exchange, record, reach)
    await exchange.parts.semantic.forget(tenant, keys)
    await exchange.reply(None, status=204)


async def show_stats(exchange: Exchange) -> None:
    """Answer `GET /api/cache/stats`."""
    days = exchange.query(StatsQuery).days
    tenant = exchange.principal.tenant
    stats = await exchange.parts.entries.stats(tenant)
    calls: CallTotals | None = None
    if exchange.totals is not None:
        since = exchange.parts.clock.now() - days * _DAY_SECONDS
        counted = await exchange.totals.tenant_totals(tenant.id, int(since * 1000))
        looked_up = counted.hits + counted.coalesced + counted.misses
        calls = CallTotals(
            days=days,
            requests=counted.requests,
            hits=counted.hits,
            coalesced=counted.coalesced,
            misses=counted.misses,
            hit_ratio=counted.hits / looked_up if looked_up else None,
            cost_usd=counted.cost_usd_nanos / 1e9,
            saved_usd=counted.saved_usd_nanos / 1e9,
        )
    reply = StatsReply(entries=stats.entries, bytes=stats.body_bytes, namespaces=stats.namespaces, calls=calls)
    await exchange.reply(reply)


def _keys_of(exchange: Exchange, text: str) -> tuple[bytes, ...]:
    """Return the entry's own key and the native key beside it: whoever removes one means both."""
    if not is_hex_key(text):
        raise InvalidMember(f"{text[:80]!r} is not the key of an entry, which has 64 hex digits.", param="key")
    return both_keys(exchange.principal.tenant, [text])


def _source(text: str) -> str:
    return parse_sources([text], "source")[0]


def _row(row: EntrySummary, now: float) -> EntryRow:
    return EntryRow(**_described(row, now))


def _described(row: EntrySummary, now: float) -> dict[str, Any]:
    meta: EntryMeta = row.meta
    return {
        "key": row.key.hex(),
        "namespace": meta.namespace,
        "dialect": meta.dialect,
        "endpoint": meta.endpoint,
        "model": meta.model,
        "label": meta.label,
        "key_space": key_space(meta),
        "freshness": freshness(meta, now).value,
        "age": int(age_seconds(meta, now)),
        "ttl": ttl_seconds(meta, now),
        "marked_stale_at": None if row.stale_at is None else utc(row.stale_at),
        "stored_at": utc(meta.stored_at),
        "expires_at": utc(meta.expires_at),
        "stale_while_revalidate": int(meta.stale_while_revalidate_seconds),
        "stale_if_error": int(meta.stale_if_error_seconds),
        "tags": list(meta.tags),
        "sources": list(meta.sources),
        "bytes": row.body_bytes,
        "hits": row.hits,
        "last_used_at": utc(row.last_used_at),
        "cost_usd": meta.cost_usd_nanos / 1e9,
        "input_tokens": meta.input_tokens,
        "output_tokens": meta.output_tokens,
        "status": meta.status,
        "content_type": meta.content_type,
        "streamed": meta.streamed,
        "writer": meta.writer,
    }
