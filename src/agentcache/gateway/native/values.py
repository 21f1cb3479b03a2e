"""The value of an entry as the native API shows it, whatever form it was stored in."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from agentcache.engine.entries import Entry, EntryMeta
from agentcache.gateway.calls import Parts
from agentcache.gateway.embeddings import stored_answer
from agentcache.gateway.hits import personalised
from agentcache.gateway.native.targets import NATIVE
from agentcache.gateway.predictions.files import absolute
from agentcache.gateway.predictions.fills import read_stored
from agentcache.gateway.predictions.outputs import replace_urls
from agentcache.providers.dialect import Dialect, Endpoint, Json, Kind
from agentcache.providers.sse import parse_events


def shown_value(parts: Parts, entry: Entry, request: Json | None = None) -> tuple[Any, str]:
    """Return an entry's value and how it is written: `json`, `base64` or `text`.

    A stored stream is shown as the plain answer it amounts to. With `request` the answer mirrors that request's own
    members, as the provider's route would answer it without `stream`.
    """
    meta = entry.meta
    endpoint = _find_endpoint(parts.dialects, meta)
    # An answer must lose the first caller's own members even where nobody says what this caller's are.
    asked: Json = request if request is not None else {"model": meta.model}
    if meta.streamed:
        if endpoint is None or endpoint.stream is None:
            return entry.body.decode("utf-8", "replace"), "text"
        joiner = endpoint.stream.joiner()
        for event in parse_events(entry.body):
            joiner.add(event)
        return personalised(endpoint, joiner.answer(), asked), "json"
    embedding = stored_answer(entry)
    if embedding is not None:
        return embedding, "json"
    if not meta.content_type.startswith("application/json"):
        return b64encode(entry.body).decode(), "base64"
    if endpoint is not None and endpoint.kind is Kind.PREDICTION:
        return _prediction(entry, parts.settings.origin, request), "json"
    if endpoint is not None and endpoint.echoed and not endpoint.echoed.isdisjoint(asked):
        return personalised(endpoint, msgspec.json.decode(entry.body), asked), "json"
    return msgspec.Raw(entry.body), "json"


def _prediction(entry: Entry, origin: str, request: Json | None) -> Any:
    """Return a prediction with its copied files on our host and, where it is known, this caller's own input."""
    stored = read_stored(entry)
    if stored is None:
        return msgspec.Raw(entry.body)
    prediction, files = stored
    shown = {**prediction, "output": replace_urls(prediction.get("output"), absolute(files, origin))}
    if request is not None and "input" in request:
        shown["input"] = request["input"]
    return shown


def key_space(meta: EntryMeta) -> str:
    """Say whether the provider's route serves an entry too."""
    return "native" if meta.endpoint == NATIVE else "provider"


def _find_endpoint(dialects: Mapping[str, Dialect], meta: EntryMeta) -> Endpoint | None:
    dialect = dialects.get(meta.dialect)
    if dialect is None:
        return None
    return next((endpoint for endpoint in dialect.endpoints if endpoint.name == meta.endpoint), None)
