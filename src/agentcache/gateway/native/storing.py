"""`set`: keep an answer that the caller has, where its provider's route finds it if it is one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec
from msgspec import UNSET

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.engine.keys import fingerprint_parts
from agentcache.engine.stores.port import Put
from agentcache.gateway.calls import Keeping, keeping
from agentcache.gateway.directives import LIFETIME_SECONDS_MAX, parse_lifetime, parse_sources, parse_tags
from agentcache.gateway.native.exchange import Exchange, InvalidMember, utc
from agentcache.gateway.native.near import learn_placed
from agentcache.gateway.native.schemas import SetReply, SetRequest
from agentcache.gateway.native.targets import NATIVE, Target, find_target, is_hex_key
from agentcache.gateway.native.values import key_space
from agentcache.kit.errors import Forbidden, PayloadTooLarge
from agentcache.kit.money import nanos_from_decimal, parse_usd
from agentcache.providers.dialect import Kind, Usage

_JSON = msgspec.json.Encoder()
#: No single call costs more; what does is a slip of the decimal point.
COST_USD_MAX = 1_000_000
#: Endpoints whose route needs more than an answer in JSON.
_APART = {Kind.PREDICTION: "prediction", Kind.BINARY: "binary"}


class EntryTooLarge(PayloadTooLarge):
    """The value is larger than one entry may be."""

    code = "entry_too_large"


class KeptOut(Forbidden):
    """A policy of the team keeps this out of the cache."""

    code = "kept_out_by_policy"


@dataclass(frozen=True, slots=True)
class _Price:
    usage: Usage
    cost_usd_nanos: int


async def set_entry(exchange: Exchange) -> None:
    """Answer `POST /api/cache/set`."""
    parts, principal = exchange.parts, exchange.principal
    asked = await exchange.read(SetRequest, parts.settings.body_max_bytes)
    target = find_target(parts, principal, exchange.caller, asked)
    if target.policy is not None and not target.policy.stores:
        raise KeptOut(f"The team's policy {target.policy.name!r} keeps this out of the cache.")
    kept = keeping(parts.settings, principal, target.policy, _lifetime(asked))
    reason = refusal(target, asked)
    body = _JSON.encode(asked.value)
    if len(body) > parts.settings.entry_max_bytes:
        raise EntryTooLarge(f"The value is {len(body)} bytes; an entry may have {parts.settings.entry_max_bytes}.")
    if reason is None:
        entry = Entry(target.key, _meta(exchange, asked, target, kept, is_native=False), body)
    else:
        entry = await _native_entry(exchange, asked, target, kept, body)
    put = await parts.entries.put(principal.tenant, entry)
    if put is Put.TOO_LARGE:
        raise EntryTooLarge
    meta = entry.meta
    if reason is None and put is Put.STORED:
        learn_placed(exchange, target, asked.value, meta, asked.headers if isinstance(asked.headers, dict) else {})
    reply = SetReply(
        key=entry.key.hex(),
        stored=True,
        ttl=int(kept.lifetime_seconds),
        expires_at=utc(meta.expires_at),
        bytes=len(body),
        dialect=meta.dialect,
        endpoint=meta.endpoint,
        model=meta.model,
        namespace=meta.namespace,
        key_space=key_space(meta),
        cost_usd=meta.cost_usd_nanos / 1e9,
        reason=reason,
    )
    headers = [
        (b"x-agentcache-key", entry.key.hex().encode()),
        (b"x-agentcache-request-id", exchange.request_id.encode()),
    ]
    await exchange.reply(reply, status=201, headers=headers)


def refusal(target: Target, asked: SetRequest) -> str | None:
    """Return why the provider's route must not serve the value (a snake_case word), or None when it may."""
    if target.endpoint is None:
        return "not_a_request"
    if target.endpoint.kind in _APART:
        return _APART[target.endpoint.kind]
    if target.bypass is not None:
        return target.bypass
    if target.is_batch:
        return "cached_per_item"
    if type(asked.value) is not dict:
        return "not_an_answer"
    verdict = target.endpoint.judge(asked.value)
    return None if verdict.storable else verdict.reason


async def _native_entry(exchange: Exchange, asked: SetRequest, target: Target, kept: Keeping, body: bytes) -> Entry:
    meta = _meta(exchange, asked, target, kept, is_native=True)
    if isinstance(asked.key, str) and is_hex_key(asked.key):
        # A key that `set` gave out before: what it names is replaced, not shadowed.
        known = (await exchange.parts.entries.get(exchange.principal.tenant, target.key)).entry
        if known is not None and known.meta.endpoint == NATIVE:
            meta = msgspec.structs.replace(
                meta,
                namespace=target.only_namespace or known.meta.namespace,
                label=known.meta.label,
                model=meta.model or known.meta.model,
                dialect=known.meta.dialect,
                parts=known.meta.parts,
            )
            return Entry(target.key, meta, body)
    return Entry(target.native_key, meta, body)


def _meta(exchange: Exchange, asked: SetRequest, target: Target, kept: Keeping, *, is_native: bool) -> EntryMeta:
    material = target.native_material if is_native or target.material is None else target.material
    price = _price(exchange, asked, target, is_answer=not is_native)
    return EntryMeta(
        namespace=target.namespace,
        dialect=target.dialect_name,
        endpoint=NATIVE if is_native else target.endpoint_name,
        model=target.model,
        label=target.label,
        stored_at=exchange.parts.clock.now(),
        lifetime_seconds=kept.lifetime_seconds,
        # Native entries and items of embeddings cannot be asked for anew behind a caller.
        stale_while_revalidate_seconds=kept.stale_while_revalidate_seconds if _is_refreshed(target, is_native) else 0.0,
        stale_if_error_seconds=kept.stale_if_error_seconds,
        tags=() if asked.tags is UNSET else parse_tags(asked.tags, "tags"),
        sources=() if asked.sources is UNSET else parse_sources(asked.sources, "sources"),
        input_tokens=price.usage.input_tokens,
        output_tokens=price.usage.output_tokens,
        cost_usd_nanos=price.cost_usd_nanos,
        writer=exchange.principal.api_key_id,
        parts=fingerprint_parts(exchange.principal.tenant, material),
    )


def _price(exchange: Exchange, asked: SetRequest, target: Target, *, is_answer: bool) -> _Price:
    """Return the tokens and the cost as given; what is not given comes from the answer's usage and the price data."""
    usage = Usage()
    if is_answer and target.endpoint is not None:
        usage = target.endpoint.usage(asked.value)
    if asked.input_tokens is not UNSET or asked.output_tokens is not UNSET:
        usage = Usage(
            input_tokens=usage.input_tokens if asked.input_tokens is UNSET else asked.input_tokens,
            output_tokens=usage.output_tokens if asked.output_tokens is UNSET else asked.output_tokens,
        )
    if asked.cost_usd is not UNSET:
        return _Price(usage, parse_cost(asked.cost_usd))
    now = exchange.parts.clock.now()
    if target.dialect is None or not target.model or usage == Usage():
        return _Price(usage, 0)
    return _Price(usage, exchange.parts.prices.cost_nanos(target.dialect.name, target.model, usage, now) or 0)


def parse_cost(given: float | str) -> int:
    """Return an amount of US dollars in nanos; raise `InvalidMember` unless it is 0 to `COST_USD_MAX`."""
    try:
        nanos = parse_usd(given) if isinstance(given, str) else nanos_from_decimal(Decimal(repr(given)))
    except ValueError as wrong:
        raise InvalidMember(f"cost_usd: {wrong}.", param="cost_usd") from None
    if not 0 <= nanos <= COST_USD_MAX * 10**9:
        raise InvalidMember(f"cost_usd: give 0 to {COST_USD_MAX} US dollars.", param="cost_usd")
    return nanos


def _is_refreshed(target: Target, is_native: bool) -> bool:
    return not is_native and target.endpoint is not None


def _lifetime(asked: SetRequest) -> float | None:
    if asked.ttl is UNSET:
        return None
    if isinstance(asked.ttl, str):
        return parse_lifetime(asked.ttl, "ttl")
    if not 1 <= asked.ttl <= LIFETIME_SECONDS_MAX:
        raise InvalidMember(f"ttl: give 1 to {LIFETIME_SECONDS_MAX} seconds.", param="ttl")
    return float(asked.ttl)
