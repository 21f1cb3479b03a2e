"""A provider's route: look the request up, answer from the cache, or share one upstream call and keep what it brings."""

from __future__ import annotations

from agentcache.engine.canonical import parse_body
from agentcache.engine.entries import Entry
from agentcache.engine.flights import Flight
from agentcache.engine.freshness import may_serve, may_serve_on_error, may_serve_while_revalidating
from agentcache.engine.keys import cache_key
from agentcache.engine.stores.port import LeaderLost, StoreUnavailable
from agentcache.gateway.asgi_types import ClientGone, read_body
from agentcache.gateway.calls import KEPT_OUT, Call, Head
from agentcache.gateway.fills import AnswerFlight, Fill, flight_name, leader
from agentcache.gateway.hang_ups import unless_gone
from agentcache.gateway.hits import serve_hit, serve_near
from agentcache.gateway.passthrough import pass_through
from agentcache.gateway.ports import Outcome
from agentcache.gateway.prepared import Prepared
from agentcache.gateway.relay import relay
from agentcache.kit.errors import AgentCacheError, Unauthenticated
from agentcache.kit.logs import get_logger

#: Upstream statuses that a stale answer may stand in for.
_FAILURES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})

_log = get_logger(__name__)


class ProviderKeyMissing(Unauthenticated):
    """The answer is not cached, and the request carries no provider key to ask with: send it in X-Provider-Key."""

    code = "provider_key_missing"


class NotCached(AgentCacheError):
    """The answer is not in the cache, and only-if-cached forbids asking the provider."""

    code = "not_cached"
    status = 504
    may_pass = False


async def answer(call: Call) -> None:
    """Serve a request to a cacheable endpoint."""
    parts, directives = call.parts, call.directives
    call.raw_body = await read_body(call.asgi_scope, call.receive, parts.settings.body_max_bytes)
    prepare(call)
    if call.detail or directives.is_bypass:
        await pass_through(call, call.raw_body, detail=call.detail or "requested")
        return
    entry = await look_up(call)
    if entry is not None and directives.reads:
        now, max_age = parts.clock.now(), directives.max_age
        if may_serve(entry.meta, now, max_age=max_age):
            parts.known_hits.learn(call, entry, await serve_hit(call, entry))
            return
        if may_serve_while_revalidating(entry.meta, now, max_age=max_age):
            # Begun first: it goes on when this caller hangs up.
            refresh = parts.refreshes.begin(call)
            await serve_hit(call, entry, detail="stale-while-revalidate", refresh=refresh)
            return
    if directives.reads and not parts.flights.is_flying(flight_name(call)):
        near = await parts.semantic.find(call)
        if near is not None and near.entry is not None:
            await serve_near(call, near)
            return
    if directives.only_if_cached:
        raise NotCached
    if not call.caller.has_provider_credential:
        raise ProviderKeyMissing
    led: list[AnswerFlight] = []
    await unless_gone(
        call.receive, lambda: _from_upstream(call, entry, led), on_gone=lambda: _record_hang_up(call, led)
    )


def prepare(call: Call) -> None:
    """Fill in body, key and bypass reason from the raw body; raise `InvalidJSON`."""
    assert call.endpoint is not None
    identity = (call.caller, call.path, call.raw_body)
    known = call.parts.prepared.find(identity, call.principal)
    if known is None:
        body = parse_body(call.raw_body)
        call.body = body
        call.apply_policies()
        reason = call.endpoint.bypass(body, call.caller.headers) or (KEPT_OUT if call.is_kept_out else "")
        material = None if reason or call.directives.is_bypass else call.material_of(body)
        key = cache_key(call.principal.tenant, material) if material is not None else b""
        known = Prepared(call.principal, body, reason, material, key, call.policy)
        call.parts.prepared.keep(identity, known)
    call.body = known.body
    call.detail = known.bypass_reason
    call.material = known.material
    call.key = known.key
    call.policy = known.policy


async def look_up(call: Call) -> Entry | None:
    """Return the stored entry whatever its age, and note the mark to fill from; a store in trouble is a miss."""
    try:
        found = await call.parts.entries.get(call.principal.tenant, call.key)
    except StoreUnavailable as error:
        call.detail = error.code
        call.parts.meter.count_store_error()
        return None
    except Exception:  # noqa: BLE001 - a defect of ours; the provider can answer all the same
        _log.exception("look_up_failed", request_id=call.request_id)
        call.detail = StoreUnavailable.code
        call.parts.meter.count_store_error()
        return None
    call.mark = found.mark
    return found.entry


async def _from_upstream(call: Call, entry: Entry | None, led: list[AnswerFlight]) -> None:
    """Answer from a flight; those that this call started are added to `led`."""
    directives = call.directives
    reason = directives.forward_reason
    if reason == "miss" and entry is not None:
        reason = "stale"
    retried = False
    while True:
        flight, leads = _board(call, retried=retried)
        if leads:
            led.append(flight)
        with flight.seat() as seat:
            head: Head | None = None
            failure: AgentCacheError | None = None
            try:
                head = await seat.head()
                if not (head.streamed and call.wants_stream) and (head.streamed or head.is_success):
                    # Nothing is sent before the whole answer is here, so a failure can still be mended.
                    await _end_or_overflow(seat.flight)
            except AgentCacheError as caught:
                failure = caught
            leads = leads and not flight.led_elsewhere
            is_failure = failure is not None or (head is not None and head.status in _FAILURES)
            is_usable = head is not None and not is_failure and (leads or head.is_success)
            if not is_usable and not retried and _may_try_again(flight, failure, leads=leads):
                retried = True
                continue
            if is_failure and await _served_stale(call, entry):
                return
            if failure is not None:
                raise failure
            assert head is not None
            await relay(call, seat, head, leads=leads, reason=reason)
            return


def _may_try_again(flight: AnswerFlight, failure: AgentCacheError | None, *, leads: bool) -> bool:
    """Say whether a failed flight is replaced: once, and not by the caller whose own call it was."""
    return isinstance(failure, LeaderLost) or (not leads and not flight.is_replacement)


def _record_hang_up(call: Call, led: list[AnswerFlight]) -> None:
    """Record a caller that left; what its own upstream call costs is known when that ends."""
    if not led:
        call.record(Outcome.ERROR, ClientGone.status)
        return
    flight = led[-1]
    # It will be; the request itself ends now.
    call.is_recorded = True

    def record() -> None:
        fill: Fill | None = flight.result
        if fill is None or flight.led_elsewhere:
            call.record(Outcome.ERROR, ClientGone.status)
            return
        call.record(
            Outcome.ERROR,
            ClientGone.status,
            input_tokens=fill.usage.input_tokens,
            output_tokens=fill.usage.output_tokens,
            cost_usd_nanos=fill.cost_usd_nanos,
            upstream_us=fill.upstream_us,
        )

    flight.when_ended(record)


def _board(call: Call, *, retried: bool) -> tuple[AnswerFlight, bool]:
    """Join the flight for this key or start one. Requests that insist on a new answer never join."""
    flights, name = call.parts.flights, flight_name(call)
    lead = leader(call, shared=call.directives.reads and call.may_write and call.mark is not None)
    if call.directives.reads:
        return flights.join(name, lead, after_failure=retried, outlives_readers=call.may_write)
    flight: AnswerFlight = Flight(name, call.parts.settings.entry_max_bytes, outlives_readers=call.may_write)
    flights.start(flight, lead)
    return flight, True


async def _end_or_overflow(flight: AnswerFlight) -> None:
    while not flight.done and not flight.overflowed:
        await flight.progress()
    if flight.error is not None:
        raise flight.error


async def _served_stale(call: Call, entry: Entry | None) -> bool:
    directives = call.directives
    if entry is None or not directives.reads:
        return False
    now, window = call.parts.clock.now(), directives.stale_if_error
    if not may_serve_on_error(entry.meta, now, stale_if_error=window, max_age=directives.max_age):
        return False
    await serve_hit(call, entry, detail="stale-if-error")
    return True
