"""Serving a stored answer: as it was stored, or in the other form (stream or plain) that the caller asked for."""

from __future__ import annotations

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.freshness import freshness
from agentcache.gateway.calls import Call
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import form_header, hit_headers
from agentcache.gateway.semantic.looking import Candidate
from agentcache.gateway.semantic.replies import hit_detail
from agentcache.providers.dialect import Endpoint, Json
from agentcache.providers.sse import SSEParser

_JSON = msgspec.json.Encoder()
_KEY_HEADER = b"x-agentcache-key"


async def serve_hit(call: Call, entry: Entry, *, detail: str = "", refresh: str = "") -> bytes:
    """Answer from an entry and record it; return the body. Raises nothing of its own before the first byte is sent.

    `refresh` tells the caller of a stale answer what becomes of a new one.
    """
    meta = entry.meta
    now = call.parts.clock.now()
    body = render(call, entry)
    known = hit_headers(entry.key, meta, now, detail=detail) if detail else call.parts.hit_headers.of(entry, now)
    headers = [
        *known,
        (b"x-agentcache-request-id", call.request_id.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    if refresh:
        headers.append((b"x-agentcache-refresh", refresh.encode()))
    wants_stream = call.body.get("stream") is True
    if wants_stream != meta.streamed:
        headers[0] = form_header(wants_stream=wants_stream)
    await call.send({"type": "http.response.start", "status": meta.status, "headers": headers})
    # Before its last byte leaves: a process that is killed now has told of this answer, or nobody has got it.
    call.record(
        # A detail says that the entry is past its time, or that the caller takes it as such.
        Outcome.EXACT if now < meta.expires_at and not detail else Outcome.STALE,
        meta.status,
        model=meta.model,
        input_tokens=meta.input_tokens,
        output_tokens=meta.output_tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
        reason=detail,
        served=freshness(meta, now),
    )
    await call.send({"type": "http.response.body", "body": body})
    return body


async def serve_near(call: Call, candidate: Candidate) -> None:
    """Answer with what was stored for a near question, in the form that this caller asked for, and record it."""
    entry, semantic = candidate.entry, call.parts.semantic
    assert entry is not None
    meta, now, detail = entry.meta, call.parts.clock.now(), hit_detail(candidate)
    body = render(call, entry)
    headers = [
        # `X-AgentCache-Key` is the request's own; the entry that answers is named beside it.
        *((name, value) for name, value in hit_headers(entry.key, meta, now, detail=detail) if name != _KEY_HEADER),
        (_KEY_HEADER, call.key.hex().encode()),
        *semantic.headers(call, candidate),
        (b"x-agentcache-request-id", call.request_id.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    if call.wants_stream != meta.streamed:
        headers[0] = form_header(wants_stream=call.wants_stream)
    await call.send({"type": "http.response.start", "status": meta.status, "headers": headers})
    call.record(
        Outcome.SEMANTIC,
        meta.status,
        model=meta.model,
        input_tokens=meta.input_tokens,
        output_tokens=meta.output_tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
        reason=detail,
        served=freshness(meta, now),
        entry_key=entry.key,
    )
    semantic.served(call, candidate)
    await call.send({"type": "http.response.body", "body": body})


def render(call: Call, entry: Entry) -> bytes:
    """Return the body of a stored answer as this caller asked for it."""
    endpoint = call.endpoint
    assert endpoint is not None
    if entry.meta.streamed:
        return _from_stream(endpoint, entry.body, call.body, call.wants_stream)
    return _from_plain(endpoint, entry.body, call.body, call.wants_stream)


def _from_stream(endpoint: Endpoint, stored: bytes, request: Json, wants_stream: bool) -> bytes:
    codec = endpoint.stream
    assert codec is not None
    if wants_stream and codec.passes_all(request):
        return stored
    if wants_stream:
        return codec.replay(stored, request)
    joiner = codec.joiner()
    for event in SSEParser(len(stored) + 1).feed(stored):
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
