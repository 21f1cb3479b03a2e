from __future__ import annotations

from dataclasses import replace

import pytest

from agentcache.gateway.native.api import NativeAPI
from agentcache.gateway.native.routes import ROUTES
from agentcache.gateway.native.targets import find_endpoint
from agentcache.gateway.ports import Scope
from agentcache.kit.api_keys import new_api_key
from agentcache.kit.errors import BadRequest
from agentcache.providers.registry import build_dialects
from tests.unit.gateway.native.samples import QUESTION

#: Who may call what. A route that is not listed here fails the test below: whoever adds one decides who may call it.
SCOPES = {
    ("POST", "/api/cache/get"): {"cache:read"},
    ("GET", "/api/cache/get"): {"cache:read"},
    ("POST", "/api/cache/set"): {"cache:write"},
    ("GET", "/api/cache/entries"): {"cache:read"},
    ("GET", "/api/cache/entries/{key}"): {"cache:read"},
    ("DELETE", "/api/cache/entries/{key}"): {"cache:write"},
    ("POST", "/api/cache/invalidate"): {"cache:write"},
    ("POST", "/api/cache/purge"): {"cache:write"},
    ("GET", "/api/cache/stats"): {"cache:read", "stats:read"},
    ("POST", "/api/cache/explain"): {"cache:read"},
    ("POST", "/api/cache/feedback"): {"cache:write"},
}
BODIES = {
    "cache.get": {"key": "k"},
    "cache.set": {"key": "k", "value": 1},
    "cache.invalidate": {"pattern": "*", "dry_run": True},
    "cache.purge": {"all": True, "dry_run": True},
    "cache.explain": {"provider": "openai", "request": QUESTION},
    "cache.feedback": {"key": "ab" * 32, "verdict": "right"},
}
each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def test_every_route_says_who_may_call_it():
    assert {(r.method, r.path): {scope.value for scope in r.scopes} for r in ROUTES} == SCOPES
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_a_route_without_a_scope_cannot_be_made():
    with pytest.raises(ValueError, match="names no scope"):
        replace(ROUTES[0], scopes=())


async def send(bench, route, key):
    path = route.path.replace("{key}", "0" * 64) + ("?key=k" if route.name == "cache.getByKey" else "")
    return await bench.call(route.method, path, BODIES.get(route.name), key=key)


@each_route
async def test_a_caller_without_the_scope_is_refused(bench, route):
    others = frozenset(Scope) - set(route.scopes) - {Scope.ADMIN}
    for scopes in (frozenset(), others):
        response = await send(bench, route, bench.make_key("team_a", scopes))
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    assert (await bench.get("stats"))["entries"] == 0


@each_route
async def test_any_one_of_the_scopes_lets_a_caller_in(bench, route):
    for scope in (*route.scopes, Scope.ADMIN):
        response = await send(bench, route, bench.make_key("team_a", frozenset({scope})))
        assert response.status_code in (route.status, 404), response.text


@each_route
async def test_a_caller_without_a_valid_key_is_refused(bench, route):
    missing = await send(bench, route, "")
    unknown = await send(bench, route, new_api_key())
    assert (missing.status_code, missing.json()["code"]) == (401, "unauthenticated")
    assert (unknown.status_code, unknown.json()["code"]) == (401, "invalid_agentcache_key")
    assert "bearer" in missing.headers["www-authenticate"].lower()


async def test_the_key_may_stand_where_providers_want_theirs(bench):
    for headers in ({"authorization": f"Bearer {bench.key}"}, {"x_api_key": bench.key}):
        assert (await bench.call("GET", "/api/cache/stats", key="", **headers)).status_code == 200


async def test_unknown_paths_and_methods(bench):
    for path in ("/api/cache/", "/api/cache/nothing", "/api/cache/get/", "/api/cache/entries/a/b", "/api/cache/Get"):
        response = await bench.call("GET", path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
    for method, path, allowed in (
        ("PUT", "/api/cache/get", "GET, HEAD, POST"),
        ("GET", "/api/cache/set", "POST"),
        ("POST", "/api/cache/entries/x", "DELETE, GET, HEAD"),
        ("DELETE", "/api/openapi.json", "GET, HEAD"),
    ):
        response = await bench.call(method, path)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == allowed


async def test_head_is_get(bench):
    await bench.post("set", {"key": "k", "value": 1}, 201)
    assert (await bench.call("HEAD", "/api/cache/get?key=k")).status_code == 200
    assert (await bench.call("HEAD", "/api/cache/get?key=absent")).status_code == 404


def test_it_owns_its_paths_and_no_others(bench):
    api = NativeAPI(bench.parts)
    assert all(api.owns(path) for path in ("/api/cache/get", "/api/cache/x", "/api/openapi.json"))
    assert not any(
        api.owns(path) for path in ("/api/docs", "/api/cache", "/api", "/", "/api/v1/models", "/api/cached/x")
    )


async def test_stats_without_anybody_who_counts(bench):
    bench.gateway._native = NativeAPI(bench.parts)
    assert (await bench.get("stats"))["calls"] is None


DIALECTS = build_dialects({})


@pytest.mark.parametrize(
    ("dialect", "body", "asked", "expected"),
    [
        ("openai", {"model": "m", "messages": []}, None, "chat.completions"),
        ("anthropic", {"model": "m", "messages": []}, None, "messages"),
        ("anthropic", {"model": "m", "messages": []}, "count_tokens", "count_tokens"),
        ("together", {"model": "m", "messages": []}, None, "chat.completions"),
        ("openai", {"model": "gpt-5", "input": "x"}, None, "responses"),
        ("openai", {"model": "text-embedding-3-small", "input": "x"}, None, "embeddings"),
        ("openai", {"model": "omni-moderation-latest", "input": "x"}, None, "moderations"),
        ("openai", {"input": "x"}, None, "moderations"),
        ("openai", {"model": "tts-1", "input": "x", "voice": "alloy"}, None, "audio.speech"),
        ("openai", {"model": "gpt-3.5-turbo-instruct", "prompt": "x"}, None, "completions"),
        ("openai", {"model": "gpt-image-1", "prompt": "x"}, None, "images.generations"),
        ("together", {"model": "x/FLUX.1", "prompt": "x"}, None, "images.generations"),
        ("together", {"model": "m", "input": "x"}, None, "embeddings"),
        ("together", {"model": "m", "query": "x", "documents": []}, None, "rerank"),
        ("replicate", {"version": "abc", "input": {}}, None, "predictions"),
        ("replicate", {"input": {}}, "/v1/models/meta/llama/predictions", "models.predictions"),
        ("openai", {"anything": 1}, "/v1/chat/completions", "chat.completions"),
    ],
)
def test_the_operation_is_told_from_the_request(dialect, body, asked, expected):
    endpoint, segments = find_endpoint(DIALECTS[dialect], body, asked)
    assert endpoint.name == expected
    assert segments == ({"owner": "meta", "name": "llama"} if expected == "models.predictions" else {})


@pytest.mark.parametrize("asked", [None, "models.predictions", "/v1/models/meta/predictions"])
def test_an_operation_with_names_in_its_path_needs_the_path(asked):
    with pytest.raises(BadRequest, match="/v1/models/"):
        find_endpoint(DIALECTS["replicate"], {"input": {}}, asked)
