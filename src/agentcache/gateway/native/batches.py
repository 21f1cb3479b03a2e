"""Embeddings of several items, put together from the entries that their items have."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec

from agentcache.engine.entries import Entry, EntryMeta, Tenant
from agentcache.engine.freshness import may_serve
from agentcache.engine.keys import cache_key
from agentcache.engine.stores.port import EntryStore
from agentcache.gateway.embeddings import stored_answer
from agentcache.gateway.embeddings.items import split_input
from agentcache.gateway.native.targets import Target
from agentcache.providers.dialect import Json

_JSON = msgspec.json.Encoder()


async def find_batch(
    entries: EntryStore, tenant: Tenant, target: Target, *, now: float, max_age: int | None
) -> Entry | None:
    """Return an entry that stands for the whole batch, or None unless every item may be served.

    It is as old as its oldest item, lives as long as the one that ends first, and saves what all of them cost.
    """
    material, request = target.material, target.request
    contents = split_input(request.get("input")) if request is not None else None
    if material is None or contents is None:
        return None
    answers: dict[bytes, Json] = {}
    metas: list[EntryMeta] = []
    order: list[bytes] = []
    for content in contents:
        key = cache_key(tenant, replace(material, body={**material.body, "input": content}))
        order.append(key)
        if key in answers:
            continue
        entry = (await entries.get(tenant, key)).entry
        answer = _answer_of(entry) if entry is not None else None
        if entry is None or answer is None or not may_serve(entry.meta, now, max_age=max_age):
            return None
        answers[key] = answer
        metas.append(entry.meta)
        await asyncio.sleep(0)  # spelling a vector takes a millisecond; others wait for this loop
    return Entry(target.key, _joint_meta(metas), _JSON.encode(_joined([answers[key] for key in order])))


def _answer_of(entry: Entry) -> Json | None:
    """Return the answer that holds one item's vector, whether the route or a `set` stored it."""
    answer: Any = stored_answer(entry)
    if answer is None and entry.meta.content_type.startswith("application/json"):
        answer = msgspec.json.decode(entry.body)
    listed = answer.get("data") if isinstance(answer, dict) else None
    return answer if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], dict) else None


def _joined(answers: list[Json]) -> Json:
    whole = dict(answers[0])
    whole["data"] = [{**answer["data"][0], "index": index} for index, answer in enumerate(answers)]
    usages = [answer["usage"] for answer in answers if isinstance(answer.get("usage"), dict)]
    if usages:
        whole["usage"] = {
            name: sum(usage[name] for usage in usages if isinstance(usage.get(name), int)) for name in usages[0]
        }
    return whole


def _joint_meta(metas: list[EntryMeta]) -> EntryMeta:
    oldest = min(meta.stored_at for meta in metas)
    return msgspec.structs.replace(
        metas[0],
        content_type="application/json",
        stored_at=oldest,
        lifetime_seconds=min(meta.expires_at for meta in metas) - oldest,
        tags=tuple(sorted({tag for meta in metas for tag in meta.tags})),
        sources=tuple(sorted({source for meta in metas for source in meta.sources})),
        input_tokens=sum(meta.input_tokens for meta in metas),
        cost_usd_nanos=sum(meta.cost_usd_nanos for meta in metas),
        upstream_ms=max(meta.upstream_ms for meta in metas),
    )
