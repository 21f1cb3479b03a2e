"""How one item's vector lies in an entry."""

from __future__ import annotations

from typing import Any

import msgspec

from agentcache.engine.entries import Entry
from agentcache.gateway.embeddings.vectors import Form, Vector, read_embedding
from agentcache.providers.dialect import Json

CONTENT_TYPE = "application/vnd.agentcache.embedding+msgpack"


class StoredVector(msgspec.Struct, array_like=True, frozen=True):
    """One item's vector, and the members of the provider's answer that stood around it."""

    form: Form
    #: Little-endian numbers, see `Form`.
    packed: bytes
    #: Top-level members of the answer besides `data` and `usage` (`object`, `model`).
    around: dict[str, Any]
    #: Members of the list item besides `index` and `embedding` (`object`).
    beside: dict[str, Any]
    #: Whether the provider reports usage; the number is in the entry's metadata.
    has_usage: bool
    #: This item's share of the tokens.
    tokens: int

    @property
    def vector(self) -> Vector:
        """The numbers."""
        return Vector.from_bytes(self.form, self.packed)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredVector).decode


def pack(stored: StoredVector) -> bytes:
    """Return the body of an entry."""
    return _encode(stored)


def unpack(entry: Entry) -> StoredVector | None:
    """Read an entry: a vector of ours, or a whole answer with one vector that somebody placed. None: unreadable."""
    if entry.meta.content_type == CONTENT_TYPE:
        try:
            return _decode(entry.body)
        except msgspec.DecodeError:
            return None
    try:
        answer = msgspec.json.decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _from_answer(answer, entry.meta.input_tokens)


def stored_answer(entry: Entry) -> Json | None:
    """Return the answer that an entry of ours stands for, with the vector as numbers; None for other entries."""
    found = unpack(entry) if entry.meta.content_type == CONTENT_TYPE else None
    if found is None:
        return None
    item = {**found.beside, "index": 0, "embedding": msgspec.json.decode(found.vector.as_json())}
    answer = {**found.around, "data": [item]}
    if found.has_usage:
        answer["usage"] = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return answer


def surroundings(answer: Json) -> Json:
    """Return the top-level members of an answer that every item keeps."""
    return {name: value for name, value in answer.items() if name not in ("data", "usage")}


def _from_answer(answer: Any, tokens: int) -> StoredVector | None:
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        return None
    vector = read_embedding(listed[0].get("embedding"))
    if vector is None:
        return None
    beside = {name: value for name, value in listed[0].items() if name not in ("index", "embedding")}
    return StoredVector(vector.form, vector.to_bytes(), surroundings(answer), beside, "usage" in answer, tokens)
