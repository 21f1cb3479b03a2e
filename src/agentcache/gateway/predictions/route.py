"""Which prediction paths are ours, and what each does."""

from __future__ import annotations

import re

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.gateway.asgi_types import HeaderList, read_body, send_whole
from agentcache.gateway.calls import Call
from agentcache.gateway.fills import open_upstream
from agentcache.gateway.ports import Outcome
from agentcache.gateway.predictions.creating import ANSWER_BYTES_MAX, create_prediction
from agentcache.gateway.predictions.files import are_present
from agentcache.gateway.predictions.fills import Kept, keep_polled, read_stored
from agentcache.gateway.predictions.own_ids import looks_own, read_own_id
from agentcache.gateway.predictions.shown import completed, event_stream, relayed
from agentcache.gateway.proxy import ProviderKeyMissing
from agentcache.gateway.replies import forward_status, relayed_headers
from agentcache.gateway.whole_answers import decoded_object, read_whole
from agentcache.kit.errors import BadRequest, NotFound
from agentcache.providers.dialect import Kind

_JSON = msgspec.json.Encoder()
_PATH = re.compile(r"/v1/predictions/(?P<id>[A-Za-z0-9_-]{1,128})(?P<action>/cancel|/stream)?")
_METHODS = {None: "GET", "/cancel": "POST", "/stream": "GET"}
_REPLACED_HEADERS = frozenset({b"content-type", b"content-encoding", b"etag"})


class PredictionGone(NotFound):
    """There is no such prediction, or what it showed has been removed from the cache."""

    code = "prediction_not_found"


async def answer_prediction(call: Call) -> None:
    """Serve a create request, a poll, a cancellation or a stream of a prediction."""
    if call.endpoint is not None and call.endpoint.kind is Kind.PREDICTION:
        await create_prediction(call)
        return
    found = _PATH.fullmatch(call.path)
    assert found is not None, "serves_prediction_path said so"
    if looks_own(found["id"]):
        await _answer_own(call, found["id"], streams=found["action"] == "/stream")
    else:
        await _answer_foreign(call, polls=found["action"] is None)


def serves_prediction_path(call: Call) -> bool:
    """Say whether a request that is not a create request is served here: polls, cancellations, streams of our own."""
    if not any(endpoint.kind is Kind.PREDICTION for endpoint in call.dialect.endpoints):
        return False
    found = _PATH.fullmatch(call.path)
    if found is None or _METHODS[found["action"]] != call.asgi_scope["method"]:
        return False
    return found["action"] != "/stream" or looks_own(found["id"])


async def _answer_own(call: Call, prediction_id: str, *, streams: bool) -> None:
    """Show a prediction that was answered from the cache; cancelling what has ended changes nothing."""
    tenant = call.principal.tenant
    own = read_own_id(tenant, prediction_id)
    if own is None:
        raise PredictionGone
    entry = await _find_entry(call, own.key)
    stored = read_stored(entry) if entry is not None else None
    if entry is None or stored is None:
        raise PredictionGone
    prediction, files = stored
    if files and not await are_present(call.parts, tenant, tuple(files.values())):
        raise PredictionGone
    shown = completed(call, prediction, files, prediction_id, own.answered_at, None)
    content_type = b"text/event-stream; charset=utf-8" if streams else b"application/json"
    headers: HeaderList = [
        (b"content-type", content_type),
        (b"cache-control", b"no-store"),
        (b"x-agentcache-key", own.key.hex().encode()),
        (b"x-agentcache-request-id", call.request_id.encode()),
    ]
    await send_whole(call.send, 200, headers, event_stream(shown["output"]) if streams else _JSON.encode(shown))
    # What this saved was counted when the prediction was answered.
    call.record(Outcome.BYPASS, 200, model=entry.meta.model)


async def _find_entry(call: Call, key: bytes) -> Entry | None:
    try:
        return (await call.parts.entries.get(call.principal.tenant, key)).entry
    except StoreUnavailable:
        call.parts.meter.count_store_error()
        raise


async def _answer_foreign(call: Call, *, polls: bool) -> None:
    """Ask the provider about its prediction; a poll that shows success fills the cache."""
    if not call.caller.has_provider_credential:
        raise ProviderKeyMissing
    if call.directives.only_if_cached:
        raise BadRequest("only-if-cached on a request that is never cached.", code="not_cacheable")
    request = await read_body(call.asgi_scope, call.receive, call.parts.settings.body_max_bytes)
    started = call.parts.clock.monotonic()
    head, body = await read_whole(await open_upstream(call, request), ANSWER_BYTES_MAX)
    upstream_us = int((call.parts.clock.monotonic() - started) * 1e6)
    headers = relayed_headers(head.headers)
    prediction = decoded_object(body) if head.is_success else None
    kept: Kept | None = None
    if prediction is not None and isinstance(prediction.get("id"), str):
        if polls and prediction.get("status") == "succeeded":
            kept = await keep_polled(call, prediction)
        body = _JSON.encode(relayed(call, prediction, kept.files if kept is not None else {}))
        headers = [pair for pair in headers if pair[0] not in _REPLACED_HEADERS]
        headers.insert(0, (b"content-type", b"application/json"))
    is_stored = kept is not None and kept.stored
    status = forward_status("bypass", upstream_status=head.status, stored=is_stored, detail="prediction")
    headers += [(b"cache-status", status), (b"x-agentcache-request-id", call.request_id.encode())]
    await send_whole(call.send, head.status, headers, body)
    call.record(
        Outcome.BYPASS if head.is_success else Outcome.ERROR,
        head.status,
        model=kept.meta.model if kept is not None and kept.meta is not None else "",
        input_tokens=kept.usage.input_tokens if kept is not None else 0,
        output_tokens=kept.usage.output_tokens if kept is not None else 0,
        cost_usd_nanos=kept.cost_usd_nanos if kept is not None else 0,
        upstream_us=upstream_us,
    )
