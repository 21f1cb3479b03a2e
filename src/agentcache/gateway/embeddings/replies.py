"""Putting vectors together into one answer, in the caller's encoding, and saying where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agentcache.engine.entries import EntryMeta
from agentcache.engine.freshness import Freshness, freshness
from agentcache.engine.stores.port import Put
from agentcache.gateway.asgi_types import HeaderList, send_whole
from agentcache.gateway.calls import Call
from agentcache.gateway.embeddings.batch import Asked, Batch, BatchAnswer
from agentcache.gateway.embeddings.items import Item, Items
from agentcache.gateway.embeddings.stored import StoredVector
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import forward_status, hit_headers, relayed_headers, shared_headers

#: How an answer of several parts stands: as the worst of them.
_WORST_FIRST = (Freshness.EXPIRED, Freshness.STALE, Freshness.FRESH)
_JSON = msgspec.json.Encoder()
#: After so many numbers the event loop gets a turn: spelling them takes milliseconds.
_NUMBERS_PER_TURN = 8192
_OWN_HEADERS = frozenset({b"content-type", b"content-encoding", b"etag"})


async def send_hit(call: Call, items: Items, *, detail: str = "", refresh: str = "") -> None:
    """Answer from the store alone; `refresh` tells the caller of a stale answer what becomes of a new one."""
    metas = [item.entry.meta for item in items.distinct if item.entry is not None]
    now = call.parts.clock.now()
    meta = _joint_meta(metas)
    vectors = [item.kept for item in items.in_order() if item.kept is not None]
    body, tokens = await _render(call, vectors)
    headers = hit_headers(call.key, meta, now, call.request_id, detail=detail)
    if refresh:
        headers = [*headers, (b"x-agentcache-refresh", refresh.encode())]
    await send_whole(call.send, 200, headers, body)
    expired = any(now >= one.expires_at for one in metas)
    call.record(
        Outcome.STALE if expired else Outcome.EXACT,
        200,
        input_tokens=tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
        reason=detail,
        served=min((freshness(one, now) for one in metas), key=_WORST_FIRST.index),
    )


async def send_merged(call: Call, items: Items, answers: Mapping[bytes, Asked], batches: Sequence[Batch]) -> None:
    """Answer with what was known and what was just asked for, by this request (in `batches`) or another."""
    in_order = items.in_order()
    body, tokens = await _render(call, [_vector(item, answers) for item in in_order])
    own = [batch.answer for batch in batches if batch.items and batch.answer is not None]
    headers: HeaderList = [(b"content-type", b"application/json")]
    if own:
        headers += [pair for pair in relayed_headers(own[-1].head.headers) if pair[0] not in _OWN_HEADERS]
    headers += _own_headers(call, _status(call, in_order, answers, own[-1] if own else None))
    await send_whole(call.send, 200, headers, body)
    asked_by_us = {item.key for batch in batches for item in batch.items}
    saved = sum(
        item.entry.meta.cost_usd_nanos for item in items.distinct if item.key not in answers and item.entry is not None
    )
    saved += sum(asked.cost_usd_nanos for key, asked in answers.items() if key not in asked_by_us)
    refusals = _refusals(answers)
    call.record(
        Outcome.MISS if own else Outcome.COALESCED,
        200,
        reason=f"{call.directives.forward_reason}; {refusals[0]}" if refusals else "",
        input_tokens=tokens,
        cost_usd_nanos=sum(answer.cost_usd_nanos for answer in own),
        saved_usd_nanos=saved,
        upstream_us=sum(answer.upstream_us for answer in own),
    )


async def send_upstream_answer(call: Call, answer: BatchAnswer, *, is_own: bool) -> None:
    """Pass an answer on that was of no use to us, as it came."""
    headers = relayed_headers(answer.head.headers) if is_own else shared_headers(answer.head.headers)
    status = forward_status(
        call.directives.forward_reason,
        upstream_status=answer.head.status,
        collapsed=not is_own,
        key=call.key,
        detail=call.detail or answer.reason,
    )
    await send_whole(call.send, answer.head.status, headers + _own_headers(call, status), answer.body)
    outcome = Outcome.MISS if answer.head.is_success else Outcome.ERROR
    call.record(outcome, answer.head.status, upstream_us=answer.upstream_us if is_own else 0)


def _vector(item: Item, answers: Mapping[bytes, Asked]) -> StoredVector:
    asked = answers.get(item.key)
    if asked is not None:
        return asked.vector
    assert item.kept is not None, "an item that was not asked for is known"
    return item.kept


def _refusals(answers: Mapping[bytes, Asked]) -> list[str]:
    """Return why items were not stored, each reason once."""
    return sorted({asked.put for asked in answers.values()} - {Put.STORED.value})


def _status(call: Call, in_order: Sequence[Item], answers: Mapping[bytes, Asked], own: BatchAnswer | None) -> bytes:
    """Return `Cache-Status`; `detail` is `partial-3-of-5` when three of five items were known."""
    known = sum(1 for item in in_order if item.key not in answers)
    refusals = _refusals(answers)
    partial = f"partial-{known}-of-{len(in_order)}" if known else ""
    reason = call.directives.forward_reason
    if reason == "miss" and all(item.entry is not None for item in in_order):
        reason = "stale"
    return forward_status(
        reason,
        upstream_status=own.head.status if own is not None else None,
        stored=not refusals,
        collapsed=own is None,
        ttl=int(call.lifetime_seconds),
        key=call.key,
        detail=call.detail or partial or next(iter(refusals), ""),
    )


def _own_headers(call: Call, cache_status: bytes) -> HeaderList:
    return [
        (b"cache-status", cache_status),
        (b"x-agentcache-key", call.key.hex().encode()),
        (b"x-agentcache-request-id", call.request_id.encode()),
        *call.policy_header,
    ]


def _joint_meta(metas: Sequence[EntryMeta]) -> EntryMeta:
    """Return metadata for an answer made of several entries: as old as the oldest, good for as long as the shortest."""
    stored_at = min(meta.stored_at for meta in metas)
    expires_at = min(meta.expires_at for meta in metas)
    return EntryMeta(
        dialect=metas[0].dialect,
        endpoint=metas[0].endpoint,
        stored_at=stored_at,
        lifetime_seconds=expires_at - stored_at,
        stale_while_revalidate_seconds=min(m.expires_at + m.stale_while_revalidate_seconds for m in metas) - expires_at,
        stale_if_error_seconds=min(m.expires_at + m.stale_if_error_seconds for m in metas) - expires_at,
        cost_usd_nanos=sum(meta.cost_usd_nanos for meta in metas),
        upstream_ms=max(meta.upstream_ms for meta in metas),
    )


async def _render(call: Call, vectors: Sequence[StoredVector]) -> tuple[bytes, int]:
    """Return the JSON body and its tokens: the sum over the request's items, repeated ones as often as they stand."""
    packs = call.body.get("encoding_format") == "base64"
    listed: list[bytes] = []
    numbers = 0
    for index, stored in enumerate(vectors):
        vector = stored.vector
        spelled: Any = vector.as_base64() if packs else msgspec.Raw(vector.as_json())
        listed.append(_JSON.encode({**stored.beside, "index": index, "embedding": spelled}))
        numbers += len(vector.numbers)
        if numbers > _NUMBERS_PER_TURN:
            numbers = 0
            await asyncio.sleep(0)
    tokens = sum(stored.tokens for stored in vectors)
    around = vectors[0].around
    answer: dict[str, Any] = {"object": around["object"]} if "object" in around else {}
    answer["data"] = msgspec.Raw(b"[" + b",".join(listed) + b"]")
    answer |= {name: value for name, value in around.items() if name != "object"}
    if any(stored.has_usage for stored in vectors):
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _JSON.encode(answer), tokens
