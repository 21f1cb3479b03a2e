from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from agentcache.gateway.native.openapi import openapi_document
from agentcache.gateway.native.routes import ROUTES
from agentcache.providers.dialect import Kind
from agentcache.providers.registry import build_dialects
from tests.unit.gateway.native.samples import MESSAGE_ANSWER, MESSAGE_QUESTION, QUESTION, chat_answer

DOCUMENT = json.loads(openapi_document(build_dialects({"acme": "http://127.0.0.1:9/v1"})))
URI = "urn:openapi"
REGISTRY = Registry().with_resource(URI, Resource.from_contents(DOCUMENT, default_specification=DRAFT202012))
ASKED = {"provider": "openai", "request": QUESTION}


def check(value, schema):
    text = json.dumps(schema).replace('"#/', f'"{URI}#/')
    Draft202012Validator(json.loads(text), registry=REGISTRY).validate(value)


def check_answer(path, response):
    """Hold an answer against what the document says about this path, method and status."""
    responses = DOCUMENT["paths"][path][response.request.method.lower()]["responses"]
    described = responses[str(response.status_code)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    for name in described.get("headers", {}):
        if response.status_code == 200 and "hit" in response.headers.get("cache-status", ""):
            assert name in response.headers, name
    if "content" not in described:
        assert response.content == b""
        return None
    content = described["content"][response.headers["content-type"]]
    check(response.json(), content["schema"])
    return response.json()


def test_the_document_is_valid_openapi():
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_is_in_the_document():
    listed = {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if path.startswith("/api/cache/")
    }
    assert listed == {(route.method, route.path) for route in ROUTES}
    assert {"/healthz", "/readyz", "/metrics", "/api/openapi.json"} < DOCUMENT["paths"].keys()


def test_every_cached_operation_of_every_provider_is_in_the_document():
    for dialect in build_dialects({"acme": "http://127.0.0.1:9/v1"}).values():
        for endpoint in dialect.endpoints:
            if endpoint.kind is not Kind.PASS:
                assert endpoint.method.lower() in DOCUMENT["paths"][f"/{dialect.name}{endpoint.path}"]


def test_only_what_is_public_needs_no_key():
    public = {
        path
        for path, operations in DOCUMENT["paths"].items()
        for each in operations.values()
        if each.get("security") == []
    }
    assert public == {"/api/openapi.json", "/healthz", "/readyz"}


def test_operation_ids_are_unique():
    ids = [each["operationId"] for operations in DOCUMENT["paths"].values() for each in operations.values()]
    assert len(ids) == len(set(ids))


async def test_the_document_is_served_to_everyone_and_made_once(bench):
    first = await bench.call("GET", "/api/openapi.json", key="")
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
    assert "/acme/v1/chat/completions" in first.json()["paths"]
    kept = bench.gateway._native._document
    second = await bench.call("GET", "/api/openapi.json", key="")
    assert bench.gateway._native._document is kept
    assert second.content == first.content
    assert OpenAPIV31SpecValidator(first.json()).is_valid()


async def test_every_answer_is_as_the_document_says(bench):
    async def call(method, path, body=None, *, template="", **options):
        return check_answer(template or path.partition("?")[0], await bench.call(method, path, body, **options))

    missed = await call("POST", "/api/cache/get", ASKED)
    assert missed["hit"] is False
    await call("GET", "/api/cache/get?key=absent")
    stored = await call("POST", "/api/cache/set", {**ASKED, "value": chat_answer(), "tags": ["t"], "ttl": "1d"})
    await call("POST", "/api/cache/set", {"key": "name", "value": None})
    await call(
        "POST", "/api/cache/set", {"provider": "anthropic", "request": MESSAGE_QUESTION, "value": MESSAGE_ANSWER}
    )
    assert (await call("POST", "/api/cache/get", ASKED))["hit"] is True
    await call("GET", "/api/cache/get?key=name")
    entry = "/api/cache/entries/{key}"
    await call("GET", f"/api/cache/entries/{stored['key']}", template=entry)
    await call("GET", f"/api/cache/entries/{'0' * 64}", template=entry)
    assert len((await call("GET", "/api/cache/entries?limit=2"))["entries"]) == 2
    await call("GET", "/api/cache/stats")
    await call("POST", "/api/cache/explain", ASKED)
    explained = await call("POST", "/api/cache/explain", {**ASKED, "request": {**QUESTION, "seed": 5}})
    assert explained["nearest"] is not None
    await call("POST", "/api/cache/purge", {"tags": ["t"], "dry_run": True})
    await call("DELETE", f"/api/cache/entries/{stored['key']}", template=entry)
    await call("DELETE", f"/api/cache/entries/{stored['key']}", template=entry)
    for problem in (
        await call("POST", "/api/cache/get", {"nonsense": 1}),
        await call("POST", "/api/cache/set", {"key": "k", "value": "x" * 100_000}),
        await call("GET", "/api/cache/stats", key=""),
        await call("GET", "/api/cache/stats", key=bench.make_key("team_a", frozenset())),
    ):
        assert problem["code"]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("GetRequest", ASKED),
        ("GetRequest", {"provider": "openai", "model": "m", "messages": [], "params": {"n": 1}, "ignore": ["a"]}),
        ("SetRequest", {"key": "k", "value": None, "ttl": "15m", "cost_usd": "0.1", "tags": ["a"], "sources": []}),
        ("SetRequest", {"key": "k", "value": 1, "ttl": 5, "cost_usd": 1}),
        ("PurgeRequest", {"keys": ["a" * 64], "dry_run": True}),
        ("Question", {**ASKED, "headers": {"a": "b"}}),
    ],
)
def test_a_good_request_meets_its_schema(name, body):
    check(body, {"$ref": f"#/components/schemas/{name}"})


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("GetRequest", {"nonsense": 1}),
        ("SetRequest", {"key": "k"}),
        ("PurgeRequest", {"keys": []}),
        ("Question", {"key": "k"}),
    ],
)
def test_a_bad_request_fails_its_schema(name, body):
    schema = {"$ref": f"{URI}#/components/schemas/{name}"}
    assert not Draft202012Validator(schema, registry=REGISTRY).is_valid(body)
