"""The OpenAPI 3.1 document, made from the route table, the structs and the dialects, so that it cannot lag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from agentcache.gateway.native import schemas
from agentcache.gateway.native.routes import ROUTES, Route
from agentcache.gateway.vocabulary import REPLY_HEADERS, REQUEST_HEADERS
from agentcache.providers.dialect import Dialect, Endpoint, Kind

DISTRIBUTION = "agentcache-server"
_REFERENCE = "#/components/schemas/{name}"
_SEGMENT = re.compile(r"\{(\w+)\}")
#: Problems that any call may meet.
_USUAL_PROBLEMS = (400, 401, 403, 503)
_OPEN_OBJECT = {"type": "object", "additionalProperties": True}
_CACHED = {
    Kind.ANSWER: "cached",
    Kind.EMBEDDINGS: "cached per input item",
    Kind.PREDICTION: "cached when asked for or seeded",
    Kind.BINARY: "cached",
}


def openapi_document(dialects: Mapping[str, Dialect]) -> bytes:
    """Return the whole document as JSON."""
    structs: list[type[msgspec.Struct]] = [schemas.Problem]
    structs += [struct for route in ROUTES for struct in (route.body, route.reply) if struct is not None]
    _, components = msgspec.json.schema_components(list(dict.fromkeys(structs)), ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    paths |= _own_paths()
    for dialect in dialects.values():
        for endpoint in dialect.endpoints:
            if endpoint.kind is not Kind.PASS:
                operation = _provider_operation(dialect, endpoint)
                paths.setdefault(f"/{dialect.name}{endpoint.path}", {})[endpoint.method.lower()] = operation
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentCache",
            "version": _version(),
            "description": "A cache for AI API calls. The providers' own APIs are below /{provider}/; "
            "/v1/ and /api/v1/ mean OpenAI.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"agentcacheKey": []}, {"bearer": []}],
        "tags": [
            {"name": "cache", "description": "Our own API over the entries."},
            {"name": "server", "description": "How the server is."},
            *(
                {"name": name, "description": f"The API of {name}, answered from the cache where it can be."}
                for name in dialects
            ),
        ],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {_component(header.name): _header(header.description) for header in REPLY_HEADERS},
            "parameters": {
                _component(header.name): _directive(header) for header in REQUEST_HEADERS if _is_one(header.name)
            },
            "responses": {"Problem": _problem_response()},
            "securitySchemes": {
                "agentcacheKey": {"type": "apiKey", "in": "header", "name": "X-AgentCache-Key"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The AgentCache key."},
            },
        },
    }
    return msgspec.json.encode(document)


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a source tree that is not installed
        return "0"


def _component(header: str) -> str:
    return header.replace(" ", "")


def _is_one(name: str) -> bool:
    return "/" not in name and name not in ("X-AgentCache-Key", "Authorization")


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _directive(header: Any) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "required": False,
        "description": f"{header.value}. {header.description}",
        "schema": {"type": "string"},
    }


def _problem_response() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}
    return {"description": "What went wrong (RFC 9457).", "content": content}


def _operation(route: Route) -> dict[str, Any]:
    scopes = " or ".join(scope.value for scope in route.scopes)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": ["cache"],
        "summary": route.summary,
        "description": f"Needs the scope {scopes}.",
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query), *_directives_here(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        schema = {"$ref": _REFERENCE.format(name=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _responses(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    success["headers"] = {"X-AgentCache-Request-Id": {"$ref": "#/components/headers/X-AgentCache-Request-Id"}}
    if route.reply is schemas.GetReply:
        success["headers"] = {h.name: {"$ref": f"#/components/headers/{_component(h.name)}"} for h in REPLY_HEADERS}
    if route.reply is not None:
        schema = {"$ref": _REFERENCE.format(name=route.reply.__name__)}
        success["content"] = {"application/json": {"schema": schema}}
    problems = {
        str(status): {"$ref": "#/components/responses/Problem"} for status in (*_USUAL_PROBLEMS, *route.problems)
    }
    return {str(route.status): success, **dict(sorted(problems.items()))}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _SEGMENT.findall(path)
    ]


def _query_parameters(query: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    schema = components[query.__name__]
    required = schema.get("required", [])
    found = []
    for name, member in schema["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in required}
        if "description" in member:
            parameter["description"] = member.pop("description")
        found.append({**parameter, "schema": member})
    return found


def _directives_here(route: Route) -> list[dict[str, Any]]:
    names = ["X-AgentCache-Namespace", "X-AgentCache-Agent"]
    if route.may_limit_age:
        names.append("Cache-Control")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _own_paths() -> dict[str, Any]:
    """Return what the server says of itself."""
    document = _plain("This document", "application/json", _OPEN_OBJECT)
    metrics = _plain("Prometheus metrics; needs a key with the scope admin", "text/plain", {"type": "string"})
    metrics["responses"] |= {str(s): {"$ref": "#/components/responses/Problem"} for s in (401, 403)}
    ready = _plain("Whether calls can be served: a canary passes the whole path", "application/json", _OPEN_OBJECT)
    ready["responses"]["503"] = {**ready["responses"]["200"], "description": "Not ready"}
    alive = _plain("Whether the process is alive", "application/json", _OPEN_OBJECT)
    for public in (document, ready, alive):
        public["security"] = []
    return {
        "/api/openapi.json": {"get": {"operationId": "openapi", **document}},
        "/healthz": {"get": {"operationId": "healthz", **alive}},
        "/readyz": {"get": {"operationId": "readyz", **ready}},
        "/metrics": {"get": {"operationId": "metrics", **metrics}},
    }


def _plain(summary: str, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    success = {"description": "OK", "content": {content_type: {"schema": schema}}}
    return {"tags": ["server"], "summary": summary, "responses": {"200": success}}


def _provider_operation(dialect: Dialect, endpoint: Endpoint) -> dict[str, Any]:
    """Return a summary of a provider's operation: its own documentation says what it takes and gives."""
    name = f"{dialect.name}.{endpoint.name}"
    parameters = [
        {"$ref": f"#/components/parameters/{_component(header.name)}"}
        for header in REQUEST_HEADERS
        if _is_one(header.name)
    ]
    contents: dict[str, Any] = {"application/json": {"schema": _OPEN_OBJECT}}
    if endpoint.stream is not None:
        contents["text/event-stream"] = {"schema": {"type": "string"}}
    if endpoint.kind is Kind.BINARY:
        contents = {"application/octet-stream": {}}
    headers = {h.name: {"$ref": f"#/components/headers/{_component(h.name)}"} for h in REPLY_HEADERS}
    return {
        "operationId": name,
        "tags": [dialect.name],
        "summary": f"{endpoint.name} of {dialect.name}, {_CACHED[endpoint.kind]}",
        "description": "Request and answer are the provider's own.",
        "parameters": [*_path_parameters(endpoint.path), *parameters],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _OPEN_OBJECT}}},
        "responses": {
            "200": {"description": "The provider's answer, or the stored one", "headers": headers, "content": contents},
            "default": {
                "description": "An error in the provider's own shape, the provider's or ours",
                "content": {"application/json": {"schema": _OPEN_OBJECT}},
            },
        },
    }
