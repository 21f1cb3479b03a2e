"""Errors as callers expect them: in the provider's shape on its routes, RFC 9457 on our own API."""

from __future__ import annotations

import msgspec

from agentcache.gateway.asgi_types import HeaderList
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Dialect

_JSON = msgspec.json.Encoder()
#: For whoever opens such an answer in a browser: it is no page, and part of none.
NO_PAGE: HeaderList = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]


def dialect_error(dialect: Dialect, error: AgentCacheError, request_id: str) -> tuple[HeaderList, bytes]:
    """Return headers and body that the dialect's official clients turn into their own exception."""
    shape = dialect.error(error.status, error.code, error.message, error.param)
    if "request_id" in shape:
        shape = {**shape, "request_id": request_id}
    body = _JSON.encode(shape)
    headers: HeaderList = [
        (b"content-type", b"application/json"),
        (b"x-agentcache-request-id", request_id.encode()),
        (b"x-agentcache-error", error.code.encode()),
        *NO_PAGE,
    ]
    headers += error.headers
    if error.status in (502, 503, 504) and error.may_pass:
        headers.append((b"retry-after", b"1"))
    elif error.status != 429 or not error.may_pass:
        # Asking again changes nothing, and the SDKs obey this above all else.
        headers.append((b"x-should-retry", b"false"))
    return headers, body


def problem(error: AgentCacheError, request_id: str) -> tuple[HeaderList, bytes]:
    """Return headers and body of an RFC 9457 problem."""
    body = {
        "type": f"/docs/reference/errors#{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.param is not None:
        body["param"] = error.param
    headers: HeaderList = [
        (b"content-type", b"application/problem+json"),
        (b"x-agentcache-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        *NO_PAGE,
    ]
    headers += error.headers
    if error.status == 503:
        headers.append((b"retry-after", b"1"))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="AgentCache"'))
    return headers, _JSON.encode(body)
