"""An embedder behind any service that speaks OpenAI's embeddings: the operator names model and base URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agentcache.engine.semantic.embedders.fingerprints import PROBES, fingerprint
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, Meanwhile, Vector, estimated_tokens
from agentcache.kit.clock import Clock
from agentcache.kit.egress.upstream import UpstreamClient, UpstreamResponse, UpstreamTimeouts
from agentcache.kit.errors import AgentCacheError

#: How often the service is asked for the probes again, together with a caller's texts.
IDENTIFY_SECONDS: Final = 600.0
_CONNECTIONS: Final = 16
_ANSWER_BYTES_MAX: Final = 32 << 20
#: The caller's deadline is shorter; these only keep a forgotten call from staying for ever.
_TIMEOUTS: Final = UpstreamTimeouts(connect=5, first_byte=30, idle=10, total=60)


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]
    model: str = ""


_decode: Final = msgspec.json.Decoder(_Answer).decode


class OpenAIEmbedder:
    """Vectors of a service. Its id holds a fingerprint, so that a model that changed behind its name is another one."""

    def __init__(self, model: str, base_url: str, *, api_key: str | None, is_multilingual: bool, clock: Clock) -> None:
        self.is_multilingual = is_multilingual
        self._model = model
        self._url = f"{base_url}/embeddings" if urlsplit(base_url).path else f"{base_url}/v1/embeddings"
        self._headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        if api_key:
            self._headers.append((b"authorization", b"Bearer " + api_key.encode()))
        self._clock = clock
        self._client = UpstreamClient(_CONNECTIONS)
        self._fingerprint = ""
        self._dimensions = 0
        self._answered_as = ""
        self._identified_at = 0.0

    @property
    def id(self) -> str:
        """Model, address and fingerprint; the last only once the service has answered."""
        return f"openai:{self._model}@{self._url}:{self._fingerprint}"

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 before the first answer."""
        return self._dimensions

    async def embed(
        self, texts: Sequence[str], *, seconds: float | None = None, meanwhile: Meanwhile | None = None
    ) -> list[Vector]:
        """Return one vector per text; the deadline is the wrapper's business."""
        if meanwhile is not None:
            # Nothing beside the way to the service; and what it finds unfit is not sent.
            meanwhile()
        is_due = not self._fingerprint or self._clock.monotonic() - self._identified_at > IDENTIFY_SECONDS
        asked = [*texts, *PROBES] if is_due else list(texts)
        answered_as, vectors = await self._ask(asked)
        if is_due:
            self._identify(answered_as, vectors[len(texts) :])
        elif answered_as != self._answered_as or len(vectors[0]) != self._dimensions:
            # What it answers now was not made by the model whose fingerprint is in the id.
            self._fingerprint = ""
            raise EmbedderUnavailable("the embedding service answers with another model than before")
        return vectors[: len(texts)]

    def count_tokens(self, text: str) -> int:
        """Return an estimate: the service's own way of counting is not known."""
        return estimated_tokens(text)

    def pieces(self, text: str) -> bytes:
        """Return nothing: the service gives vectors of whole texts."""
        return b""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _identify(self, answered_as: str, probes: Sequence[Vector]) -> None:
        self._fingerprint, self._dimensions = fingerprint(probes), len(probes[0])
        self._answered_as, self._identified_at = answered_as, self._clock.monotonic()

    async def _ask(self, texts: Sequence[str]) -> tuple[str, list[Vector]]:
        import numpy as np

        body = msgspec.json.encode({"model": self._model, "input": texts, "encoding_format": "float"})
        try:
            response = await self._client.send("POST", self._url, self._headers, body, _TIMEOUTS)
            raw = await _read(response)
        except AgentCacheError as wrong:
            raise EmbedderUnavailable(wrong.message) from wrong
        if response.status != 200:
            raise EmbedderUnavailable(f"the embedding service answered {response.status}")
        try:
            answer = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise EmbedderUnavailable("the embedding service sent an answer that cannot be read") from wrong
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(len(texts))):
            raise EmbedderUnavailable(f"the embedding service gave {len(items)} vectors for {len(texts)} texts")
        if len({len(item.embedding) for item in items}) != 1 or not items[0].embedding:
            raise EmbedderUnavailable("the embedding service gave vectors of different lengths")
        with np.errstate(over="ignore"):  # infinity is what the check of vectors looks for
            return answer.model, [np.array(item.embedding, np.float32) for item in items]


async def _read(response: UpstreamResponse) -> bytes:
    raw = bytearray()
    try:
        async for piece in response.chunks():
            raw += piece
            if len(raw) > _ANSWER_BYTES_MAX:
                raise EmbedderUnavailable("the embedding service sent more than can be meant")
    finally:
        await response.aclose()
    return bytes(raw)
