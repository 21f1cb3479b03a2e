"""What the cache takes no part in: forwarded untouched, streams included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentcache.gateway.asgi_types import ClientGone, HeaderList
from agentcache.gateway.calls import Call
from agentcache.gateway.fills import open_upstream
from agentcache.gateway.hang_ups import unless_gone
from agentcache.gateway.passed_usage import PassedUsage
from agentcache.gateway.ports import Outcome
from agentcache.gateway.replies import forward_status, relayed_headers
from agentcache.kit.errors import AgentCacheError, BadRequest, PayloadTooLarge, Unauthenticated

#: Uploads (files, audio) are streamed, not buffered; this bounds them all the same.
PASSED_BODY_BYTES_MAX = 1 << 30


async def pass_through(call: Call, body: bytes | None, *, detail: str) -> None:
    """Forward a request and its answer; `body` is None when it has not been read yet."""
    if not call.caller.has_provider_credential:
        raise Unauthenticated(
            "This request goes to the provider, and it carries no provider key: send it in X-Provider-Key.",
            code="provider_key_missing",
        )
    if call.directives.only_if_cached:
        raise BadRequest("only-if-cached on a request that is never cached.", code="not_cacheable")
    uploaded = asyncio.Event()
    source = body if body is not None else await _streamed_body(call, uploaded)
    if isinstance(source, bytes):
        uploaded.set()
    await unless_gone(
        call.receive,
        lambda: _forward(call, source, detail),
        on_gone=lambda: call.record(Outcome.ERROR, ClientGone.status),
        uploaded=uploaded,
    )


async def _forward(call: Call, body: bytes | AsyncIterator[bytes], detail: str) -> None:
    started = call.parts.clock.monotonic()
    response = await open_upstream(call, body)
    upstream_us = int((call.parts.clock.monotonic() - started) * 1e6)
    passed = PassedUsage(call, response)
    try:
        headers: HeaderList = relayed_headers(response.headers)
        headers.append((b"cache-status", forward_status("bypass", upstream_status=response.status, detail=detail)))
        headers += [(b"x-agentcache-request-id", call.request_id.encode()), *call.policy_header]
        await call.send({"type": "http.response.start", "status": response.status, "headers": headers})
        try:
            async for chunk in response.chunks():
                passed.add(chunk)
                await call.send({"type": "http.response.body", "body": chunk, "more_body": True})
        except AgentCacheError as error:
            call.record(Outcome.ERROR, error.status, upstream_us=upstream_us)
            raise CutMidway from error
        await call.send({"type": "http.response.body", "body": b""})
        usage, cost = passed.figures()
        call.record(
            Outcome.BYPASS,
            response.status,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd_nanos=cost,
            upstream_us=upstream_us,
        )
    finally:
        await response.aclose()


class CutMidway(AgentCacheError):
    """The provider's answer broke off after it had begun; the connection is closed so that nobody takes it for whole."""

    code = "upstream_cut"
    status = 502


async def _streamed_body(call: Call, uploaded: asyncio.Event) -> bytes | AsyncIterator[bytes]:
    """Return the request body: bytes when it is here already, else an iterator that sets `uploaded` at its end."""
    message = await call.receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    first: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return first

    async def rest() -> AsyncIterator[bytes]:
        size = len(first)
        yield first
        more = True
        while more:
            part = await call.receive()
            if part["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = part.get("body", b"")
            size += len(chunk)
            if size > PASSED_BODY_BYTES_MAX:
                raise PayloadTooLarge
            more = part.get("more_body", False)
            if not more:
                uploaded.set()
            yield chunk

    return rest()
