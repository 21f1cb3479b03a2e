"""From what a caller asks about to the cache keys it can be found under.

Two key spaces. A whole request to a provider has the very key that the provider's route gives it, so both see the same
entry. Everything else lives in the native space: a prompt, a name of the caller's own, and, under a key made from a
request's key, values that are no answer of the provider and must never be served as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET

from agentcache.engine.entries import Tenant
from agentcache.engine.keys import KEY_BYTES, KeyMaterial, cache_key, parse_ignore_path
from agentcache.engine.policies import Facts, Policy
from agentcache.gateway.callers import Caller, key_headers
from agentcache.gateway.calls import KEPT_OUT, Parts, key_material, model_of
from agentcache.gateway.directives import Directives, parse_directives, parse_name
from agentcache.gateway.embeddings.items import split_input
from agentcache.gateway.native.exchange import InvalidMember
from agentcache.gateway.native.schemas import GetRequest, Question
from agentcache.gateway.ports import Principal
from agentcache.providers.dialect import Dialect, Endpoint, Json, Kind
from agentcache.providers.replicate import has_seed, key_body

#: Dialect and endpoint of what no provider's route serves.
NATIVE = "native"
#: Headers that every official client sends, assumed where the caller gives none.
_USUAL_HEADERS = {"anthropic": {"anthropic-version": "2023-06-01"}}
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_LABEL_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about, and the keys to look under."""

    #: The entry's first key: the provider's for a request, else the native one.
    key: bytes
    #: Where the native API keeps what is no answer of the provider; the same as `key` for a prompt or a name.
    native_key: bytes
    #: What the native key is made from.
    native_material: KeyMaterial
    namespace: str
    bucket: str = ""
    dialect: Dialect | None = None
    endpoint: Endpoint | None = None
    #: The request body as the provider would get it; empty for a prompt or a key.
    request: Json | None = None
    #: What the provider's key is made from, for requests.
    material: KeyMaterial | None = None
    model: str = ""
    label: str = NATIVE
    #: Why the provider's route never answers this from the cache.
    bypass: str | None = None
    #: The team's policy that matches.
    policy: Policy | None = None
    #: Entries filed elsewhere are not meant (a namespace given beside a cache key).
    only_namespace: str | None = None

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key under which an entry may be."""
        return (self.key,) if self.key == self.native_key else (self.key, self.native_key)

    @property
    def is_batch(self) -> bool:
        """Whether this asks for the embeddings of several items, each of which has an entry of its own."""
        if self.endpoint is None or self.endpoint.kind is not Kind.EMBEDDINGS or self.request is None:
            return False
        items = split_input(self.request.get("input"))
        return items is None or len(items) > 1

    @property
    def dialect_name(self) -> str:
        """The provider's name, or `native`."""
        return self.dialect.name if self.dialect is not None else NATIVE

    @property
    def endpoint_name(self) -> str:
        """The provider's operation, or `native`."""
        return self.endpoint.name if self.endpoint is not None else NATIVE


@dataclass(frozen=True, slots=True)
class _Frame:
    """What holds for a request besides its body."""

    headers: dict[str, str]
    directives: Directives
    namespace: str
    given_namespace: str | None
    bucket: str
    ignored: tuple[tuple[str | int, ...], ...]


def find_target(parts: Parts, principal: Principal, caller: Caller, asked: Question) -> Target:
    """Return what `asked` is about; raise `BadRequest` unless it says exactly one thing."""
    kinds = [name for name in ("request", "messages", "prompt", "key") if getattr(asked, name, UNSET) is not UNSET]
    if len(kinds) != 1:
        allowed = "request, messages, prompt and key" if isinstance(asked, GetRequest) else "request and messages"
        problem = f"{' and '.join(kinds)} exclude each other" if kinds else "nothing says what is asked about"
        raise InvalidMember(f"Give exactly one of {allowed}: {problem}.", param=kinds[-1] if kinds else "request")
    dialect = _find_dialect(parts, asked, required=kinds[0] != "key")
    frame = _frame(principal, caller, asked)
    if isinstance(asked, GetRequest) and isinstance(asked.key, str):
        _refuse(asked, ("endpoint", "headers", "ignore", "params"), "a key")
        target = _by_key(principal.tenant, asked.key, frame, dialect, "" if asked.model is UNSET else asked.model)
        return replace(target, policy=_policy(principal, frame, dialect, target.model, None, asked))
    assert dialect is not None, "required above"
    if isinstance(asked, GetRequest) and isinstance(asked.prompt, str):
        _refuse(asked, ("endpoint", "headers", "ignore", "params"), "a prompt")
        target = _by_prompt(principal.tenant, asked.prompt, frame, dialect, "" if asked.model is UNSET else asked.model)
        found = _policy(principal, frame, dialect, target.model, {"prompt": asked.prompt}, asked)
        return replace(target, policy=found)
    return _by_request(principal, _request_body(asked), frame, dialect, asked)


def named_target(principal: Principal, text: str, namespace: str | None = None, bucket: str = "") -> Target:
    """Return what a key alone means: 64 hex digits, or a name of the caller's own in a namespace."""
    frame = _Frame({}, Directives(), namespace or principal.namespace, namespace, bucket, ())
    return _by_key(principal.tenant, text, frame, None, "")


def native_key_beside(tenant: Tenant, key: bytes) -> bytes:
    """Return the native key for values that belong to `key` and are no answer of a provider."""
    return cache_key(tenant, _native_material(NATIVE, "", "", {"key": key.hex()}))


def is_hex_key(text: str) -> bool:
    """Say whether `text` is a cache key in hex digits."""
    return _HEX_KEY.fullmatch(text) is not None


def _find_dialect(parts: Parts, asked: Question, *, required: bool) -> Dialect | None:
    if isinstance(asked.provider, str):
        dialect = parts.dialects.get(asked.provider)
        if dialect is None:
            known = ", ".join(sorted(parts.dialects))
            raise InvalidMember(f"{asked.provider[:80]!r} is no provider here; known are {known}.", param="provider")
        return dialect
    if required:
        raise InvalidMember("'provider' is required.", param="provider")
    return None


def _frame(principal: Principal, caller: Caller, asked: Question) -> _Frame:
    given = {} if asked.headers is UNSET else {name.lower(): value for name, value in asked.headers.items()}
    directives = parse_directives(given)
    namespace = _one_of(
        "namespace",
        None if asked.namespace is UNSET else parse_name(asked.namespace, "namespace"),
        directives.namespace,
        caller.directives.namespace,
    )
    bucket = _one_of(
        "bucket", None if asked.bucket is UNSET else parse_name(asked.bucket, "bucket", 64), directives.bucket
    )
    ignored = set() if asked.ignore is UNSET else {parse_ignore_path(path) for path in asked.ignore}
    return _Frame(
        headers={**caller.headers, **given},
        directives=directives,
        namespace=namespace or principal.namespace,
        given_namespace=namespace,
        bucket=bucket or "",
        # In the order of the X-AgentCache-Ignore header, so that both ways of saying it make the same key.
        ignored=tuple(sorted(ignored | set(directives.ignore), key=str)),
    )


def _one_of(name: str, *given: str | None) -> str | None:
    found = {text for text in given if text}
    if len(found) > 1:
        raise InvalidMember(f"The {name} is given twice, and differently.", param=name)
    return found.pop() if found else None


def _refuse(asked: Question, names: tuple[str, ...], beside: str) -> None:
    for name in names:
        if getattr(asked, name) is not UNSET:
            raise InvalidMember(f"'{name}' belongs to a request, not to {beside}.", param=name)


def _by_key(tenant: Tenant, text: str, frame: _Frame, dialect: Dialect | None, model: str) -> Target:
    if is_hex_key(text):
        if frame.bucket:
            raise InvalidMember("A cache key holds its bucket already.", param="bucket")
        material = _native_material(NATIVE, "", "", {"key": text.lower()})
        key, label, only = bytes.fromhex(text), NATIVE, frame.given_namespace
    else:
        if not text.isprintable():
            raise InvalidMember("A key is 64 hex digits, or a name of printable characters.", param="key")
        material = _native_material(NATIVE, frame.namespace, frame.bucket, {"key": text})
        key, label, only = cache_key(tenant, material), text[:_LABEL_CHARACTERS_MAX], None
    return Target(
        key=key,
        native_key=cache_key(tenant, material),
        native_material=material,
        namespace=frame.namespace,
        bucket=frame.bucket,
        dialect=dialect,
        model=model,
        label=label,
        only_namespace=only,
    )


def _by_prompt(tenant: Tenant, prompt: str, frame: _Frame, dialect: Dialect, model: str) -> Target:
    body = {"prompt": prompt, "model": model}
    material = _native_material(dialect.name, frame.namespace, frame.bucket, body)
    key = cache_key(tenant, material)
    return Target(
        key=key,
        native_key=key,
        native_material=material,
        namespace=frame.namespace,
        bucket=frame.bucket,
        dialect=dialect,
        model=model,
    )


def _policy(
    principal: Principal, frame: _Frame, dialect: Dialect | None, model: str, body: Json | None, asked: Question
) -> Policy | None:
    """Return the team's policy for what is asked about, as the provider's route would find it."""
    if not principal.policies.policies:
        return None
    tags, sources = getattr(asked, "tags", UNSET), getattr(asked, "sources", UNSET)
    facts = Facts(
        dialect=dialect.name if dialect is not None else NATIVE,
        model=model,
        namespace=frame.namespace,
        tags=frame.directives.tags if tags is UNSET else tags,
        sources=frame.directives.sources if sources is UNSET else sources,
        body=body,
    )
    return principal.policies.find(facts)


def _all_ignored(frame: _Frame, policy: Policy | None, *, without_input: bool) -> tuple[tuple[str | int, ...], ...]:
    if policy is None or not policy.ignore:
        return frame.ignored
    found = {*frame.ignored, *policy.ignore}
    return tuple(sorted((path for path in found if not (without_input and path[0] == "input")), key=str))


def _by_request(principal: Principal, body: Json, frame: _Frame, dialect: Dialect, asked: Question) -> Target:
    tenant = principal.tenant
    endpoint, path_params = find_endpoint(dialect, body, None if asked.endpoint is UNSET else asked.endpoint)
    policy = _policy(principal, frame, dialect, model_of(endpoint, body), body, asked)
    if endpoint.kind is Kind.EMBEDDINGS:
        body = _as_one_item(body)
    keyed = key_body(body) if endpoint.kind is Kind.PREDICTION else body
    headers = {**_USUAL_HEADERS.get(dialect.name, {}), **frame.headers}
    material = key_material(
        dialect,
        endpoint,
        keyed,
        namespace=frame.namespace,
        bucket=frame.bucket,
        headers=key_headers(dialect, headers),
        path=tuple(sorted(path_params.items())),
        ignored=_all_ignored(frame, policy, without_input=endpoint.kind is Kind.EMBEDDINGS),
    )
    key = cache_key(tenant, material)
    native_material = _native_material(NATIVE, "", "", {"key": key.hex()})
    return Target(
        key=key,
        native_key=cache_key(tenant, native_material),
        native_material=native_material,
        namespace=frame.namespace,
        bucket=frame.bucket,
        dialect=dialect,
        endpoint=endpoint,
        request=body,
        material=material,
        model=model_of(endpoint, body),
        label=endpoint.name,
        policy=policy,
        bypass=_bypass(endpoint, body, headers, frame.directives)
        or (KEPT_OUT if policy is not None and not policy.stores else None),
    )


def _bypass(endpoint: Endpoint, body: Json, headers: dict[str, str], directives: Directives) -> str | None:
    """Return why the provider's route passes this request by, as that route itself decides it."""
    reason = endpoint.bypass(body, headers)
    if reason is None and endpoint.kind is Kind.PREDICTION:
        model_input = body.get("input")
        if not isinstance(model_input, dict):
            reason = "no_input"
        elif not has_seed(model_input) and "x-agentcache-mode" not in headers:
            reason = "no_seed"
    return reason or ("requested" if directives.is_bypass else None)


def _as_one_item(body: Json) -> Json:
    """Return an embeddings request as it is keyed: one item stands alone, however it was written."""
    items = split_input(body.get("input"))
    return {**body, "input": items[0]} if items is not None and len(items) == 1 else body


def _native_material(dialect: str, namespace: str, bucket: str, body: dict[str, Any]) -> KeyMaterial:
    return KeyMaterial(
        dialect=dialect,
        endpoint=NATIVE,
        origin="",
        namespace=namespace,
        bucket=bucket,
        headers=(),
        path=(),
        body=body,
    )


def _request_body(asked: Question) -> Json:
    if asked.request is not UNSET:
        for name in ("model", "params"):
            if getattr(asked, name) is not UNSET:
                raise InvalidMember(f"'{name}' belongs inside 'request'.", param=name)
        return asked.request
    if asked.model is UNSET:
        raise InvalidMember("'messages' needs 'model'.", param="model")
    params = {} if asked.params is UNSET else asked.params
    for name in ("model", "messages"):
        if name in params:
            raise InvalidMember(f"'{name}' is given twice.", param=f"params.{name}")
    return {"model": asked.model, "messages": asked.messages, **params}


def find_endpoint(dialect: Dialect, body: Json, asked: str | None) -> tuple[Endpoint, dict[str, str]]:
    """Return the operation that a request is for: the one named, or told from the request's members."""
    if asked is not None and asked.startswith("/"):
        found = dialect.find_endpoint("POST", asked)
        if found is not None and found[0].kind is not Kind.PASS:
            return found
    by_name = {endpoint.name: endpoint for endpoint in dialect.endpoints if endpoint.kind is not Kind.PASS}
    if asked is None:
        asked = next((name for name, fits in _SHAPES if name in by_name and fits(body)), None)
    if asked is not None and asked in by_name and "{" not in by_name[asked].path:
        return by_name[asked], {}
    choices = ", ".join(endpoint.path if "{" in endpoint.path else endpoint.name for endpoint in by_name.values())
    problem = (
        "Say which operation this is" if asked is None else f"{asked[:80]!r} is no cached operation of {dialect.name}"
    )
    raise InvalidMember(f"{problem}: 'endpoint' is one of {choices}.", param="endpoint")


def _has(*names: str) -> Any:
    return lambda body: all(name in body for name in names)


def _model_says(body: Mapping[str, Any], *words: str) -> bool:
    model = body.get("model")
    return isinstance(model, str) and any(word in model.lower() for word in words)


#: Operations in the order in which they are tried: (name, whether a body looks like one).
_SHAPES: tuple[tuple[str, Any], ...] = (
    ("chat.completions", _has("messages")),
    ("messages", _has("messages")),
    ("audio.speech", _has("input", "voice")),
    ("rerank", _has("query", "documents")),
    ("predictions", _has("version", "input")),
    ("embeddings", lambda body: "input" in body and _model_says(body, "embed", "bge-", "e5-", "gte-")),
    ("moderations", lambda body: "input" in body and ("model" not in body or _model_says(body, "moderation"))),
    ("responses", _has("input", "model")),
    ("embeddings", _has("input")),
    ("images.generations", lambda body: "prompt" in body and _model_says(body, "image", "dall-e", "flux", "diffusion")),
    ("completions", _has("prompt")),
)
assert KEY_BYTES * 2 == 64, "what a hex key looks like"
