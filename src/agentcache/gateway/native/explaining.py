"""`explain`: how a request's cache key comes about, and on a miss which stored request is nearest to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agentcache.engine.entries import Selector, Tenant
from agentcache.engine.freshness import freshness
from agentcache.engine.keys import KeyMaterial, fingerprint_parts
from agentcache.engine.stores.port import EntryStore, EntrySummary
from agentcache.gateway.native.exchange import Exchange, utc
from agentcache.gateway.native.looking import find_entry
from agentcache.gateway.native.near import explain_near
from agentcache.gateway.native.near_schemas import NearExplained
from agentcache.gateway.native.schemas import Difference, ExplainReply, KeyPart, NearestEntry, Question, Search
from agentcache.gateway.native.targets import Target, find_target
from agentcache.providers.dialect import Endpoint, Json

#: The newest entries of the same dialect and model (or else of the same dialect) that are compared.
SEARCHED_MAX = 500
_PAGE_ENTRIES = 100
#: Parts that every request of one dialect shares; they make no two requests alike.
_SETTING_PARTS = frozenset({"dialect", "endpoint", "origin", "namespace", "bucket", "body.model"})
_PARTS_SHOWN_MAX = 500
_HINTS_MAX = 8
_FIXED = {
    "dialect": "every provider's API has answers of its own",
    "endpoint": "every operation has answers of its own",
    "origin": "two deployments of one API do not share answers",
    "namespace": "a namespace is a partition of the cache",
    "bucket": "buckets keep samples of one request apart",
    "ignored": "whoever ignores a member is answered only by those who ignore it too",
}
_HINTS = {
    "namespace": "The nearest request was stored in the namespace {namespace!r}: send X-AgentCache-Namespace: {namespace}.",
    "bucket": "The nearest request was stored in another bucket (X-AgentCache-Bucket).",
    "origin": "The nearest request went to another base URL of this provider.",
    "endpoint": "The nearest request was for another operation.",
    "ignored": "The nearest request was made with another X-AgentCache-Ignore list; send the same list each time.",
    "body.model": "The nearest request was for another model.",
}


async def explain(exchange: Exchange) -> None:
    """Answer `POST /api/cache/explain`."""
    asked = await exchange.read(Question, exchange.parts.settings.body_max_bytes)
    target = find_target(exchange.parts, exchange.principal, exchange.caller, asked)
    material, endpoint, request = target.material, target.endpoint, target.request
    assert material is not None and endpoint is not None and request is not None, "a question is about a request"
    entry, reason = await find_entry(exchange, target)
    tenant = exchange.principal.tenant
    fingerprints = fingerprint_parts(tenant, material)
    nearest: NearestEntry | None = None
    search: Search | None = None
    near: NearExplained | None = None
    hints: list[str] = []
    if target.bypass is not None:
        hints.append(f"This request goes past the cache: {target.bypass}.")
    if entry is None:
        if reason == "expired":
            hints.append("The same request is stored, but its lifetime is over: ask again, or give it a longer TTL.")
        found = await _find_nearest(exchange.parts.entries, tenant, target, fingerprints)
        search = found.search
        if found.row is not None:
            nearest = _nearest(found.row, fingerprints, exchange.parts.clock.now())
            hints += _hints(nearest)
        near = await explain_near(exchange, target, asked.headers if isinstance(asked.headers, dict) else {})
    headers = {} if not isinstance(asked.headers, dict) else asked.headers
    reply = ExplainReply(
        key=target.key.hex(),
        hit=entry is not None,
        dialect=target.dialect_name,
        endpoint=target.endpoint_name,
        model=target.model,
        namespace=target.namespace,
        bucket=target.bucket,
        reason=None if entry is not None else reason,
        bypass=target.bypass,
        policy=target.policy.name if target.policy is not None else None,
        parts=_parts(material, endpoint, request, fingerprints, headers),
        nearest=nearest,
        search=search,
        near=near,
        hints=hints[:_HINTS_MAX],
    )
    await exchange.reply(reply)


def _parts(
    material: KeyMaterial, endpoint: Endpoint, request: Json, fingerprints: dict[str, bytes], headers: dict[str, str]
) -> list[KeyPart]:
    parts = [KeyPart(name=name, in_key=True, why=_why_in(name)) for name in fingerprints]
    for name in sorted({name.lower() for name in headers} - {name for name, _ in material.headers}):
        why = f"no header that changes an answer of {material.dialect}"
        if name.startswith("x-agentcache-"):
            why = "a directive to AgentCache; what it says is in the key only as namespace, bucket or ignore list"
        parts.append(KeyPart(name=f"header:{name}"[:200], in_key=False, why=why))
    for name in sorted(endpoint.ignored.intersection(request)):
        why = f"does not change what {material.dialect} {endpoint.name} answers"
        parts.append(KeyPart(name=f"body.{name}", in_key=False, why=why))
    kept = {name: value for name, value in request.items() if name not in endpoint.ignored}
    everywhere = "does not change the answer, wherever it stands"
    listed = "left out by your ignore list"
    places = places_of(kept, endpoint.ignored_anywhere)
    parts += [KeyPart(name=place, in_key=False, why=everywhere) for place in places]
    parts += [KeyPart(name=f"body.{spelled(steps)}", in_key=False, why=listed) for steps in material.ignored]
    return parts[:_PARTS_SHOWN_MAX]


def _why_in(name: str) -> str:
    if name in _FIXED:
        return _FIXED[name]
    if name.startswith("header:"):
        return "this header changes the answer"
    if name.startswith("path:"):
        return "part of the operation's path"
    return "everything in the body counts unless a list says otherwise"


def places_of(value: Any, names: frozenset[str], place: str = "body") -> list[str]:
    """Return the paths at which members with one of `names` stand, outermost first."""
    found: list[str] = []
    if not names:
        return found
    waiting = [(place, value)]
    while waiting and len(found) < _PARTS_SHOWN_MAX:
        path, item = waiting.pop()
        if type(item) is dict:
            for name, child in item.items():
                if name in names:
                    found.append(f"{path}.{name}")
                else:
                    waiting.append((f"{path}.{name}", child))
        elif type(item) is list:
            waiting.extend((f"{path}[{index}]", child) for index, child in enumerate(item))
    return sorted(found)


def spelled(steps: tuple[str | int, ...]) -> str:
    """Spell a JSON path as `X-AgentCache-Ignore` takes it."""
    text = "".join(f"[{step}]" if isinstance(step, int) or step == "*" else f".{step}" for step in steps)
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class _Found:
    row: EntrySummary | None
    search: Search


async def _find_nearest(entries: EntryStore, tenant: Tenant, target: Target, fingerprints: dict[str, bytes]) -> _Found:
    """Compare the newest entries of the same dialect and model; where there are none, of the same dialect."""
    found = _Found(None, Search(examined=0, limit=SEARCHED_MAX, complete=True))
    for model in dict.fromkeys((target.model or None, None)):
        selector = Selector(dialect=target.dialect_name, model=model)
        found = await _search(entries, tenant, selector, target, fingerprints)
        if found.row is not None:
            break
    return found


async def _search(
    entries: EntryStore, tenant: Tenant, selector: Selector, target: Target, fingerprints: dict[str, bytes]
) -> _Found:
    asked = fingerprints.items()
    best: EntrySummary | None = None
    best_share = 0.0
    examined, cursor = 0, ""
    while examined < SEARCHED_MAX:
        page = await entries.list_entries(tenant, selector, cursor=cursor, limit=_PAGE_ENTRIES)
        for row in page.rows:
            examined += 1
            stored = row.meta.parts
            if row.meta.endpoint != target.endpoint_name or row.key == target.key or not stored:
                continue
            equal = asked & stored.items()
            if all(name in _SETTING_PARTS for name, _ in equal):
                continue
            share = len(equal) / len(asked | stored.items())
            if share > best_share:
                best, best_share = row, share
        cursor = page.cursor
        if not cursor:
            break
        await asyncio.sleep(0)  # others wait for this loop
    return _Found(best, Search(examined=examined, limit=SEARCHED_MAX, complete=not cursor))


def _nearest(row: EntrySummary, fingerprints: dict[str, bytes], now: float) -> NearestEntry:
    stored = row.meta.parts
    differences = [
        Difference(name=name, change="changed" if name in stored else "added")
        for name, mark in fingerprints.items()
        if stored.get(name) != mark
    ]
    differences += [Difference(name=name, change="removed") for name in stored if name not in fingerprints]
    return NearestEntry(
        key=row.key.hex(),
        namespace=row.meta.namespace,
        model=row.meta.model,
        stored_at=utc(row.meta.stored_at),
        freshness=freshness(row.meta, now).value,
        equal_parts=len(fingerprints.items() & stored.items()),
        differences=differences[:_PARTS_SHOWN_MAX],
    )


def _hints(nearest: NearestEntry) -> list[str]:
    if not nearest.differences:
        return ["Every part is equal: the nearest entry was stored by another version of AgentCache."]
    hints = []
    for difference in nearest.differences:
        name = difference.name
        if name in _HINTS:
            hints.append(_HINTS[name].format(namespace=nearest.namespace))
        elif name.startswith("header:"):
            hints.append(f"The header {name.removeprefix('header:')} differs: send the same one each time.")
        elif name.startswith("body.messages["):
            hints.append(f"{name} differs ({difference.change}): look for a date, an id or other changing text in it.")
        elif name.startswith("body."):
            path = name.removeprefix("body.")
            hints.append(
                f"{name} differs ({difference.change}): if it does not change the answer, add {path} to "
                "X-AgentCache-Ignore."
            )
    return hints
