"""Scenario C8 end to end: what providers stream, cut anywhere on the wire, reads the same on a miss, a hit and as plain.

The codecs alone are tried with many more shapes in tests/unit/providers/test_replay_fidelity.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count as numbers
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentcache.gateway import fills, relay
from agentcache.providers.openai_responses import RESPONSE_STREAM
from tests.support.asgi_server import ASGIServer
from tests.support.gateway import LightGateway
from tests.support.reliability import record
from tests.support.tiers import count
from tests.unit.providers import sdk
from tests.unit.providers.generated import chat_streams, chunked
from tests.unit.providers.generated_messages import message_streams, responses

_numbers = numbers(1)


@dataclass
class Upstream:
    """A provider that answers every request with the same chunks."""

    chunks: list[bytes] = field(default_factory=list)
    calls: int = 0

    async def answer(self, asgi_scope: Any, receive: Any, send: Any) -> None:
        if asgi_scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        self.calls += 1
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Line:
    """Speaks to the gateway about one made-up stream after another."""

    gateway: LightGateway
    upstream: Upstream
    client: httpx.Client
    tried: int = 0

    def ask(self, path: str, request: dict[str, Any], **members: Any) -> httpx.Response:
        headers = {"x-agentcache-key": self.gateway.key(), "x-provider-key": "sk-test", "anthropic-version": "x"}
        return self.client.post(self.gateway.url + path, json={**request, **members}, headers=headers)

    def hit(self, path: str, request: dict[str, Any], **members: Any) -> bytes:
        before = self.upstream.calls
        response = self.ask(path, request, **members)
        assert response.headers["cache-status"].startswith("AgentCache; hit"), response.headers["cache-status"]
        assert self.upstream.calls == before
        return response.content


@pytest.fixture(scope="module")
def line(tmp_path_factory, _provider, request):
    upstream = Upstream()
    with ASGIServer(upstream.answer, interface="asgi3") as server:
        upstreams = {"AGENTCACHE_UPSTREAM_OPENAI": server.url, "AGENTCACHE_UPSTREAM_ANTHROPIC": server.url}
        folder = tmp_path_factory.mktemp("gateway")
        with LightGateway(folder, _provider, **upstreams) as gateway, httpx.Client(timeout=20) as client:
            line = Line(gateway, upstream, client)
            failed_before = request.session.testsfailed
            yield line
            if request.session.testsfailed == failed_before:
                record("C8", streams_end_to_end=line.tried, differences=0)


def shapes(number: int) -> Any:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=slow)


WITH_USAGE = {"stream_options": {"include_usage": True}}


def without_usage(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("usage", "obfuscation")}


@shapes(count(20, 60))
@given(chat_streams(), st.data())
def test_chat(line: Line, made: tuple[bytes, list[str], bool], data: st.DataObject) -> None:
    body, endings, _ = made
    line.upstream.chunks = data.draw(chunked(body))
    path = "/openai/v1/chat/completions"
    request = {"model": "m", "messages": [{"role": "user", "content": f"chat {next(_numbers)}"}]}
    original = sdk.chat_from_stream(body)

    first = line.ask(path, request, stream=True)
    assert first.status_code == 200
    assert without_usage(sdk.chat_from_stream(first.content)) == without_usage(original)
    assert b'"usage"' not in first.content or "usage" not in sdk.chat_from_stream(first.content)
    line.tried += 1
    refused = {"length", "content_filter"} & set(endings)
    if refused or "refusal" in str(original["choices"]) or not _says_something(original):
        again = line.ask(path, request, stream=True, **WITH_USAGE)
        assert "fwd=miss" in again.headers["cache-status"]
        return
    assert line.hit(path, request, stream=True) == first.content
    with_usage = sdk.chat_from_stream(line.hit(path, request, stream=True, **WITH_USAGE))
    assert with_usage == {k: v for k, v in original.items() if k != "obfuscation"}
    plain = httpx.Response(200, content=line.hit(path, request)).json()
    assert without_usage(sdk.chat_from_plain(plain)) == without_usage(original)


def _says_something(answer: dict[str, Any]) -> bool:
    return all(choice["message"].get("content") or choice["message"].get("tool_calls") for choice in answer["choices"])


@shapes(count(20, 50))
@given(message_streams(), st.data())
def test_messages(line: Line, body: bytes, data: st.DataObject) -> None:
    line.upstream.chunks = data.draw(chunked(body))
    path = "/anthropic/v1/messages"
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"message {next(_numbers)}"}]}
    original = sdk.message_from_stream(body)
    assert line.ask(path, request, stream=True).content == body
    assert line.hit(path, request, stream=True) == body
    plain = httpx.Response(200, content=line.hit(path, request)).json()
    assert sdk.message_from_plain(plain) == original
    line.tried += 1


@shapes(count(20, 40))
@given(responses(), st.data())
def test_responses(line: Line, answer: dict[str, Any], data: st.DataObject) -> None:
    body = RESPONSE_STREAM.split(answer, {"model": "m", "stream": True, "metadata": answer["metadata"]})
    line.upstream.chunks = data.draw(chunked(body))
    path = "/openai/v1/responses"
    request = {"model": "m", "input": f"response {next(_numbers)}", "metadata": answer["metadata"]}
    original = sdk.response_from_stream(body)
    first = line.ask(path, request, stream=True).content
    assert sdk.response_from_stream(first) == original
    assert line.hit(path, request, stream=True) == first
    plain = httpx.Response(200, content=line.hit(path, request)).json()
    assert sdk.response_from_plain(plain) == original[0]
    line.tried += 1


def test_the_first_event_of_a_stream_that_comes_at_once_does_not_wait_for_the_rest(line, monkeypatch):
    order = []

    async def keep(*arguments: Any) -> None:
        order.append("kept")
        await really_keep(*arguments)

    async def relay_events(*arguments: Any, **named: Any) -> None:
        order.append("relayed")
        await really_relay(*arguments, **named)

    really_keep, really_relay = fills._keep, relay._relay_events
    monkeypatch.setattr(fills, "_keep", keep)
    monkeypatch.setattr(relay, "_relay_events", relay_events)
    events = [{"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}}]} for _ in range(20)]
    events.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    line.upstream.chunks = [b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in events) + b"data: [DONE]\n\n"]
    request = {"model": "m", "messages": [{"role": "user", "content": "all at once"}], "stream": True}
    assert line.ask("/openai/v1/chat/completions", request).content.endswith(b"data: [DONE]\n\n")
    assert order == ["relayed", "kept"]
