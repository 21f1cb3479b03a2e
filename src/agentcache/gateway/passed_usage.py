"""What an answer that the cache took no part in cost, read from a copy of it; the answer itself is not touched."""

from __future__ import annotations

from agentcache.gateway.calls import Call
from agentcache.gateway.whole_answers import decoded_object
from agentcache.kit.egress.upstream import UpstreamResponse
from agentcache.kit.errors import AgentCacheError
from agentcache.providers.dialect import Endpoint, Json, Kind, Usage
from agentcache.providers.sse import SSEParser

_COUNTED = frozenset({Kind.ANSWER, Kind.EMBEDDINGS})


class PassedUsage:
    """Keeps a copy of an answer while it passes, as long as it is small enough to be read."""

    def __init__(self, call: Call, response: UpstreamResponse) -> None:
        self._call = call
        headers = {name: value.decode("latin-1").lower() for name, value in response.headers}
        self._is_stream = headers.get(b"content-type", "").startswith("text/event-stream")
        self._left = call.parts.settings.entry_max_bytes
        endpoint = call.endpoint
        self._is_good = 200 <= response.status < 300
        is_readable = self._is_good and b"content-encoding" not in headers
        self._endpoint = endpoint if endpoint is not None and endpoint.kind in _COUNTED and is_readable else None
        self._copy: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._endpoint is None:
            return
        self._left -= len(chunk)
        if self._left < 0:
            self._endpoint = None
            self._copy.clear()
        else:
            self._copy.append(chunk)

    def figures(self) -> tuple[Usage, int]:
        """Return tokens and cost (1e-9 USD); where the answer does not tell, none and a request's own price, if it has one."""
        endpoint = self._endpoint
        answer = self._answer(endpoint) if endpoint is not None else None
        if endpoint is None or answer is None:
            return Usage(), self._call.price(Usage()) if self._is_good else 0
        usage = endpoint.usage(answer)
        return usage, self._call.price(usage, answer)

    def _answer(self, endpoint: Endpoint) -> Json | None:
        body = b"".join(self._copy)
        if not self._is_stream:
            return decoded_object(body)
        if endpoint.stream is None:
            return None
        joiner = endpoint.stream.joiner()
        try:
            for event in SSEParser(len(body) + 1).feed(body):
                joiner.add(event)
        except AgentCacheError:
            return None
        return joiner.answer() if joiner.finished else None
