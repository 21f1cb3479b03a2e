"""The cache key: HMAC-SHA-256 over the whole request, keyed with the tenant's secret.

Everything is in the key unless a visible list says otherwise. A change of this module that changes any key must
raise `KEY_VERSION`; `tests/unit/engine/golden_keys.json` guards it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agentcache.engine.canonical import canonical_bytes
from agentcache.engine.entries import Tenant
from agentcache.kit.errors import BadRequest

KEY_VERSION = 1
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """All that decides which answer a request gets. `body` is already without the ignored members."""

    dialect: str
    endpoint: str
    #: Base URL of the provider: two deployments of one dialect must not share answers.
    origin: str
    namespace: str
    bucket: str
    #: Output-affecting headers, as sorted (name, value) pairs.
    headers: tuple[tuple[str, str], ...]
    #: Path parameters of the endpoint (`owner`, `name`), sorted pairs.
    path: tuple[tuple[str, str], ...]
    body: Any
    #: JSON paths that the caller left out of `body`. In the key, so that whoever did not ask to ignore a member is
    #: never answered by somebody who did.
    ignored: tuple[tuple[str | int, ...], ...] = ()

    def parts(self) -> list[Any]:
        """Return the structure that is hashed; JSON keeps the parts apart whatever characters they hold."""
        return [
            KEY_VERSION,
            self.dialect,
            self.endpoint,
            self.origin,
            self.namespace,
            self.bucket,
            self.headers,
            self.path,
            self.ignored,
            self.body,
        ]


def cache_key(tenant: Tenant, material: KeyMaterial) -> bytes:
    """Return the 32-byte key. Tenants with the same request have unrelated keys."""
    return hmac.digest(tenant.key_secret, canonical_bytes(material.parts()), "sha256")


def without_members(body: dict[str, Any], ignored: frozenset[str], anywhere: frozenset[str]) -> dict[str, Any]:
    """Return `body` without the ignored top-level members and without the `anywhere` members at any depth."""
    kept = {name: value for name, value in body.items() if name not in ignored}
    if anywhere and _holds_any(kept, anywhere):
        kept = _drop_anywhere(kept, anywhere)
    return kept


#: What a caller's own schemas and arguments live in: there a member of an ignored name is theirs, not a marker.
_OPAQUE = frozenset({"input_schema", "parameters", "json_schema", "schema", "arguments"})


def _is_opaque(name: str, value: Any) -> bool:
    # A tool call's `input` is an object; the Responses API's `input` is a list of messages.
    return name in _OPAQUE or (name == "input" and type(value) is dict)


def _holds_any(value: Any, names: frozenset[str]) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            if not names.isdisjoint(item):
                return True
            stack.extend(child for name, child in item.items() if not _is_opaque(name, child))
        elif type(item) is list:
            stack.extend(item)
    return False


def _drop_anywhere(value: Any, names: frozenset[str]) -> Any:
    if type(value) is dict:
        return {
            name: child if _is_opaque(name, child) else _drop_anywhere(child, names)
            for name, child in value.items()
            if name not in names
        }
    if type(value) is list:
        return [_drop_anywhere(child, names) for child in value]
    return value


_PATH = re.compile(r"(?:\$\.?)?(?P<head>[^.\[\]$]+|\[\d+\]|\[\*\])(?P<rest>(?:\.[^.\[\]]+|\[\d+\]|\[\*\])*)")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*)\]")


def parse_ignore_path(text: str) -> tuple[str | int, ...]:
    """Read one JSON path (`metadata.request_id`, `$.messages[0].name`, `tools[*].id`) into steps; `*` is every item."""
    text = text.strip()
    if not text or len(text) > 256 or not _PATH.fullmatch(text):
        raise BadRequest(f"{text[:80]!r} is not a JSON path such as metadata.request_id or messages[0].name.")
    steps: list[str | int] = []
    for name, index in _STEP.findall(text.removeprefix("$")):
        steps.append(name or ("*" if index == "*" else int(index)))
    return tuple(steps)


def without_paths(body: dict[str, Any], paths: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
    """Return `body` without what the caller's paths name; paths that match nothing are allowed."""
    result: Any = body
    for path in paths:
        result = _without_path(result, path)
    return result  # type: ignore[no-any-return]  # an object stays an object: paths are never empty


def _without_path(value: Any, path: tuple[str | int, ...]) -> Any:
    step, rest = path[0], path[1:]
    if type(value) is dict and step in value:
        if not rest:
            return {name: child for name, child in value.items() if name != step}
        return {name: _without_path(child, rest) if name == step else child for name, child in value.items()}
    if type(value) is list and step == "*":
        return [_without_path(child, rest) for child in value] if rest else []
    if type(value) is list and isinstance(step, int) and step < len(value):
        if not rest:
            return value[:step] + value[step + 1 :]
        return [*value[:step], _without_path(value[step], rest), *value[step + 1 :]]
    return value


def fingerprint_parts(tenant: Tenant, material: KeyMaterial) -> dict[str, bytes]:
    """Return path -> 8-byte keyed digest for each part of a request, so that two requests can be compared later.

    Top-level body members each are a part; lists of objects (`messages`, `input`, `tools`) are split by item and
    objects (`metadata`, `response_format`) by member, because "messages[7] differs" is what a developer needs to read.
    The digests tell nobody without the tenant's secret
    what was asked.
    """
    secret = tenant.key_secret
    found: dict[str, bytes] = {
        "dialect": _fingerprint(secret, material.dialect),
        "endpoint": _fingerprint(secret, material.endpoint),
        "origin": _fingerprint(secret, material.origin),
        "namespace": _fingerprint(secret, material.namespace),
        "bucket": _fingerprint(secret, material.bucket),
    }
    found.update((f"header:{name}", _fingerprint(secret, value)) for name, value in material.headers)
    found.update((f"path:{name}", _fingerprint(secret, value)) for name, value in material.path)
    if material.ignored:
        found["ignored"] = _fingerprint(secret, material.ignored)
    body = material.body if type(material.body) is dict else {"value": material.body}
    for name, value in body.items():
        if type(value) is list and len(value) <= 256 and value and type(value[0]) is dict:
            found.update((f"body.{name}[{i}]", _fingerprint(secret, item)) for i, item in enumerate(value))
        elif type(value) is dict and 0 < len(value) <= 32:
            found.update((f"body.{name}.{child}", _fingerprint(secret, item)) for child, item in value.items())
        else:
            found[f"body.{name}"] = _fingerprint(secret, value)
    return found


def _fingerprint(secret: bytes, value: Any) -> bytes:
    return hashlib.blake2s(canonical_bytes(value), digest_size=8, key=secret).digest()
