"""A10: one resolver of credentials, the same on every route; what conflicts is refused."""

from __future__ import annotations

import pytest

from agentcache.gateway.ports import Scope
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.routes import guarded_routes, settings_dialects

EVERYTHING = frozenset(Scope)
#: Error codes by which a route says no to whoever knocks.
REFUSALS = {
    "unauthenticated", "invalid_agentcache_key", "conflicting_credentials", "key_in_url", "insufficient_scope",
}  # fmt: skip


def presentations(one, two):
    """Yield (name, headers, query, verdict) for each way to present the keys `one` and `two`; `in` lets in."""
    forms = {
        "Authorization": "Bearer {}", "authorization": "bearer {}", "AUTHORIZATION": "BEARER {}",
        "aUtHoRiZaTiOn": "Token {}", "X-API-Key": "{}", "x-api-key": "{}", "API-Key": "{}", "api-key": "{}",
        "X-AgentCache-Key": "{}", "x-agentcache-KEY": "{}",
    }  # fmt: skip
    lower = {name.lower(): (name, form) for name, form in forms.items()}
    for name, form in forms.items():
        yield f"{name} alone", [(name, form.format(one))], "", "in"
        yield f"{name} with a wrong key", [(name, form.format(one[:-1] + "!"))], "", "invalid_agentcache_key"
        yield f"{name} twice", [(name, form.format(one))] * 2, "", "conflicting_credentials"
        twice = [(name, form.format(one)), (name.swapcase(), form.format(two))]
        yield f"{name} with both", twice, "", "conflicting_credentials"
    pairs = [(a, b) for a in lower for b in lower if a < b]
    for a, b in pairs:
        (name_a, form_a), (name_b, form_b) = lower[a], lower[b]
        yield f"{a} and {b} agree", [(name_a, form_a.format(one)), (name_b, form_b.format(one))], "", "in"
        conflict = [(name_a, form_a.format(one)), (name_b, form_b.format(two))]
        yield f"{a} and {b} differ", conflict, "", "conflicting_credentials"
    yield "nothing", [], "", "unauthenticated"
    yield "a cookie", [("Cookie", f"key={one}; authorization={one}; x-agentcache-key={one}")], "", "unauthenticated"
    yield "a query", [], f"api_key={one}", "key_in_url"
    yield "a query and a header", [("X-AgentCache-Key", one)], f"api_key={one}", "key_in_url"
    yield "a foreign scheme", [("Authorization", f"Basic {one}")], "", "unauthenticated"
    yield "a provider's key alone", [("Authorization", "Bearer sk-test")], "", "unauthenticated"
    yield "the proxy's header", [("Proxy-Authorization", f"Bearer {one}")], "", "unauthenticated"
    yield "an empty header", [("X-AgentCache-Key", "")], "", "invalid_agentcache_key"


async def verdict(client, route, headers, query):
    """Knock at a route; return `in`, or the code of the refusal."""
    target = route.target + ("&" if "?" in route.target else "?") + query if query else route.target
    answer = await client.request(route.method, target, headers, route.body)
    code = answer.header("x-agentcache-error")
    if not code and answer.header("content-type") == "application/problem+json":
        code = answer.json()["code"]
    if code in REFUSALS:
        assert answer.status in (400, 401, 403)
        return code
    assert answer.status < 500, answer.body
    return "in"


@pytest.mark.parametrize(
    "scopes",
    [EVERYTHING, frozenset()],
    ids=["every scope", "no scope"],
)
async def test_every_route_reads_credentials_the_same_way(gateway, provider, scopes):
    one, two = gateway.key("acme", scopes=scopes), gateway.key("globex", scopes=scopes)
    routes = guarded_routes(settings_dialects(gateway.settings))
    assert {route.group for route in routes} >= {"openai", "anthropic", "replicate", "together", "native", "health"}
    differences, knocks = [], 0
    async with RawClient(gateway.url) as client:
        for route in routes:
            for name, headers, query, expected in presentations(one, two):
                wanted = "insufficient_scope" if expected == "in" and not scopes else expected
                given = [*headers, ("X-Provider-Key", "sk-test")]
                if name in ("a provider's key alone", "a foreign scheme") and route.group in ("native", "health"):
                    given = headers
                got = await verdict(client, route, given, query)
                knocks += 1
                if got != wanted:
                    differences.append(f"{route.id}: {name}: {got} instead of {wanted}")
    assert not differences, "\n".join(differences[:40])
    if not scopes:
        assert provider.call_count == 0
    record(f"A10 {'every' if scopes else 'no'} scope", routes=len(routes), knocks=knocks, differences=0)


async def test_each_route_wants_its_own_scope_whichever_header_carries_the_key(gateway):
    reader = gateway.key("acme", scopes=frozenset({Scope.CACHE_READ}))
    dialects = settings_dialects(gateway.settings)
    for_writers = {"cache.set", "cache.invalidate", "cache.purge", "cache.entries.delete", "cache.feedback"}
    async with RawClient(gateway.url) as client:
        for route in guarded_routes(dialects):
            needs_more = route.name in for_writers or route.group == "health"
            for headers in ([("X-AgentCache-Key", reader)], [("Authorization", f"Bearer {reader}")]):
                got = await verdict(client, route, [*headers, ("X-Provider-Key", "sk-test")], "")
                assert got == ("insufficient_scope" if needs_more else "in"), route.id
