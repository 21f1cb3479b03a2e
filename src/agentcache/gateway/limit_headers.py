"""What answers say of the limits that a call was charged to."""

from __future__ import annotations

from collections.abc import Awaitable

from agentcache.engine.stores.tallies import Ask, Got, Kind, rate_left
from agentcache.gateway.asgi_types import HeaderList, Message, Send
from agentcache.gateway.ports import Limit


def with_headers(send: Send, headers: HeaderList) -> Send:
    """Return a `send` that adds headers to the response."""

    def send_with(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        return send(message)

    return send_with


def left_of(ask: Ask, got: Got, now: float) -> int:
    """Return how many calls a limit still has room for."""
    return rate_left(got.value, ask.limit, now) if ask.kind is Kind.RATE else ask.limit - got.value


def rate_headers(rates: tuple[tuple[Limit, Ask], ...], got: list[Got], now: float) -> HeaderList:
    """Return `RateLimit` and `RateLimit-Policy`, the tightest rate first."""
    if not rates:
        return []
    # Rates come first among the asks of a call.
    found = sorted(
        ((rate_left(one.value, ask.limit, now), limit, one) for (limit, ask), one in zip(rates, got, strict=False)),
        key=lambda item: item[0],
    )
    policy = ", ".join(f'"{limit.kind}";q={limit.requests_per_minute};w=60' for _left, limit, _got in found)
    state = ", ".join(
        f'"{limit.kind}";r={left};t={max(0, -(-(one.value - int(now * 1e6)) // 1_000_000))}'
        for left, limit, one in found
    )
    left, limit, one = found[0]
    reset = max(0, -(-(one.value - int(now * 1e6)) // 1_000_000))
    return [
        (b"ratelimit-policy", policy.encode()),
        (b"ratelimit", state.encode()),
        (b"ratelimit-limit", b"%d" % (limit.requests_per_minute or 0)),
        (b"ratelimit-remaining", b"%d" % left),
        (b"ratelimit-reset", b"%d" % reset),
    ]
