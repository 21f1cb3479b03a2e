"""Together's official client, unchanged but for base URL and key."""

from __future__ import annotations

from typing import Any

import pytest
import together

from tests.support.sdk_results import plain

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}, "minutes": {"type": "integer"}}}


def said(text: Any) -> list[Any]:
    return [{"role": "user", "content": text}]


CHAT: dict[str, dict[str, Any]] = {
    "text": {"messages": said("Which port?"), "temperature": 0.1, "seed": 5},
    "unicode": {"messages": said("naïve 👩‍👩‍👧 \u2028 text"), "stop": ["END"]},
    "two choices": {"messages": said("Name one."), "n": 2},
    "tool": {"messages": said("Weather in Oslo?"), "tools": [TOOL]},
    "structured": {
        "messages": said("A recipe."),
        "response_format": {"type": "json_schema", "json_schema": {"name": "recipe", "schema": SCHEMA}},
    },
    "vision": {
        "messages": said(
            [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ]
        )
    },
}
ELSEWHERE: dict[str, Any] = {
    "completion": lambda c: c.completions.create(model=MODEL, prompt="Once"),
    "completion stream": lambda c: c.completions.create(model=MODEL, prompt="Once", stream=True),
    "embedding": lambda c: c.embeddings.create(model="BAAI/bge-base-en-v1.5", input="one"),
    "embeddings": lambda c: c.embeddings.create(model="BAAI/bge-base-en-v1.5", input=["a", "b"]),
    "rerank": lambda c: c.rerank.create(
        model="Salesforce/Llama-Rank-V1", query="red fox", documents=["a red fox", "a dog"], return_documents=True
    ),
    "image": lambda c: c.images.generate(
        model="black-forest-labs/FLUX.1-schnell", prompt="A fox", seed=3, response_format="base64"
    ),
    "speech": lambda c: c.audio.speech.create(model="cartesia/sonic", input="Hello", voice="friendly"),
}


@pytest.fixture
async def client(desk, is_async):
    kind = together.AsyncTogether if is_async else together.Together
    api_key, headers = desk.keys()
    client = kind(base_url=f"{desk.gateway.url}/together", api_key=api_key, default_headers=headers)
    yield client
    await client.close() if is_async else client.close()


def said_in(chunks: list[Any]) -> str:
    return "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)


@pytest.mark.parametrize("streamed_first", [False, True], ids=["plain first", "stream first"])
@pytest.mark.parametrize("case", CHAT)
async def test_chat_twice_in_both_forms(desk, client, case, streamed_first):
    def whole() -> Any:
        return client.chat.completions.create(model=MODEL, **CHAT[case])

    def stream() -> Any:
        return client.chat.completions.create(model=MODEL, **CHAT[case], stream=True)

    one, other = (stream, whole) if streamed_first else (whole, stream)
    results = [await desk.repeats(one), await desk.hit(other)]
    chunks, answer = results if streamed_first else results[::-1]
    message = answer["choices"][0]["message"]
    if "tools" in CHAT[case]:
        deltas = [delta for chunk in chunks for delta in chunk["choices"][0]["delta"].get("tool_calls") or []]
        arguments = "".join(delta["function"]["arguments"] for delta in deltas)
        assert arguments == message["tool_calls"][0]["function"]["arguments"]
    elif CHAT[case].get("n", 1) == 1:
        assert said_in(chunks) == message["content"] != ""
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]]
    assert ends == [choice["finish_reason"] for choice in answer["choices"]]
    assert [chunk["usage"] for chunk in chunks if chunk["usage"]] == [answer["usage"]]


@pytest.mark.parametrize("case", ELSEWHERE)
async def test_other_endpoints_twice(desk, client, case):
    await desk.repeats(lambda: ELSEWHERE[case](client))


async def test_pictures_without_a_seed_are_the_providers_business(desk, client):
    for _ in range(2):
        await plain(client.images.generate(model="black-forest-labs/FLUX.1-schnell", prompt="A fox"))
    assert desk.provider.call_count == 2
    assert [reply.cache_status for reply in desk.replies()] == [
        "AgentCache; fwd=bypass; fwd-status=200; detail=no_seed"
    ] * 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, together.AuthenticationError),
        (404, together.NotFoundError),
        (429, together.RateLimitError),
        (500, together.InternalServerError),
    ],
)
async def test_the_providers_errors_are_the_clients_exceptions(desk, client, status, kind):
    desk.provider.script(status=status, times=None)
    with pytest.raises(kind) as caught:
        await plain(client.with_options(max_retries=0).chat.completions.create(model=MODEL, messages=said("Fail")))
    assert caught.value.status_code == status
    assert desk.provider.call_count == 1


async def own_error(desk, client, kind, code, **options):
    desk.replies()
    with pytest.raises(kind) as caught:
        await plain(client.chat.completions.create(**{"model": MODEL, "messages": said("Refused"), **options}))
    assert caught.value.body["error"]["code"] == code
    assert len(desk.replies()) == 1, "no retries"
    assert desk.provider.call_count == 0


async def test_our_own_errors_are_the_clients_exceptions(desk, client):
    await own_error(
        desk, client, together.BadRequestError, "invalid_directive", extra_headers={"Cache-Control": "max-stale=3"}
    )
    await own_error(
        desk, client, together.InternalServerError, "not_cached", extra_headers={"Cache-Control": "only-if-cached"}
    )
    await own_error(
        desk, client, together.APIStatusError, "payload_too_large",
        messages=said("x" * desk.gateway.settings.body_max_bytes),
    )  # fmt: skip
    keyless = client.with_options(api_key=desk.key, set_default_headers={})
    await own_error(desk, keyless, together.AuthenticationError, "provider_key_missing")
    bad = desk.key[:-1] + ("A" if desk.key[-1] != "A" else "B")
    stranger = client.with_options(api_key=bad, set_default_headers={"X-Provider-Key": "sk-x"})
    await own_error(desk, stranger, together.AuthenticationError, "invalid_agentcache_key")
