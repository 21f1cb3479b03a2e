"""OpenAI's official client, unchanged but for base URL and key."""

from __future__ import annotations

import json
from array import array
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.sdk_results import plain
from tests.unit.providers.sdk import settled

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


class Recipe(BaseModel):
    title: str
    steps: list[str]
    minutes: int


def said(text: Any) -> list[Any]:
    return [{"role": "user", "content": text}]


CHAT: dict[str, dict[str, Any]] = {
    "text": {"messages": said("Which port does it listen on?")},
    "conversation": {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            *said("naïve 👩‍👩‍👧 \u2028 text"),
            {"role": "assistant", "content": "Yes."},
            *said("Go on."),
        ],
        "temperature": 0.2,
        "seed": 7,
        "stop": ["END"],
    },
    "three choices": {"messages": said("Name one."), "n": 3},
    "logprobs": {"messages": said("Score it."), "logprobs": True},
    "vision": {
        "messages": said(
            [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
            ]
        )
    },
    "json object": {"messages": said("Answer in JSON."), "response_format": {"type": "json_object"}},
    "tool": {
        "messages": said("Weather in Oslo?"),
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}],
    },
    "tool answered": {
        "messages": [
            *said("Weather in Oslo?"),
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}],
    },
}
RESPONSES: dict[str, dict[str, Any]] = {
    "text": {"input": "Which port?", "instructions": "Be brief."},
    "items": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello 👋"}]}]},
    "vision": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                ],
            }
        ]
    },
    "reasoning": {"input": "Think.", "reasoning": {"effort": "low"}},
    "tool": {
        "input": "Weather in Oslo?",
        "tools": [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}],
    },
    "not stored": {"input": "Keep nothing.", "store": False},
}
ELSEWHERE: dict[str, Any] = {
    "completion": lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt=["Once", "Twice"], echo=True),
    "completion stream": lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once", stream=True),
    "embedding": lambda c: c.embeddings.create(model="text-embedding-3-small", input="one text"),
    "embeddings": lambda c: c.embeddings.create(
        model="text-embedding-3-small", input=["a", "b", "a"], dimensions=16, encoding_format="float"
    ),
    "embedding of tokens": lambda c: c.embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]]),
    "image": lambda c: c.images.generate(model="gpt-image-1", prompt="A red square", n=2),
    "moderation": lambda c: c.moderations.create(model="omni-moderation-latest", input=["kill it", "hello"]),
    "speech": lambda c: c.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input="Hello"),
}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
async def client(desk, is_async):
    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    api_key, headers = desk.keys()
    client = kind(base_url=f"{desk.gateway.url}/openai/v1", api_key=api_key, default_headers=headers)
    yield client
    await client.close() if is_async else client.close()


@pytest.mark.parametrize("case", CHAT)
async def test_chat_twice(desk, client, case):
    first = await desk.repeats(lambda: client.chat.completions.create(model="gpt-4o-mini", **CHAT[case]))
    assert first["choices"][0]["message"]["content"] or first["choices"][0]["message"]["tool_calls"]


@pytest.mark.parametrize("case", CHAT)
async def test_chat_streamed_twice(desk, client, case):
    def ask(**options: Any) -> Any:
        return client.chat.completions.create(model="gpt-4o-mini", **CHAT[case], stream=True, **options)

    first = await desk.repeats(ask)
    assert not any(chunk["usage"] for chunk in first)
    with_usage = await desk.hit(lambda: ask(stream_options={"include_usage": True}))
    assert with_usage[-1]["usage"]["total_tokens"] > 0
    assert with_usage[-1]["choices"] == []


@pytest.mark.parametrize("streamed_first", [False, True], ids=["plain first", "stream first"])
@pytest.mark.parametrize("case", CHAT)
async def test_chat_in_the_other_form(desk, client, case, streamed_first):
    def whole() -> Any:
        return client.chat.completions.create(model="gpt-4o-mini", **CHAT[case])

    def stream() -> Any:
        return client.chat.completions.stream(model="gpt-4o-mini", stream_options={"include_usage": True}, **CHAT[case])

    one, other = (stream, whole) if streamed_first else (whole, stream)
    results = [await desk.first(one), await desk.hit(other), await desk.hit(one)]
    finals = [result.get("final", result) for result in results]
    assert settled(finals[0]) == settled(finals[1]) == settled(finals[2])
    assert results[0] == results[2]


@pytest.mark.parametrize("case", RESPONSES)
async def test_responses_twice_and_streamed_twice(desk, client, case):
    def ask(**options: Any) -> Any:
        return client.responses.create(model="gpt-5.2", **RESPONSES[case], **options)

    first = await desk.repeats(ask)
    events = await desk.hit(lambda: ask(stream=True))
    assert events[-1]["type"] == "response.completed"
    assert settled(events[-1]["response"]) == settled(first)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("case", RESPONSES)
async def test_responses_streamed_first(desk, client, case):
    def stream() -> Any:
        return client.responses.stream(model="gpt-5.2", **RESPONSES[case])

    first = await desk.repeats(stream)
    whole = await desk.hit(lambda: client.responses.create(model="gpt-5.2", **RESPONSES[case]))
    assert settled(whole) == settled(first["final"])


@pytest.mark.parametrize("case", ELSEWHERE)
async def test_other_endpoints_twice(desk, client, case):
    await desk.repeats(lambda: ELSEWHERE[case](client))


async def test_structured_output_is_parsed_alike_in_every_form(desk, client):
    def chat() -> Any:
        return client.chat.completions.parse(model="gpt-4o", messages=said("A recipe."), response_format=Recipe)

    def chat_stream() -> Any:
        return client.chat.completions.stream(model="gpt-4o", messages=said("A recipe."), response_format=Recipe)

    def response() -> Any:
        return client.responses.parse(model="gpt-5.2", input="A recipe.", text_format=Recipe)

    def response_stream() -> Any:
        return client.responses.stream(model="gpt-5.2", input="A recipe.", text_format=Recipe)

    parsed = (await desk.repeats(chat))["choices"][0]["message"]["parsed"]
    assert Recipe.model_validate(parsed).steps
    assert (await desk.hit(chat_stream))["final"]["choices"][0]["message"]["parsed"] == parsed

    streamed = (await desk.repeats(response_stream))["final"]["output"][0]["content"][0]["parsed"]
    assert Recipe.model_validate(streamed).steps
    assert (await desk.hit(response))["output"][0]["content"][0]["parsed"] == streamed


async def test_several_tool_calls_in_one_answer(desk, client):
    desk.provider.script(tool_calls=3)
    options = {"model": "gpt-4o", **CHAT["tool"]}
    first = await desk.first(lambda: client.chat.completions.stream(**options))
    calls = [call["function"] for call in first["final"]["choices"][0]["message"]["tool_calls"]]
    assert len(calls) == 3
    whole = await desk.hit(lambda: client.chat.completions.create(**options))
    assert [call["function"]["arguments"] for call in whole["choices"][0]["message"]["tool_calls"]] == [
        call["arguments"] for call in calls
    ]
    assert all(json.loads(call["arguments"]) for call in calls)


async def test_embeddings_as_numbers_and_packed_share_an_entry(desk, client):
    options = {"model": "text-embedding-3-small", "input": ["one", "two"]}
    packed = await desk.first(lambda: client.embeddings.create(**options))
    floats = await desk.hit(lambda: client.embeddings.create(**options, encoding_format="float"))
    for one, other in zip(packed["data"], floats["data"], strict=True):
        # Numbers are spelled with as many digits as their 32 bits need.
        assert array("f", one["embedding"]) == array("f", other["embedding"])
    assert json.loads(desk.provider.calls[-1].body)["encoding_format"] == "base64"


async def test_the_client_sees_the_hit_itself(desk, client):
    ask = client.chat.completions.with_raw_response.create
    for expected in ("fwd=miss; fwd-status=200; stored", "hit"):
        made = ask(model="gpt-4o", messages=said("Raw?"))
        raw = await made if not hasattr(made, "headers") else made
        assert raw.headers["cache-status"].startswith(f"AgentCache; {expected}")


async def test_aliases_of_the_route_share_the_entry(desk, client):
    options = {"model": "gpt-4o", "messages": said("Which route?")}
    first = await desk.first(lambda: client.chat.completions.create(**options))
    for path in ("/v1", "/api/v1"):
        other = client.with_options(base_url=desk.gateway.url + path)
        assert await desk.hit(lambda other=other: other.chat.completions.create(**options)) == first


ERRORS = [
    (401, openai.AuthenticationError, "invalid_api_key"),
    (403, openai.PermissionDeniedError, "forbidden"),
    (404, openai.NotFoundError, "not_found"),
    (422, openai.UnprocessableEntityError, None),
    (429, openai.RateLimitError, "rate_limit_exceeded"),
    (500, openai.InternalServerError, None),
    (503, openai.InternalServerError, "service_unavailable"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("status", "kind", "code"), ERRORS)
async def test_the_providers_errors_are_the_clients_exceptions(desk, client, status, kind, code, stream):
    desk.provider.script(status=status, times=None)
    with pytest.raises(kind) as caught:
        await plain(
            client.with_options(max_retries=0).chat.completions.create(
                model="gpt-4o", messages=said("Fail"), stream=stream
            )
        )
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert desk.provider.call_count == 1
    desk.provider.clear_scripts()
    await desk.first(lambda: client.chat.completions.create(model="gpt-4o", messages=said("Fail"), stream=stream))


async def test_the_clients_own_retries_still_work(desk, client):
    desk.provider.script(status=500, headers=(("retry-after-ms", "1"),))
    answer = await plain(client.chat.completions.create(model="gpt-4o", messages=said("Again")))
    assert answer["choices"][0]["message"]["content"].endswith("#2")
    assert desk.provider.call_count == 2


async def test_an_error_in_the_middle_of_a_stream_is_raised_and_nothing_is_kept(desk, client):
    def ask() -> Any:
        return client.chat.completions.create(model="gpt-4o", messages=said("Break"), stream=True)

    desk.provider.script(error_after=4)
    with pytest.raises(openai.APIError, match="The server had an error"):
        await plain(ask())
    await desk.first(ask)


@pytest.mark.parametrize("fault", [{"fin_after_chunks": 3}, {"rst_after_chunks": 3}, {"no_terminal": True}])
async def test_a_cut_stream_never_looks_finished(desk, client, fault):
    desk.provider.script(**fault)
    with pytest.raises(openai.APIError) as caught:
        await plain(client.chat.completions.create(model="gpt-4o", messages=said("Cut"), stream=True))
    assert caught.value.code == "upstream_stream_cut" if "no_terminal" in fault else "upstream_invalid"
    await desk.first(lambda: client.chat.completions.create(model="gpt-4o", messages=said("Cut"), stream=True))


async def own_error(desk, client, kind, code, **options):
    """Ask for what AgentCache itself refuses: the client's exception with our code, and asked once only."""
    desk.replies()
    with pytest.raises(kind) as caught:
        await plain(client.chat.completions.create(model="gpt-4o", messages=said("Refused"), **options))
    assert caught.value.code == code
    replies = desk.replies()
    assert len(replies) == 1, "no retries"
    assert replies[0].headers["x-agentcache-error"] == code
    assert desk.provider.call_count == 0
    return caught.value


async def test_our_own_errors_are_the_clients_exceptions(desk, client):
    error = await own_error(
        desk, client, openai.BadRequestError, "invalid_directive", extra_headers={"X-AgentCache-Mode": "sometimes"}
    )
    assert error.param == "x-agentcache-mode"
    assert "sometimes" in error.message
    error = await own_error(
        desk, client, openai.BadRequestError, "invalid_directive", extra_headers={"X-AgentCache-Ttll": "5"}
    )
    assert error.param == "x-agentcache-ttll"
    limit = desk.gateway.settings.body_max_bytes
    error = await own_error(desk, client, openai.APIStatusError, "payload_too_large", user="x" * limit)
    assert error.status_code == 413
    await own_error(
        desk, client, openai.InternalServerError, "not_cached",
        extra_headers={"Cache-Control": "only-if-cached"},
    )  # fmt: skip


async def test_bad_keys_are_the_clients_exceptions(desk, client):
    bad = desk.key[:-1] + ("A" if desk.key[-1] != "A" else "B")
    unknown = desk.gateway.new_key("nobody")
    desk.gateway.revoke(unknown)
    for key in (bad, unknown):
        headers = {"X-AgentCache-Key": key, "X-Provider-Key": "sk-x"}
        stranger = client.with_options(api_key=key, default_headers=headers)
        await own_error(desk, stranger, openai.AuthenticationError, "invalid_agentcache_key")
    keyless = client.with_options(api_key=desk.key, set_default_headers={})
    await own_error(desk, keyless, openai.AuthenticationError, "provider_key_missing")
