"""Keeping a prediction once it has succeeded, and remembering until then what it is an answer to."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agentcache.engine.entries import Entry, EntryMeta, Mark
from agentcache.engine.keys import fingerprint_parts
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.gateway.calls import Call
from agentcache.gateway.predictions.files import FileNotCopied, FileOwner, copy_files
from agentcache.gateway.predictions.outputs import find_file_urls
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Json, Usage
from agentcache.providers.replicate import judge_prediction, prediction_usage

#: Providers end predictions after 30 minutes and delete their output after an hour.
PENDING_SECONDS = 3600.0
#: Member of a stored prediction: provider's file URL -> our path.
FILES_MEMBER = "agentcache_files"
_PENDING_ENDPOINT = "predictions.pending"
_JSON = msgspec.json.Encoder()


class Order(msgspec.Struct, array_like=True, frozen=True):
    """What a created prediction will answer, and how its entry is to be kept."""

    key: bytes
    mark: Mark
    namespace: str
    endpoint: str
    model: str
    lifetime_seconds: float
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    writer: str
    parts: dict[str, bytes]
    created_at: float
    stale_if_error_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a prediction that has ended: `put` is `stored`, or why not."""

    put: str
    files: dict[str, str] = field(default_factory=dict)
    meta: EntryMeta | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd_nanos: int = 0

    @property
    def stored(self) -> bool:
        """Whether there is an entry now."""
        return self.put == Put.STORED.value


_encode_order = msgspec.msgpack.Encoder().encode
_decode_order = msgspec.msgpack.Decoder(Order).decode


def order_of(call: Call) -> Order | None:
    """Return what is to be kept of this call's prediction; None when nothing may be."""
    if not call.may_write or call.mark is None:
        return None
    assert call.material is not None
    assert call.endpoint is not None
    directives, kept = call.directives, call.keeping
    return Order(
        key=call.key,
        mark=call.mark,
        namespace=call.namespace,
        endpoint=call.endpoint.name,
        model=requested_model(call),
        lifetime_seconds=kept.lifetime_seconds,
        # No window for serving stale: a prediction takes minutes, and belongs to whoever started it.
        stale_if_error_seconds=kept.stale_if_error_seconds,
        tags=directives.tags,
        sources=directives.sources,
        writer=call.principal.api_key_id,
        parts=fingerprint_parts(call.principal.tenant, call.material),
        created_at=call.parts.clock.now(),
    )


def requested_model(call: Call) -> str:
    """Return the model that a create request names: in its path, or as `version`."""
    if "owner" in call.path_params:
        return f"{call.path_params['owner']}/{call.path_params['name']}"[:200]
    return call.model


def figures(call: Call, prediction: Json, model: str) -> tuple[Usage, int]:
    """Return what a prediction used and cost (1e-9 USD)."""
    usage = prediction_usage(prediction)
    cost = call.parts.prices.cost_nanos(call.dialect.name, model, usage, call.parts.clock.now())
    return usage, cost or 0


async def keep(call: Call, order: Order | None, prediction: Json) -> Kept:
    """Store a prediction that has succeeded, its files first, so that no entry is ever without them."""
    model = prediction.get("model")
    model = model[:200] if isinstance(model, str) and model else (order.model if order else requested_model(call))
    usage, cost = figures(call, prediction, model)
    verdict = judge_prediction(prediction)
    if not verdict.storable or order is None:
        return Kept(verdict.reason if not verdict.storable else "not_asked", usage=usage, cost_usd_nanos=cost)
    parts, tenant = call.parts, call.principal.tenant
    meta = EntryMeta(
        namespace=order.namespace,
        dialect=call.dialect.name,
        endpoint=order.endpoint,
        model=model,
        label=order.endpoint,
        status=201,
        stored_at=parts.clock.now(),
        lifetime_seconds=order.lifetime_seconds,
        stale_if_error_seconds=order.stale_if_error_seconds,
        tags=order.tags,
        sources=order.sources,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd_nanos=cost,
        upstream_ms=_duration_ms(prediction, parts.clock.now() - order.created_at),
        writer=order.writer,
        parts=order.parts,
    )
    try:
        urls = find_file_urls(prediction["output"], call.dialect)
        files = await copy_files(parts, FileOwner(tenant, order.key, meta, order.mark), urls)
        body = _JSON.encode({**prediction, FILES_MEMBER: files} if files else prediction)
        put = (await parts.entries.put(tenant, Entry(order.key, meta, body), since=order.mark)).value
    except FileNotCopied as error:
        put, files = error.code, {}
    except StoreUnavailable as error:
        parts.meter.count_store_error()
        put, files = error.code, {}
    parts.meter.count_fill(stored=put == Put.STORED.value)
    return Kept(put, files if put == Put.STORED.value else {}, meta, usage, cost)


def read_stored(entry: Entry) -> tuple[Json, dict[str, str]] | None:
    """Return a stored prediction and its files, or None for what cannot be shown as one."""
    try:
        prediction = msgspec.json.decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(prediction, dict) or prediction.get("status") != "succeeded":
        return None
    files = prediction.pop(FILES_MEMBER, {})
    return prediction, files if isinstance(files, dict) else {}


async def remember(call: Call, order: Order, prediction_id: str) -> None:
    """Note what a prediction that is still running will be an answer to; polls of it fill the cache."""
    meta = EntryMeta(
        namespace=order.namespace,
        dialect=call.dialect.name,
        endpoint=_PENDING_ENDPOINT,
        model=order.model,
        label=_PENDING_ENDPOINT,
        content_type="application/msgpack",
        stored_at=order.created_at,
        lifetime_seconds=PENDING_SECONDS,
        tags=order.tags,
        sources=order.sources,
        writer=order.writer,
    )
    entry = Entry(_pending_key(call, prediction_id), meta, _encode_order(order))
    try:
        await call.parts.entries.put(call.principal.tenant, entry, since=order.mark)
    except StoreUnavailable:
        call.parts.meter.count_store_error()


async def recall(call: Call, prediction_id: str) -> Order | None:
    """Return what was noted for a prediction of this tenant, or None."""
    try:
        entry = (await call.parts.entries.get(call.principal.tenant, _pending_key(call, prediction_id))).entry
    except StoreUnavailable:
        call.parts.meter.count_store_error()
        return None
    if entry is None or entry.meta.expires_at <= call.parts.clock.now():
        return None
    try:
        return _decode_order(entry.body)
    except msgspec.DecodeError:
        return None


async def keep_polled(call: Call, prediction: Json) -> Kept | None:
    """Fill the cache from a poll that shows success; None when nothing was noted. Polls at the same time share this."""
    order = await recall(call, prediction["id"])
    if order is None:
        return None

    async def lead(flight: Any) -> None:
        flight.result = await _stored_before(call, order, prediction) or await keep(call, order, prediction)

    flight, _ = call.parts.flights.join(_pending_key(call, prediction["id"]), lead)
    with flight.seat() as seat:
        try:
            await seat.end()
        except AgentCacheError:
            return None
    kept: Kept | None = flight.result
    return kept


async def _stored_before(call: Call, order: Order, prediction: Json) -> Kept | None:
    """Return the files of the entry if an earlier poll already made it from this very prediction."""
    try:
        entry = (await call.parts.entries.get(call.principal.tenant, order.key)).entry
    except StoreUnavailable:
        return None
    stored = read_stored(entry) if entry is not None else None
    if stored is None or stored[0].get("id") != prediction["id"]:
        return None
    return Kept("", stored[1])


def _pending_key(call: Call, prediction_id: str) -> bytes:
    place = f"pending prediction\0{call.dialect.upstream}\0{prediction_id}"
    return hmac.digest(call.principal.tenant.key_secret, place.encode(), "sha256")


def _duration_ms(prediction: Json, elapsed_seconds: float) -> float:
    metrics = prediction.get("metrics")
    total = metrics.get("total_time") if isinstance(metrics, dict) else None
    return (float(total) if isinstance(total, int | float) else elapsed_seconds) * 1000
