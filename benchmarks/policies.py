"""What policies cost: a hit without any and with 50, the first reading of a request, patterns, and a dry run.

    make bench-policies

In one process, without sockets, on SQLite; minutes of nothing else on the machine make it honest. Prints microseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agentcache.asgi import build_parts
from agentcache.demo.fake_provider import FakeProvider
from agentcache.engine.policies import NO_POLICIES, PROMPT_CHARS_MAX, Facts, Match, Policy, PolicySet
from agentcache.engine.stores.open_stores import open_stores
from agentcache.gateway.app import Gateway
from agentcache.gateway.authenticate import Authenticator
from agentcache.gateway.health import Health
from agentcache.gateway.known_hits import SCOPE_KEY, RequestBytes
from agentcache.gateway.meter import Meter
from agentcache.gateway.metrics import Metrics
from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.ports import NOT_NAMED
from agentcache.kit.clock import SystemClock
from agentcache.kit.egress.upstream import UpstreamClient
from agentcache.policies.dry_run import PastRequest, simulate
from agentcache.settings import Settings
from tests.support.gateway import LightGateway, upstream_settings

ROUNDS, CALLS = 9, 2_000
#: The last one matches; the others are asked first, each with a pattern over the text.
MANY = PolicySet(
    1,
    (
        *(Policy(f"p{number}", f"Policy {number}", Match(prompt=rf"(?i)\btopic-{number}\b.*(now|today)")) for number in range(49)),
        Policy("last", "Last", Match(models=("gpt-*",)), lifetime_seconds=86_400),
    ),
).compile()  # fmt: skip
BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port does HTTPS use? " * 20}]}
DRY_RUN_REQUESTS = 100_000


async def measure(policies: PolicySet, folder: Path, provider: FakeProvider) -> dict[str, float]:
    """Return microseconds for a known hit, a hit of the usual way, and one whose bytes were not read before."""
    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), **upstream_settings(provider)})
    light, clock = LightGateway(folder, provider), SystemClock()
    api_key = light.new_key(policies=policies)
    plane, metrics = light.control_plane, Metrics()
    meter, stores, upstream = Meter(plane, metrics, clock), open_stores(settings, clock), UpstreamClient(8)
    parts = build_parts(
        settings,
        clock,
        stores=stores,
        upstream=upstream,
        meter=meter,
        authenticator=Authenticator(plane, clock),
        jobs=plane,
    )
    gateway = Gateway(parts, NativeAPI(parts, plane), Health(parts, plane, metrics))
    ask = _asker(gateway, api_key)
    try:
        await ask(json.dumps(BODY).encode())
        await ask(json.dumps(BODY).encode())
        raw = json.dumps(BODY).encode()
        assert parts.known_hits.answer(raw) is not None
        found = {
            "known_hit_us": await _median(lambda: _known(parts.known_hits.answer, raw), meter),
            "usual_hit_us": await _median(lambda: ask(raw), meter),
        }
        number = iter(range(10**9))
        found["first_reading_us"] = await _median(lambda: ask(_spaced(next(number))), meter, calls=500)
    finally:
        await parts.flights.drain(0.0)
        await parts.admission.close()
        parts.refusals.close()
        await upstream.aclose()
        await stores.close()
    return found


def _spaced(number: int) -> bytes:
    """Return the same request in bytes that were not seen before."""
    return json.dumps(BODY).encode() + b" " * (number % 30_000) + b"\n"


async def _known(answer: Callable[[bytes], Any], raw: bytes) -> None:
    answer(raw)


def _asker(gateway: Gateway, api_key: str) -> Callable[[bytes], Awaitable[None]]:
    headers = [
        (b"host", b"x"),
        (b"x-agentcache-key", api_key.encode()),
        (b"authorization", b"Bearer sk"),
        (b"content-type", b"application/json"),
    ]

    async def ask(body: bytes) -> None:
        asgi_scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions",
            "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), SCOPE_KEY: RequestBytes(body, 0),
        }  # fmt: skip
        sent = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            assert message.get("status", 200) == 200

        await gateway(asgi_scope, receive, send)

    return ask


async def _median(work: Callable[[], Awaitable[None]], meter: Meter, calls: int = CALLS) -> float:
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(calls):
            await work()
        rounds.append((time.thread_time() - started) / calls * 1e6)
        await meter.flush()
    return round(sorted(rounds)[ROUNDS // 2], 2)


def patterns() -> dict[str, float]:
    """Return microseconds of matching: 50 policies on a short prompt, and the slowest pattern on the longest text."""
    short = Facts("openai", "gpt-4o-mini", "default", (), (), BODY)
    started = time.thread_time()
    for _ in range(1000):
        MANY.find(Facts(short.dialect, short.model, short.namespace, (), (), BODY))
    fifty = (time.thread_time() - started) / 1000 * 1e6
    worst = 0.0
    for pattern, text in ((r"(a+)+$", "a"), (r"(.*,){20}P", "1,"), (r"(\w+\s?)*$", "word "), (r"(?i)\bnews\b", "x ")):
        policies = PolicySet(1, (Policy("a", "A", Match(prompt=pattern)),)).compile()
        body = {"prompt": text * (PROMPT_CHARS_MAX // len(text)) + "!"}
        started = time.thread_time()
        policies.find(Facts("openai", "m", "n", (), (), body))
        worst = max(worst, (time.thread_time() - started) * 1e6)
    return {"find_among_50_us": round(fifty, 1), "worst_pattern_64k_us": round(worst)}


def dry_run() -> dict[str, float]:
    """Return seconds of playing the most requests that a dry run plays, against 50 policies without patterns."""
    requests = [
        PastRequest(
            number * 1000,
            f"key-{number % 20_000}",
            "openai",
            "gpt-4o-mini",
            "default",
            "miss",
            "miss",
            10**6,
            0,
            NOT_NAMED,
        )
        for number in range(DRY_RUN_REQUESTS)
    ]
    policies = PolicySet(
        1, tuple(Policy(f"p{number}", f"P{number}", Match(models=(f"other-{number}*",))) for number in range(50))
    ).compile()
    started = time.thread_time()
    simulate(requests, policies, 86_400.0)
    return {"dry_run_100k_s": round(time.thread_time() - started, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    figures: dict[str, Any] = {}
    with FakeProvider() as provider:
        for name, policies in (("none", NO_POLICIES), ("fifty", MANY)):
            with tempfile.TemporaryDirectory() as folder:
                figures[name] = asyncio.run(measure(policies, Path(folder), provider))
    figures |= patterns() | dry_run()
    print(json.dumps(figures) if as_json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
