"""What a provider's API is to us: a table of endpoints, and for each one what the cache has to know.

Everything here is data and pure functions. The gateway does the moving of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = dict[str, Any]
#: Request headers, names in lower case.
Headers: TypeAlias = Mapping[str, str]


class Kind(Enum):
    """How the gateway treats an endpoint."""

    ANSWER = "answer"  # one request, one JSON answer, perhaps streamed
    EMBEDDINGS = "embeddings"  # cached per input item
    PREDICTION = "prediction"  # a job that is created, then polled (Replicate)
    BINARY = "binary"  # JSON in, bytes out (speech)
    PASS = "pass"  # forwarded untouched, never cached


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer. `input_tokens` includes the cached ones, whatever the dialect's own habit."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    #: Billed seconds, for models priced by time (Replicate `metrics.predict_time`).
    predict_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer may be stored, and the reason (a stable snake_case word, shown in `Cache-Status` detail)."""

    storable: bool
    reason: str = "complete"


COMPLETE = Verdict(True)


@dataclass(frozen=True, slots=True)
class SSEEvent:
    """One server-sent event: its raw bytes (with the closing blank line), its name and its data."""

    raw: bytes
    event: str = ""
    data: bytes = b""


class Joiner(Protocol):
    """Reads a live stream event by event and knows whether it ended well."""

    #: True once the stream said that it is over: the dialect's terminal event, or an error event, was seen. What
    #: came may be worthless all the same; `verdict` tells.
    finished: bool

    def add(self, event: SSEEvent) -> None:
        """Take the next event in order. Never raises: what it cannot read makes `verdict` say no."""

    def verdict(self) -> Verdict:
        """Judge the stream as it stands; not storable before the terminal event."""

    def answer(self) -> Json:
        """Return the plain answer that the same request would have got with `stream: false`."""


class StreamCodec(Protocol):
    """How one endpoint streams."""

    def joiner(self) -> Joiner:
        """Return a fresh reader for one stream."""

    def split(self, answer: Json, request: Json) -> bytes:
        """Turn a plain answer into the whole SSE body that `request` (its body, `stream: true`) would have got."""

    def passes_all(self, request: Json) -> bool:
        """Say whether `for_client` would return every stored event unchanged for `request` (the fast path)."""

    def for_client(self, event: SSEEvent, request: Json) -> bytes | None:
        """Return the event's bytes as this caller should see them, or None to leave it out.

        We ask upstream for more than the caller did (`stream_options.include_usage`), so the extra must go.
        """

    def replay(self, body: bytes, request: Json) -> bytes:
        """Return a whole stored stream as this caller should see it: `for_client` over its events, in one go."""

    def error_event(self, code: str, message: str) -> bytes:
        """Return the event that tells this dialect's SDKs that the stream failed midway."""


def never(_body: Json, _headers: Headers) -> str | None:
    """Bypass nothing."""
    return None


def unchanged(body: Json) -> Json:
    """Send what the caller sent."""
    return body


def no_usage(_answer: Json) -> Usage:
    """Report no usage."""
    return Usage()


def always_complete(_answer: Json) -> Verdict:
    """Accept any well-formed 2xx answer."""
    return COMPLETE


def as_stored(answer: Json, _request: Json) -> Json:
    """Replay an answer as it was stored."""
    return answer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of a provider's API.

    `path` is the provider's own path from `/v1` on, with `{name}` for one segment. All functions are pure.
    """

    name: str
    path: str
    kind: Kind = Kind.ANSWER
    method: str = "POST"
    #: Top-level body members outside the cache key. Everything not named here is in the key.
    ignored: frozenset[str] = frozenset()
    #: Member names dropped at any depth before keying (`cache_control`, `prompt_cache_breakpoint`).
    ignored_anywhere: frozenset[str] = frozenset()
    #: Reason (snake_case) why this request must not be answered from the cache, or None.
    bypass: Callable[[Json, Headers], str | None] = never
    #: The body to send upstream, from the caller's. Must not modify its argument.
    prepare: Callable[[Json], Json] = unchanged
    #: Judges a whole plain 2xx answer.
    judge: Callable[[Json], Verdict] = always_complete
    usage: Callable[[Json], Usage] = no_usage
    #: Members of a stored answer that mirror the request's ignored members (`metadata`, `user`), set anew on replay.
    personalise: Callable[[Json, Json], Json] = as_stored
    #: Names of request members that make `personalise` do something; when none is present it is not called.
    echoed: frozenset[str] = frozenset()
    stream: StreamCodec | None = None
    #: Body member that names the model, for metering, pricing and the entry's readable path.
    model_member: str = "model"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's API: where it lives, what it calls things, and its endpoints."""

    name: str
    #: Default base URL, with or without a trailing `/v1`; `AGENTCACHE_UPSTREAM_<NAME>` overrides it.
    upstream: str
    endpoints: tuple[Endpoint, ...]
    #: Request headers that change the answer and so belong in the key, lower case.
    key_headers: tuple[str, ...] = ()
    #: Request headers that may carry a credential in this dialect, lower case.
    credential_headers: tuple[str, ...] = ("authorization",)
    #: How a provider credential is presented: header name and value prefix.
    credential_form: tuple[str, str] = ("authorization", "Bearer ")
    #: Our own error in this dialect's shape: (status, code, message, param) -> JSON body.
    error: Callable[[int, str, str, str | None], Json] = lambda _s, code, message, param: {
        "error": {"message": message, "type": "agentcache_error", "param": param, "code": code}
    }
    #: Reads something that costs nothing and needs a credential: shows whether one works.
    probe_path: str = "/v1/models"
    #: Headers that the probe needs besides the credential.
    probe_headers: tuple[tuple[str, str], ...] = ()
    #: Provider id in the price data; empty when unknown.
    price_provider: str = ""
    #: Paths of calls that cost nothing though they are POSTs; a segment `{…}` stands for any.
    free_posts: tuple[str, ...] = ()
    #: Hosts (exact or `*.suffix`) from which output files are copied into our store.
    file_hosts: tuple[str, ...] = ()
    #: What people call the provider; as its name where it is empty.
    title: str = ""
    _exact: dict[tuple[str, str], Endpoint] = field(init=False, repr=False, compare=False)
    _patterns: tuple[tuple[tuple[str, ...], Endpoint], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact = {(e.method, e.path): e for e in self.endpoints if "{" not in e.path}
        patterns = tuple((tuple(e.path.split("/")), e) for e in self.endpoints if "{" in e.path)
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def is_free(self, method: str, path: str) -> bool:
        """Say whether a call costs nothing whatever its answer: it only reads or removes, or the provider charges nothing."""
        if method in _FREE_METHODS:
            return True
        segments = path.split("/")
        patterns = (free.split("/") for free in self.free_posts)
        return any(len(one) == len(segments) and _match(one, segments) is not None for one in patterns)

    def find_endpoint(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """Return the endpoint for a provider path and its path parameters, or None for a pass-through."""
        endpoint = self._exact.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        if self._patterns:
            segments = path.split("/")
            for pattern, candidate in self._patterns:
                if candidate.method == method and len(pattern) == len(segments):
                    found = _match(pattern, segments)
                    if found is not None:
                        return candidate, found
        return None


#: Nobody charges for looking, and for taking something away.
_FREE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


def _match(pattern: Sequence[str], segments: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for expected, actual in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not actual:
                return None
            found[expected[1:-1]] = actual
        elif expected != actual:
            return None
    return found
