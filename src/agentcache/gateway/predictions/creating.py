"""Creating a prediction: from the cache, or at the provider, once for everybody who waits for the same one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from agentcache.engine.canonical import parse_body
from agentcache.engine.entries import Entry
from agentcache.engine.flights import Flight
from agentcache.engine.freshness import may_serve, may_serve_on_error
from agentcache.engine.keys import cache_key
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.asgi_types import HeaderList, read_body, send_whole
from agentcache.gateway.calls import KEPT_OUT, Call, Head, key_material
from agentcache.gateway.fills import open_upstream
from agentcache.gateway.passthrough import pass_through
from agentcache.gateway.ports import Outcome
from agentcache.gateway.predictions.fills import Kept, figures, keep, order_of, remember, requested_model
from agentcache.gateway.predictions.hits import send_from_entry
from agentcache.gateway.predictions.shown import relayed
from agentcache.gateway.proxy import NotCached, ProviderKeyMissing, look_up
from agentcache.gateway.replies import forward_status, relayed_headers, shared_headers
from agentcache.gateway.whole_answers import decoded_object, read_whole, sets_cookie
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Json, SSEEvent
from agentcache.providers.replicate import has_seed, key_body

#: Outputs may hold files as data URLs.
ANSWER_BYTES_MAX = 64 << 20
_JSON = msgspec.json.Encoder()
_PENDING = frozenset({"starting", "processing"})
_OWN_HEADERS = frozenset({b"content-type", b"content-encoding", b"etag"})

CreateFlight: TypeAlias = Flight[Head, SSEEvent]


@dataclass(frozen=True, slots=True)
class Created:
    """What the provider answered to a create request."""

    head: Head
    body: bytes
    #: The prediction, when it is one.
    prediction: Json | None
    upstream_us: int
    #: What became of it, when it had ended already.
    kept: Kept | None = None

    @property
    def detail(self) -> str:
        """Why it was not stored (yet), for `Cache-Status`."""
        if self.kept is not None:
            return "" if self.kept.stored else self.kept.put
        return "pending" if self.prediction is not None else ""


async def create_prediction(call: Call) -> None:
    """Serve a create request."""
    endpoint, directives = call.endpoint, call.directives
    assert endpoint is not None
    call.raw_body = await read_body(call.asgi_scope, call.receive, call.parts.settings.body_max_bytes)
    call.body = parse_body(call.raw_body)
    call.apply_policies()
    call.detail = endpoint.bypass(call.body, call.caller.headers) or _why_not_cached(call)
    if call.detail or directives.is_bypass:
        await pass_through(call, call.raw_body, detail=call.detail or "requested")
        return
    _set_key(call)
    entry = await look_up(call)
    if entry is not None and _may_serve(call, entry) and await send_from_entry(call, entry):
        return
    if directives.only_if_cached:
        raise NotCached
    if not call.caller.has_provider_credential:
        raise ProviderKeyMissing
    await _from_upstream(call, entry)


def _why_not_cached(call: Call) -> str:
    """Return why this prediction is the provider's business alone, or an empty string."""
    if call.is_kept_out:
        return KEPT_OUT
    model_input = call.body.get("input")
    if not isinstance(model_input, dict):
        return "no_input"
    if call.body.get("webhook") is not None and not isinstance(call.body["webhook"], str):
        return "invalid_webhook"
    # Without a seed every run is meant to differ, unless the caller says that it is not.
    return "" if has_seed(model_input) or "x-agentcache-mode" in call.caller.headers else "no_seed"


def _may_serve(call: Call, entry: Entry) -> bool:
    directives = call.directives
    return directives.reads and may_serve(entry.meta, call.parts.clock.now(), max_age=directives.max_age)


def _set_key(call: Call) -> None:
    assert call.endpoint is not None
    call.material = key_material(
        call.dialect,
        call.endpoint,
        key_body(call.body),
        namespace=call.namespace,
        bucket=call.directives.bucket,
        headers=call.caller.key_headers,
        path=tuple(sorted(call.path_params.items())),
        ignored=call.ignored,
    )
    call.key = cache_key(call.principal.tenant, call.material)


async def _from_upstream(call: Call, entry: Entry | None) -> None:
    # Only whoever waits for the end can share a prediction: a running one belongs to the account that started it.
    shares = call.directives.reads and "wait" in call.caller.headers.get("prefer", "")
    retried = False
    while True:
        flight, leads = _board(call, shares=shares, retried=retried)
        failure: AgentCacheError | None = None
        with flight.seat() as seat:
            try:
                await seat.end()
            except AgentCacheError as caught:
                failure = caught
        created: Created | None = flight.result
        if not leads:
            if created is not None and created.kept is not None and created.kept.stored and await _follow(call):
                return
            if not retried and not flight.is_replacement and (created is None or not created.head.is_success):
                retried = True
                continue
            if created is not None and created.head.is_success:
                # It runs on at the provider, for another caller. This one needs a prediction of its own.
                shares = False
                continue
        if _is_outage(created) and await _served_stale(call, entry):
            return
        if created is None:
            raise failure or AgentCacheError()
        await _send_created(call, created, leads=leads, had_entry=entry is not None)
        return


def _board(call: Call, *, shares: bool, retried: bool) -> tuple[CreateFlight, bool]:
    """Join the flight of the same request or start one."""
    order = order_of(call)

    async def lead(flight: CreateFlight) -> None:
        flight.result = await _create(call)

    carried = repr((call.mark, order is not None, *call.carried)).encode()
    name = call.key + hashlib.blake2s(carried, digest_size=16).digest()
    if shares:
        return call.parts.flights.join(name, lead, after_failure=retried)
    flight: CreateFlight = Flight(name, call.parts.settings.entry_max_bytes)
    call.parts.flights.start(flight, lead)
    return flight, True


async def _create(call: Call) -> Created:
    """Create the prediction at the provider; keep it if it has ended well, remember it if it runs."""
    clock = call.parts.clock
    started = clock.monotonic()
    response = await open_upstream(call, call.raw_body)
    head, body = await read_whole(response, ANSWER_BYTES_MAX)
    upstream_us = int((clock.monotonic() - started) * 1e6)
    prediction = decoded_object(body) if head.is_success else None
    if prediction is None or not isinstance(prediction.get("id"), str):
        return Created(head, body, None, upstream_us)
    order = order_of(call)
    if prediction.get("status") in _PENDING:
        if order is not None and not sets_cookie(head):
            await remember(call, order, prediction["id"])
        return Created(head, body, prediction, upstream_us)
    kept = await keep(call, None if sets_cookie(head) else order, prediction)
    return Created(head, body, prediction, upstream_us, kept)


async def _follow(call: Call) -> bool:
    """Answer a caller that waited for another's prediction from the entry that this has become."""
    try:
        entry = (await call.parts.entries.get(call.principal.tenant, call.key)).entry
    except StoreUnavailable:
        return False
    return entry is not None and await send_from_entry(call, entry, collapsed=True)


def _is_outage(created: Created | None) -> bool:
    return created is None or created.head.status >= 500 or created.head.status in (408, 429)


async def _served_stale(call: Call, entry: Entry | None) -> bool:
    if entry is None or not call.directives.reads:
        return False
    asked = call.directives
    now = call.parts.clock.now()
    if not may_serve_on_error(entry.meta, now, stale_if_error=asked.stale_if_error, max_age=asked.max_age):
        return False
    return await send_from_entry(call, entry, detail="stale-if-error")


async def _send_created(call: Call, created: Created, *, leads: bool, had_entry: bool) -> None:
    head, kept, prediction = created.head, created.kept, created.prediction
    body = created.body
    headers: HeaderList = relayed_headers(head.headers) if leads else shared_headers(head.headers)
    if prediction is not None:
        body = _JSON.encode(relayed(call, prediction, kept.files if kept is not None else {}))
        headers = [pair for pair in headers if pair[0] not in _OWN_HEADERS]
        headers.insert(0, (b"content-type", b"application/json"))
    reason = call.directives.forward_reason
    status = forward_status(
        "stale" if reason == "miss" and had_entry else reason,
        upstream_status=head.status,
        stored=kept is not None and kept.stored,
        collapsed=not leads,
        ttl=int(kept.meta.lifetime_seconds) if kept is not None and kept.meta is not None else None,
        key=call.key,
        detail=call.detail or created.detail,
    )
    headers += [
        (b"cache-status", status),
        (b"x-agentcache-key", call.key.hex().encode()),
        (b"x-agentcache-request-id", call.request_id.encode()),
        *call.policy_header,
    ]
    await send_whole(call.send, head.status, headers, body)
    _record(call, created, leads=leads)


def _record(call: Call, created: Created, *, leads: bool) -> None:
    model = requested_model(call)
    usage, cost = figures(call, created.prediction, model) if created.prediction is not None else (None, 0)
    if created.kept is not None:
        usage, cost = created.kept.usage, created.kept.cost_usd_nanos
        model = created.kept.meta.model if created.kept.meta is not None else model
    call.record(
        Outcome.MISS if created.head.is_success else Outcome.ERROR,
        created.head.status,
        model=model,
        input_tokens=usage.input_tokens if usage is not None else 0,
        output_tokens=usage.output_tokens if usage is not None else 0,
        cost_usd_nanos=cost if leads else 0,
        upstream_us=created.upstream_us if leads else 0,
    )
