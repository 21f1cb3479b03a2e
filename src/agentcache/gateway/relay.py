"""Passing a flight on to one caller, in the form the caller asked for."""

from __future__ import annotations

import msgspec

from agentcache.engine.flights import Seat
from agentcache.gateway.asgi_types import HeaderList, send_whole
from agentcache.gateway.calls import Call, Head
from agentcache.gateway.fills import Fill
from agentcache.gateway.hits import personalised
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import forward_status, relayed_headers, shared_headers
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Kind, SSEEvent

_JSON = msgspec.json.Encoder()
_EVENT_STREAM = b"text/event-stream; charset=utf-8"


async def relay(call: Call, seat: Seat[Head, SSEEvent], head: Head, *, leads: bool, reason: str) -> None:
    """Send what the flight brings and record the call. Raises only before the first byte is sent."""
    if head.streamed and head.is_success and call.wants_stream:
        await _relay_events(call, seat, head, leads=leads, reason=reason)
        return
    if seat.flight.overflowed or (not head.streamed and not seat.flight.done and seat.flight.result is None):
        await _relay_bytes(call, seat, head, leads=leads, reason=reason)
        return
    await seat.end()
    await _relay_whole(call, seat, head, leads=leads, reason=reason)


async def _relay_events(call: Call, seat: Seat[Head, SSEEvent], head: Head, *, leads: bool, reason: str) -> None:
    """Pass events on as they come. Whether the answer will be stored is not known yet, so the header is silent."""
    endpoint = call.endpoint
    assert endpoint is not None and endpoint.stream is not None
    codec = endpoint.stream
    status = forward_status(reason, upstream_status=head.status, collapsed=not leads, key=call.key, detail=call.detail)
    await call.send(
        {"type": "http.response.start", "status": head.status, "headers": _headers(call, head, leads, status)}
    )
    passes_all = codec.passes_all(call.body)
    error: AgentCacheError | None = None
    try:
        async for event in seat.chunks():
            shown = event.raw if passes_all else codec.for_client(event, call.body)
            if shown:
                await call.send({"type": "http.response.body", "body": shown, "more_body": True})
    except AgentCacheError as caught:
        # The status line is long gone: only the dialect's own error event can tell the truth now.
        error = caught
        event_bytes = codec.error_event(caught.code, caught.message)
        await call.send({"type": "http.response.body", "body": event_bytes, "more_body": True})
    await call.send({"type": "http.response.body", "body": b""})
    _record(call, seat, head, leads=leads, failed=error is not None)


async def _relay_bytes(call: Call, seat: Seat[Head, SSEEvent], head: Head, *, leads: bool, reason: str) -> None:
    """Pass an answer too large to keep on as it comes."""
    status = forward_status(
        reason, upstream_status=head.status, collapsed=not leads, key=call.key, detail=call.detail or "too_large"
    )
    await call.send(
        {"type": "http.response.start", "status": head.status, "headers": _headers(call, head, leads, status)}
    )
    async for chunk in seat.chunks():
        await call.send({"type": "http.response.body", "body": chunk.raw, "more_body": True})
    await call.send({"type": "http.response.body", "body": b""})
    _record(call, seat, head, leads=leads, failed=False)


async def _relay_whole(call: Call, seat: Seat[Head, SSEEvent], head: Head, *, leads: bool, reason: str) -> None:
    """Send an answer that is complete, turned into the other form where the caller asked for that."""
    fill: Fill | None = seat.flight.result
    raw = b"".join([chunk.raw async for chunk in seat.chunks()])
    body, content_type = _in_form(call, head, fill, raw)
    stored = fill is not None and fill.stored
    detail = call.detail or ("" if fill is None or stored or fill.put == "" else fill.put)
    status = forward_status(
        reason,
        upstream_status=head.status,
        stored=stored,
        collapsed=not leads,
        ttl=int(fill.lifetime_seconds) if fill is not None else None,
        key=call.key,
        detail=detail,
    )
    headers = _headers(call, head, leads, status)
    if content_type is not None:
        headers = [(name, value) for name, value in headers if name != b"content-type"]
        headers.insert(0, (b"content-type", content_type))
    await send_whole(call.send, head.status, headers, body)
    _record(call, seat, head, leads=leads, failed=False)


def _in_form(call: Call, head: Head, fill: Fill | None, raw: bytes) -> tuple[bytes, bytes | None]:
    """Return the body in the caller's form and its new content type, None when nothing changed."""
    endpoint = call.endpoint
    assert endpoint is not None
    if not head.is_success or endpoint.kind is Kind.BINARY or fill is None or fill.answer is None:
        return raw, None
    answer = personalised(endpoint, fill.answer, call.body)
    if head.streamed and not call.wants_stream:
        return _JSON.encode(answer), b"application/json"
    if (
        not head.streamed
        and call.wants_stream
        and endpoint.stream is not None
        and fill.verdict.reason != "not_streamed"
    ):
        return endpoint.stream.split(answer, call.body), _EVENT_STREAM
    if answer is not fill.answer:
        return _JSON.encode(answer), None
    return raw, None


def _headers(call: Call, head: Head, leads: bool, cache_status: bytes) -> HeaderList:
    headers = relayed_headers(head.headers) if leads else shared_headers(head.headers)
    headers += [
        (b"cache-status", cache_status),
        (b"x-agentcache-key", call.key.hex().encode()),
        (b"x-agentcache-request-id", call.request_id.encode()),
        *call.policy_header,
    ]
    return headers


def _record(call: Call, seat: Seat[Head, SSEEvent], head: Head, *, leads: bool, failed: bool) -> None:
    fill: Fill | None = seat.flight.result
    usage = fill.usage if fill is not None else None
    outcome = Outcome.MISS if leads else Outcome.COALESCED
    if failed or not head.is_success:
        outcome = Outcome.ERROR
    cost = fill.cost_usd_nanos if fill is not None else 0
    call.record(
        outcome,
        head.status,
        input_tokens=usage.input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        cost_usd_nanos=cost if leads else 0,
        saved_usd_nanos=0 if leads else cost,
        upstream_us=fill.upstream_us if fill is not None and leads else 0,
        reason=_why(call, fill, leads=leads),
    )


def _why(call: Call, fill: Fill | None, *, leads: bool) -> str:
    """Say why the answer came from upstream, and why it was not kept if it was not."""
    why = call.directives.forward_reason if leads else "collapsed"
    not_kept = call.detail or ("" if fill is None or fill.stored else fill.put)
    return f"{why}; {not_kept}" if not_kept else why
