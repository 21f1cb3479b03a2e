"""Serving a stored answer: as it was stored, or in the other form (stream or plain) that the caller asked for."""

from __future__ import annotations

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.freshness import Freshness, freshness
from agentcache.gateway.asgi_types import HeaderList, send_whole
from agentcache.gateway.calls import Call
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import hit_headers
from agentcache.providers.dialect import Endpoint, Json
from agentcache.providers.sse import SSEParser

_JSON = msgspec.json.Encoder()


async def serve_hit(call: Call, entry: Entry, *, detail: str = "") -> None:
    """Answer from an entry and record it. Raises nothing of its own before the first byte is sent."""
    meta = entry.meta
    now = call.parts.clock.now()
    headers = hit_headers(entry.key, meta, now, call.request_id, detail=detail)
    body = render(call, entry)
    if call.wants_stream != meta.streamed:
        _set_content_type(headers, b"text/event-stream; charset=utf-8" if call.wants_stream else b"application/json")
    await send_whole(call.send, meta.status, headers, body)
    expired = freshness(meta, now) is Freshness.EXPIRED
    call.record(
        Outcome.STALE if expired else Outcome.EXACT,
        meta.status,
        model=meta.model,
        input_tokens=meta.input_tokens,
        output_tokens=meta.output_tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
    )


def render(call: Call, entry: Entry) -> bytes:
    """Return the body of a stored answer as this caller asked for it."""
    endpoint = call.endpoint
    assert endpoint is not None  # noqa: S101
    if entry.meta.streamed:
        return _from_stream(endpoint, entry.body, call.body, call.wants_stream)
    return _from_plain(endpoint, entry.body, call.body, call.wants_stream)


def _from_stream(endpoint: Endpoint, stored: bytes, request: Json, wants_stream: bool) -> bytes:
    codec = endpoint.stream
    assert codec is not None  # noqa: S101 - only endpoints that stream store streams
    if wants_stream and codec.passes_all(request):
        return stored
    events = SSEParser().feed(stored)
    if wants_stream:
        return b"".join(shown for event in events if (shown := codec.for_client(event, request)) is not None)
    joiner = codec.joiner()
    for event in events:
        joiner.add(event)
    return _JSON.encode(personalised(endpoint, joiner.answer(), request))


def _from_plain(endpoint: Endpoint, stored: bytes, request: Json, wants_stream: bool) -> bytes:
    if wants_stream and endpoint.stream is not None:
        answer = personalised(endpoint, msgspec.json.decode(stored), request)
        return endpoint.stream.split(answer, request)
    if endpoint.echoed and not endpoint.echoed.isdisjoint(request):
        return _JSON.encode(personalised(endpoint, msgspec.json.decode(stored), request))
    return stored


def personalised(endpoint: Endpoint, answer: Json, request: Json) -> Json:
    """Return the answer with the members that mirror this caller's own request."""
    if endpoint.echoed and not endpoint.echoed.isdisjoint(request):
        return endpoint.personalise(answer, request)
    return answer


def _set_content_type(headers: HeaderList, value: bytes) -> None:
    headers[0] = (b"content-type", value)
