"""Asks the gateway in plain HTTP, and holds every answer against what really happened (scenario C23)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import httpx

from agentcache.gateway.ports import UsageEvent
from tests.support.gateway import DEFAULT_SCOPES, LightGateway
from tests.support.guarded import wait_until

#: In `own_prices`, for the models of the tests: USD per million tokens, so that 1 token costs 1000 and 2000 nanos.
INPUT_NANOS, OUTPUT_NANOS = 1000, 2000
MODEL = "priced-1"
CHAT = "/openai/v1/chat/completions"
_PART = re.compile(r'; ([a-z-]+)(?:=("[^"]*"|[A-Za-z0-9_:.*/-]+))?')
#: What `fwd` may say here (RFC 9211, 2.2).
_REASONS = frozenset({"bypass", "miss", "request", "stale"})


def own_prices() -> str:
    """Return a prices file for the tests' models."""
    rates = {"input_per_million": "1", "output_per_million": "2"}
    return json.dumps({f"{dialect}/{MODEL}": rates for dialect in ("openai", "anthropic", "together")})


def read_cache_status(text: str) -> dict[str, Any]:
    """Read one `Cache-Status` member of ours into its parameters; those without a value are True."""
    assert text.startswith("AgentCache; "), text
    rest = text.removeprefix("AgentCache")
    assert "".join(match[0] for match in _PART.finditer(rest)) == rest, f"not RFC 9211: {text}"
    found: dict[str, Any] = {}
    for name, value in _PART.findall(rest):
        assert name not in found, f"{name} twice: {text}"
        found[name] = int(value) if re.fullmatch(r"-?\d+", value) else value.strip('"') or True
    return found


@dataclass(frozen=True)
class Asked:
    """One answer with all that is known about it."""

    response: httpx.Response
    status: dict[str, Any]
    event: UsageEvent
    #: Upstream calls while it was being answered.
    upstream_calls: int

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return self.response.json()

    @property
    def text(self) -> str:
        """What a chat completion says."""
        return str(self.json["choices"][0]["message"]["content"])


@dataclass
class Honesty:
    """Asks as one team, and counts what it has checked."""

    gateway: LightGateway
    client: httpx.Client
    team: str
    checked: int = 0
    _events: dict[str, UsageEvent] = field(default_factory=dict)

    @property
    def provider(self) -> Any:
        """The fake provider."""
        return self.gateway.provider

    def send(
        self, body: Any = None, *, path: str = CHAT, key: str | None = None, method: str = "POST", **headers: str
    ) -> httpx.Response:
        """Send a request; header names have `_` for `-`, and `provider_key=""` leaves the provider's key out."""
        given = {"x-agentcache-key": key or self.gateway.key(self.team), "x-provider-key": "sk-test"}
        if path.startswith("/anthropic"):
            given["anthropic-version"] = "2023-06-01"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if given.pop("provider-key", None) == "":
            del given["x-provider-key"]
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        given.setdefault("content-type", "application/json")
        return self.client.request(method, self.gateway.url + path, content=content, headers=given)

    def ask(self, body: Any = None, expect: int = 200, **options: Any) -> Asked:
        """Send a request of an endpoint that is cached, and check that what is said of the answer is true."""
        before = self.provider.call_count
        response = self.send(chat("Which port?") if body is None else body, **options)
        assert response.status_code == expect, response.text
        return self.check(response, self.provider.call_count - before)

    def check(self, response: httpx.Response, upstream_calls: int) -> Asked:
        """Hold an answer against its usage event and the provider's count."""
        event = self.event_of(response)
        assert "cache-status" in response.headers, response.text
        status = read_cache_status(response.headers["cache-status"])
        assert event.status == response.status_code
        if "hit" in status:
            _check_hit(response, status, event)
            assert (upstream_calls > 0) == (event.outcome == "stale")
        else:
            _check_forwarded(response, status, event)
            assert upstream_calls >= (0 if "collapsed" in status else 1)
        self.checked += 1
        return Asked(response, status, event, upstream_calls)

    def event_of(self, response: httpx.Response) -> UsageEvent:
        """Return the one usage event of an answer."""
        request_id = response.headers["x-agentcache-request-id"]

        def found() -> bool:
            self._events = {event.id: event for event in self.gateway.events if event.id == request_id}
            return bool(self._events)

        wait_until(found, what=f"the usage event of {request_id}")
        assert sum(event.id == request_id for event in self.gateway.events) == 1
        return self._events[request_id]

    def is_stored(self, body: Any = None, **headers: str) -> bool:
        """Say whether a request would be a hit now; asks nobody else."""
        probe = {"cache_control": "only-if-cached", **headers}
        response = self.send(chat("Which port?") if body is None else body, **probe)
        assert response.status_code in (200, 504), response.text
        return response.status_code == 200

    def reader_key(self) -> str:
        """Return a key of the team that may not write."""
        return self.gateway.key(
            self.team, scopes=frozenset(scope for scope in DEFAULT_SCOPES if "write" not in scope.value)
        )


def chat(text: str, **members: Any) -> dict[str, Any]:
    """Return a chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **members}


def _check_hit(response: httpx.Response, status: dict[str, Any], event: UsageEvent) -> None:
    assert set(status) <= {"hit", "ttl", "key", "detail"}, status
    age, ttl = int(response.headers["age"]), status["ttl"]
    assert age >= 0
    freshness = response.headers["x-agentcache-freshness"]
    # Both are cut to whole seconds, so the lifetime is known to within two.
    least, most = age / max(1, age + ttl + 2), (age + 1) / max(1, age + ttl - 1)
    possible = {"fresh": least < 0.75 and ttl >= 0, "stale": most >= 0.75 and ttl >= 0, "expired": ttl <= 0}
    assert possible[freshness], (freshness, age, ttl)
    stands_in = status.get("detail") == "stale-if-error"
    assert stands_in or ("detail" not in status and freshness != "expired"), status
    assert event.outcome == ("stale" if stands_in else "exact")
    assert response.headers["x-agentcache-key"] == status["key"]
    assert round(float(response.headers["x-agentcache-saved-usd"]) * 1e9) == event.saved_usd_nanos
    assert float(response.headers["x-agentcache-saved-ms"]) >= 0
    assert event.cost_usd_nanos == 0
    assert event.upstream_us == 0
    assert not {"x-ratelimit-remaining-requests", "x-request-id", "set-cookie"} & set(response.headers)


def _check_forwarded(response: httpx.Response, status: dict[str, Any], event: UsageEvent) -> None:
    assert status["fwd"] in _REASONS
    assert status["fwd-status"] == response.status_code
    assert not {"age", "x-agentcache-freshness", "x-agentcache-saved-usd", "x-agentcache-saved-ms"} & set(
        response.headers
    )
    assert ("ttl" in status) == ("stored" in status)
    if status["fwd"] == "bypass":
        assert "stored" not in status
        assert status["detail"]
    if response.status_code >= 400:
        expected = {"error", "bypass"}
    elif "collapsed" in status:
        expected = {"coalesced"}
    else:
        expected = {"bypass"} if status["fwd"] == "bypass" else {"miss"}
    assert event.outcome in expected, (event.outcome, status)
    assert event.saved_usd_nanos == 0 or event.outcome == "coalesced"
    if event.outcome in ("miss", "coalesced"):
        assert response.headers["x-agentcache-key"] == status["key"]
        price = event.input_tokens * INPUT_NANOS + event.output_tokens * OUTPUT_NANOS
        assert (event.cost_usd_nanos, event.saved_usd_nanos) == ((price, 0) if event.outcome == "miss" else (0, price))
        assert (event.upstream_us > 0) == (event.outcome == "miss")
