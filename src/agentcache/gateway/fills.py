"""Leading a flight: the one upstream call for a key, its judgement, and storing what it brought.

The last event of a stream is shown only when the entry is stored, so that whoever has seen the end of an answer
gets it from the cache the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.engine.flights import Flight
from agentcache.engine.freshness import may_serve
from agentcache.engine.keys import fingerprint_parts
from agentcache.engine.stores.port import LeaderLost, Put, StoreUnavailable
from agentcache.gateway.admission import FREE
from agentcache.gateway.calls import Call, Head, estimated_cost
from agentcache.gateway.replies import stored_headers
from agentcache.gateway.shared_flights import BUDGETS_PER_CLAIM, BoardMirror, Mirror, NoMirror, NotShared, claim, follow
from agentcache.gateway.whole_answers import decompressed, sets_cookie
from agentcache.kit.egress.upstream import UpstreamResponse
from agentcache.kit.errors import AgentCacheError, UpstreamInvalid
from agentcache.kit.logs import get_logger
from agentcache.providers.dialect import Json, Kind, SSEEvent, Usage, Verdict
from agentcache.providers.registry import join_upstream
from agentcache.providers.sse import SSEParser

AnswerFlight = Flight[Head, SSEEvent]
_JSON = msgspec.json.Encoder()
_log = get_logger(__name__)
#: How long a finished upstream may take to close before its connection is given up instead of being used again.
_CLOSE_SECONDS = 0.5


class StreamCut(UpstreamInvalid):
    """The provider's stream broke off before its end."""

    code = "upstream_stream_cut"


@dataclass(frozen=True, slots=True)
class Fill:
    """How a flight ended, for everyone who reads it."""

    verdict: Verdict
    #: What became of the answer: `stored`, or why not.
    put: str = ""
    lifetime_seconds: float = 0.0
    #: The plain answer, where the upstream sent JSON or a stream that could be joined.
    answer: Json | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd_nanos: int = 0
    upstream_us: int = 0

    @property
    def stored(self) -> bool:
        """Whether an entry was written."""
        return self.put == Put.STORED.value


def flight_name(call: Call) -> bytes:
    """Name the flight that this request may share.

    The mark is part of it: whoever asks after an invalidation must not join a call that began before it. So is what
    the entry will carry, and whether there will be one: a caller's tags must not get lost in another's flight.
    """
    name = call.key + (call.mark or 0).to_bytes(8, "big") + (b"w" if call.may_write else b"r")
    directives = call.directives
    if directives.tags or directives.sources or directives.lifetime_seconds is not None or call.policy is not None:
        name += hashlib.blake2s(repr(call.carried).encode(), digest_size=8).digest()
    return name


def leader(call: Call, *, shared: bool) -> Callable[[AnswerFlight], Coroutine[Any, Any, None]]:
    """Return the coroutine function that leads a flight for `call`; `shared` when other workers may join."""

    async def lead(flight: AnswerFlight) -> None:
        if shared and call.parts.is_shared:
            await _lead_among_workers(flight, call)
        else:
            await _fetch(flight, call, NoMirror())

    return lead


async def _lead_among_workers(flight: AnswerFlight, call: Call) -> None:
    # A replacement goes by a name of its own: it stays a moment, and nobody who comes new must meet it.
    board, name = call.parts.board, flight.key.hex() + ("-again" if flight.is_replacement else "")
    seconds = BUDGETS_PER_CLAIM * call.parts.settings.store_budget_ms / 1000
    try:
        token = await claim(board, name, seconds)
    except StoreUnavailable:
        await _fetch(flight, call, NoMirror())
        return
    if token is None:
        try:
            await _follow_worker(flight, call, name)
        except NotShared:
            await _fetch(flight, call, NoMirror())
        return
    mirror = BoardMirror(board, name, token, seconds, lingers=flight.is_replacement)
    try:
        # Another worker may have finished between our look-up and our claim.
        if not await replay_stored(flight, call, mirror):
            await _fetch(flight, call, mirror)
    except AgentCacheError as error:
        await mirror.fail(error)
        raise
    finally:
        await mirror.close()


async def replay_stored(flight: AnswerFlight, call: Call, mirror: Mirror) -> bool:
    """Let the flight bring what is stored by now, if that may be served; say whether it was so."""
    parts = call.parts
    try:
        entry = (await parts.entries.get(call.principal.tenant, call.key)).entry
    except StoreUnavailable:
        return False
    if entry is None or not may_serve(entry.meta, parts.clock.now(), max_age=call.directives.max_age):
        return False
    meta = entry.meta
    head = Head(meta.status, [(b"content-type", meta.content_type.encode("latin-1"))], meta.streamed)
    events = SSEParser(len(entry.body) + 1).feed(entry.body) if meta.streamed else [SSEEvent(raw=entry.body)]
    answer = _joined(call, events) if meta.streamed else _decoded(call, entry.body)
    flight.result = Fill(
        Verdict(True), Put.STORED.value, meta.lifetime_seconds, answer, cost_usd_nanos=meta.cost_usd_nanos
    )
    flight.led_elsewhere = True
    flight.open(head)
    await mirror.head(head)
    for event in events:
        await flight.add(event, len(event.raw))
        await mirror.part(event.raw)
    await mirror.end()
    return True


async def _follow_worker(flight: AnswerFlight, call: Call, name: str) -> None:
    """Read the flight that another worker leads, and pass it on to this worker's callers."""
    head: Head | None = None
    events: list[SSEEvent] = []
    parser = SSEParser(call.parts.settings.entry_max_bytes)
    is_live = False
    flight.led_elsewhere = True
    try:
        async for frame in follow(call.parts.board, name, lingers=flight.is_replacement):
            if isinstance(frame, Head):
                head = frame
                is_live = head.streamed and head.is_success
                if is_live:
                    flight.open(head)
                continue
            for event in parser.feed(frame) if is_live else [SSEEvent(raw=frame)]:
                events.append(event)
                if is_live:
                    await flight.add(event, len(event.raw))
    except NotShared:
        flight.led_elsewhere = False
        raise
    if head is None:
        raise LeaderLost
    if not is_live:
        # Only now, with its end: whoever sees a failure tries again, and must not meet the same flight.
        flight.open(head)
        for event in events:
            await flight.add(event, len(event.raw))
    answer = _joined(call, events) if head.streamed else _decoded(call, b"".join(event.raw for event in events))
    if answer is not None and call.endpoint is not None and head.is_success:
        usage = call.endpoint.usage(answer)
        flight.result = Fill(Verdict(True), answer=answer, usage=usage, cost_usd_nanos=call.price(usage, answer))


async def _fetch(flight: AnswerFlight, call: Call, mirror: Mirror) -> None:
    endpoint = call.endpoint
    assert endpoint is not None
    parts = call.parts
    started = parts.clock.monotonic()
    response = await open_upstream(call, _upstream_body(call))
    try:
        streamed = endpoint.stream is not None and _is_event_stream(response)
        head = Head(response.status, response.headers, streamed)
        if streamed and head.is_success:
            await _fetch_stream(flight, call, mirror, response, head, started)
        else:
            await _fetch_whole(flight, call, mirror, response, head, started)
    finally:
        await response.aclose()


async def open_upstream(call: Call, body: bytes | AsyncIterator[bytes]) -> UpstreamResponse:
    """Send the call upstream with the provider's credential, and return the response once its head is here."""
    if call.admitted is not FREE:
        await call.parts.admission.before_upstream(call.admitted, lambda: estimated_cost(call), _priced(call))
    url = join_upstream(call.dialect.upstream, call.path)
    query = call.asgi_scope["query_string"]
    if query:
        url += "?" + query.decode("latin-1")
    return await call.parts.upstream.send(
        call.asgi_scope["method"], url, list(call.caller.forward), body, call.parts.timeouts
    )


def _priced(call: Call) -> str:
    # What is passed on unread names no model that we could see.
    return f'"{call.dialect.name}/{call.model}"' if call.model else f"{call.path} at {call.dialect.name}"


def _upstream_body(call: Call) -> bytes:
    assert call.endpoint is not None
    prepared = call.endpoint.prepare(call.body)
    # What we do not have to change goes upstream byte for byte.
    return call.raw_body if prepared is call.body else _JSON.encode(prepared)


def _is_event_stream(response: UpstreamResponse) -> bool:
    headers = dict(response.headers)
    # Compressed, which we did not ask for, it has to be read whole.
    is_plain = headers.get(b"content-encoding", b"identity").lower() == b"identity"
    return is_plain and headers.get(b"content-type", b"").lower().startswith(b"text/event-stream")


async def _fetch_stream(
    flight: AnswerFlight,
    call: Call,
    mirror: Mirror,
    response: UpstreamResponse,
    head: Head,
    started: float,
) -> None:
    assert call.endpoint is not None and call.endpoint.stream is not None
    flight.open(head)
    await mirror.head(head)
    parser, joiner = SSEParser(call.parts.settings.entry_max_bytes), call.endpoint.stream.joiner()
    kept: list[bytes] = []
    held: list[SSEEvent] = []
    chunks = response.chunks()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            joiner.add(event)
            kept.append(event.raw)
            if joiner.finished:
                held.append(event)
                continue
            await flight.add(event, len(event.raw))
            await mirror.part(event.raw)
            if len(kept) == 1:
                # A provider may send a whole stream at once; its first event must not wait for the reading of the rest.
                await asyncio.sleep(0)
        if flight.overflowed:
            kept.clear()
            await mirror.too_large()
        if joiner.finished:
            break
    if not joiner.finished:
        raise StreamCut
    verdict = joiner.verdict() if not flight.overflowed else Verdict(False, "too_large")
    if sets_cookie(head):
        verdict = Verdict(False, "set_cookie")
    answer = joiner.answer()
    await _keep(flight, call, head, b"".join(kept), verdict, answer, started)
    for event in held:
        await mirror.part(event.raw)
    await _end_mirror(flight, mirror)
    for event in held:
        await flight.add(event, len(event.raw))
    call.parts.flights.land(flight)
    with contextlib.suppress(Exception):  # the answer is whole; only the connection's reuse is at stake
        async with asyncio.timeout(_CLOSE_SECONDS):
            async for _ in chunks:
                pass


async def _fetch_whole(
    flight: AnswerFlight,
    call: Call,
    mirror: Mirror,
    response: UpstreamResponse,
    head: Head,
    started: float,
) -> None:
    limit = call.parts.settings.entry_max_bytes
    parts: list[bytes] = []
    size = 0
    is_open = False
    async for chunk in response.chunks():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            if not is_open:
                flight.open(head)
                await mirror.too_large()
                is_open = True
            for part in parts:
                await flight.add(SSEEvent(raw=part), len(part))
            parts.clear()
    if is_open:
        call.parts.meter.count_fill(stored=False)
        # What it cost is not known: its usage went by with the rest.
        upstream_us = int((call.parts.clock.monotonic() - started) * 1e6)
        flight.result = Fill(Verdict(False, "too_large"), "too_large", upstream_us=upstream_us)
        return
    head, body = decompressed(b"".join(parts), head, limit)
    answer = _decoded(call, body) if head.is_success else None
    await _keep(flight, call, head, body, _judge(call, head, answer), answer, started)
    await mirror.head(head)
    await mirror.part(body)
    await _end_mirror(flight, mirror)
    flight.open(head)
    await flight.add(SSEEvent(raw=body), len(body))
    call.parts.flights.land(flight)


async def _end_mirror(flight: AnswerFlight, mirror: Mirror) -> None:
    """End what other workers see; an answer that is not stored must not be found by whoever asks next."""
    await mirror.end()
    fill: Fill | None = flight.result
    if fill is None or not fill.stored:
        await mirror.close()


def _judge(call: Call, head: Head, answer: Json | None) -> Verdict:
    assert call.endpoint is not None
    if not head.is_success:
        return Verdict(False, "upstream_error")
    if sets_cookie(head):
        return Verdict(False, "set_cookie")
    if call.endpoint.kind is Kind.BINARY:
        return Verdict(True)
    if answer is None:
        return Verdict(False, "malformed")
    if call.wants_stream and call.endpoint.stream is not None:
        return Verdict(False, "not_streamed")
    return call.endpoint.judge(answer)


def _decoded(call: Call, body: bytes) -> Json | None:
    assert call.endpoint is not None
    if call.endpoint.kind is Kind.BINARY:
        return None
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return answer if type(answer) is dict else None


def _joined(call: Call, events: list[SSEEvent]) -> Json | None:
    assert call.endpoint is not None
    if call.endpoint.stream is None:
        return None
    joiner = call.endpoint.stream.joiner()
    for event in events:
        joiner.add(event)
    return joiner.answer() if joiner.finished else None


async def _keep(
    flight: AnswerFlight, call: Call, head: Head, body: bytes, verdict: Verdict, answer: Json | None, started: float
) -> None:
    """Judge, price and store what came; leave the result on the flight."""
    assert call.endpoint is not None and call.material is not None
    parts = call.parts
    usage = call.endpoint.usage(answer) if answer is not None and head.is_success else Usage()
    cost = call.price(usage, answer) if head.is_success else 0
    upstream_us = int((parts.clock.monotonic() - started) * 1e6)
    kept = call.keeping
    refusal = _refusal(call, verdict)
    meta: EntryMeta | None = None
    if refusal:
        put = refusal
    else:
        meta = EntryMeta(
            namespace=call.namespace,
            dialect=call.dialect.name,
            endpoint=call.endpoint.name,
            model=call.model,
            label=call.endpoint.name,
            status=head.status,
            content_type=_stored_content_type(head),
            streamed=head.streamed,
            stored_at=parts.clock.now(),
            lifetime_seconds=kept.lifetime_seconds,
            stale_while_revalidate_seconds=kept.stale_while_revalidate_seconds,
            stale_if_error_seconds=kept.stale_if_error_seconds,
            tags=call.directives.tags,
            sources=call.directives.sources,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd_nanos=cost,
            upstream_ms=upstream_us / 1000,
            writer=call.principal.api_key_id,
            headers=stored_headers(head.headers),
            parts=fingerprint_parts(call.principal.tenant, call.material),
        )
        put = await _put(call, Entry(call.key, meta, body))
        if put == Put.STORED.value:
            parts.kept_requests.keep(call, meta)
    parts.meter.count_fill(stored=put == Put.STORED.value)
    if verdict.storable:
        parts.semantic.filled(call, answer, meta if put == Put.STORED.value else None)
    flight.result = Fill(verdict, put, kept.lifetime_seconds, answer, usage, cost, upstream_us)


def _refusal(call: Call, verdict: Verdict) -> str:
    """Return why an answer is not stored, or an empty string."""
    if not verdict.storable:
        return verdict.reason
    if not call.may_write:
        return "not_asked"
    # Without a mark an invalidation during the fill would go unnoticed.
    return "store_unavailable" if call.mark is None else ""


def _stored_content_type(head: Head) -> str:
    for name, value in head.headers:
        if name.lower() == b"content-type":
            return value.decode("latin-1")
    return "text/event-stream" if head.streamed else "application/json"


async def _put(call: Call, entry: Entry) -> str:
    try:
        return (await call.parts.entries.put(call.principal.tenant, entry, since=call.mark)).value
    except StoreUnavailable as error:
        call.parts.meter.count_store_error()
        return error.code
    except Exception:  # noqa: BLE001 - a defect of ours; the answer is here, and goes to whoever waits for it
        _log.exception("put_failed", request_id=call.request_id)
        call.parts.meter.count_store_error()
        return StoreUnavailable.code
