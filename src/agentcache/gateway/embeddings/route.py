"""The embeddings route: look every item up, ask for those that nobody knows, and put them together in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from agentcache.engine.canonical import parse_body
from agentcache.engine.entries import Lookup
from agentcache.engine.freshness import (
    Freshness,
    freshness,
    may_serve,
    may_serve_on_error,
    may_serve_while_revalidating,
)
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.asgi_types import read_body
from agentcache.gateway.calls import KEPT_OUT, Call
from agentcache.gateway.embeddings.batch import (
    STORE_OPERATIONS_MAX,
    Asked,
    Batch,
    BatchAnswer,
    asks_everything,
    join,
    wait,
)
from agentcache.gateway.embeddings.items import Item, Items, make_items, split_input
from agentcache.gateway.embeddings.refreshing import begin_refresh
from agentcache.gateway.embeddings.replies import send_hit, send_merged, send_upstream_answer
from agentcache.gateway.embeddings.stored import unpack
from agentcache.gateway.passthrough import pass_through
from agentcache.gateway.proxy import NotCached, ProviderKeyMissing
from agentcache.kit.errors import AgentCacheError

#: Providers take up to 2,048; what is far above is not worth taking apart.
ITEMS_MAX = 8192
#: Refusals that may name an item by its place in what we sent, which is not its place in what the caller sent.
_ABOUT_THE_INPUT = frozenset({400, 404, 413, 422})


async def answer_embeddings(call: Call) -> None:
    """Serve a request for embeddings."""
    endpoint, directives = call.endpoint, call.directives
    assert endpoint is not None
    call.raw_body = await read_body(call.asgi_scope, call.receive, call.parts.settings.body_max_bytes)
    call.body = parse_body(call.raw_body)
    call.apply_policies()
    contents = split_input(call.body.get("input"))
    call.detail = endpoint.bypass(call.body, call.caller.headers) or _why_not_apart(call, contents)
    if call.detail or contents is None or directives.is_bypass:
        await pass_through(call, call.raw_body, detail=call.detail or "requested")
        return
    items = make_items(call, contents)
    call.set_key()
    if len(items.distinct) == 1:
        call.key = items.distinct[0].key
    await _look_up(call, items.distinct)
    missing = [item for item in items.distinct if not _may_serve(call, item)]
    if not missing:
        await send_hit(call, items)
        return
    if all(_may_serve_stale(call, item) for item in missing):
        # Begun first: it goes on when this caller hangs up.
        refresh = begin_refresh(call, missing)
        await send_hit(call, items, detail="stale-while-revalidate", refresh=refresh)
        return
    # An item that nobody knows has to be waited for, and those past their lifetime are asked for with it.
    if directives.only_if_cached:
        raise NotCached
    if not call.caller.has_provider_credential:
        raise ProviderKeyMissing
    await _from_upstream(call, items, missing)


async def narrow_to_due(call: Call, outdated_since: float | None = None) -> list[Item]:
    """Leave in a request that the server makes for itself only the items that have no fresh vector, and return those.

    With `detail`, it is not one whose items are cached one by one, and stays as it is. A vector stored before
    `outdated_since` (Unix seconds) is not fresh.
    """
    assert call.endpoint is not None
    call.body = parse_body(call.raw_body)
    call.apply_policies()
    contents = split_input(call.body.get("input"))
    call.detail = call.endpoint.bypass(call.body, call.caller.headers) or _why_not_apart(call, contents)
    if call.detail or contents is None or call.directives.is_bypass:
        return []
    items = make_items(call, contents)
    call.set_key()
    if len(items.distinct) == 1:
        call.key = items.distinct[0].key
    await _look_up(call, items.distinct)
    # A store in trouble is no reason against the request: what it could not tell is asked for.
    call.detail = ""
    now = call.parts.clock.now()
    due = [
        item
        for item in items.distinct
        if item.entry is None
        or freshness(item.entry.meta, now) is not Freshness.FRESH
        or (outdated_since is not None and item.entry.meta.stored_at <= outdated_since)
    ]
    if due:
        call.body = {**call.body, "input": [item.content for item in due]}
        call.raw_body = msgspec.json.encode(call.body)
    return due


def _why_not_apart(call: Call, contents: Sequence[object] | None) -> str:
    """Return why this request's items are not cached one by one, or an empty string."""
    if call.is_kept_out:
        return KEPT_OUT
    if contents is None:
        return "unsupported_input"
    if len(contents) > ITEMS_MAX:
        return "too_many_items"
    if call.body.get("encoding_format") not in (None, "float", "base64"):
        return "unsupported_encoding"
    # Packed integers look like packed floats.
    return "unsupported_encoding" if call.body.get("output_dtype") not in (None, "float") else ""


async def _look_up(call: Call, items: Sequence[Item]) -> None:
    """Fill in what the store holds. A store in trouble ends the looking-up: the rest are misses."""
    entries, tenant = call.parts.entries, call.principal.tenant
    for start in range(0, len(items), STORE_OPERATIONS_MAX):
        part = items[start : start + STORE_OPERATIONS_MAX]
        try:
            if len(part) == 1:
                lookups: list[Lookup] = [await entries.get(tenant, part[0].key)]
            else:
                lookups = await asyncio.gather(*(entries.get(tenant, item.key) for item in part))
        except StoreUnavailable as error:
            call.detail = error.code
            call.parts.meter.count_store_error()
            return
        for item, lookup in zip(part, lookups, strict=True):
            item.mark = lookup.mark
            if lookup.entry is not None:
                item.kept = unpack(lookup.entry)
                item.entry = lookup.entry if item.kept is not None else None


def _may_serve(call: Call, item: Item) -> bool:
    directives = call.directives
    return (
        item.entry is not None
        and directives.reads
        and may_serve(item.entry.meta, call.parts.clock.now(), max_age=directives.max_age)
    )


def _may_serve_stale(call: Call, item: Item) -> bool:
    directives, now = call.directives, call.parts.clock.now()
    return (
        item.entry is not None
        and directives.reads
        and may_serve_while_revalidating(item.entry.meta, now, max_age=directives.max_age)
    )


async def _from_upstream(call: Call, items: Items, missing: list[Item]) -> None:
    """Ask for the missing items, or wait for whoever asks for them already, and answer with all of them."""
    answers: dict[bytes, Asked] = {}
    batches: list[Batch] = []
    for is_second in (False, True):
        batch = Batch(call)
        batches.append(batch)
        flights = join(call, batch, missing, after_failure=is_second)
        failure, last = await wait(flights)
        for item, flight in zip(missing, flights, strict=True):
            result: BatchAnswer | None = flight.result
            if result is not None and item.key in result.found:
                answers[item.key] = result.found[item.key]
        still_missing = [item for item in missing if item.key not in answers]
        if not still_missing:
            await send_merged(call, items, answers, batches)
            return
        # Whoever's own call it was that failed does not try again; whoever waited for another's tries once.
        if is_second or any(item in batch.items for item in still_missing):
            await _answer_failure(call, items, batch, batch.answer or last, failure)
            return
        missing = still_missing


async def _answer_failure(
    call: Call, items: Items, batch: Batch, answer: BatchAnswer | None, failure: AgentCacheError | None
) -> None:
    """Answer when items could not be had: from expired entries where that is allowed, else with the truth."""
    status = answer.head.status if answer is not None else 0
    is_outage = answer is None or status >= 500 or status in (408, 429)
    if is_outage and _may_stand_in(call, items):
        await send_hit(call, items, detail="stale-if-error")
        return
    if answer is None:
        raise failure or AgentCacheError()
    is_own = answer is batch.answer
    is_part = not (is_own and asks_everything(call, batch.items))
    if is_part and (answer.head.is_success or status in _ABOUT_THE_INPUT):
        # Let the provider judge what the caller really sent.
        await pass_through(call, call.raw_body, detail="partial_refused")
        return
    await send_upstream_answer(call, answer, is_own=is_own)


def _may_stand_in(call: Call, items: Items) -> bool:
    now, asked = call.parts.clock.now(), call.directives
    window, max_age = asked.stale_if_error, asked.max_age
    return asked.reads and all(
        item.entry is not None and may_serve_on_error(item.entry.meta, now, stale_if_error=window, max_age=max_age)
        for item in items.distinct
    )
