"""The official SDKs read chat completions and messages of the fake provider."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

TOOL_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
}
OPENAI_TOOL = {"type": "function", "function": {"name": "forecast", "parameters": TOOL_SCHEMA}}
ANTHROPIC_TOOL = {"name": "forecast", "description": "Weather.", "input_schema": TOOL_SCHEMA}
QUESTION: Any = [{"role": "user", "content": "Will it rain in Oslo?"}]


class Forecast(BaseModel):
    city: str
    degrees: float
    tags: list[str]


@pytest.fixture
def chat(provider):
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-canary-acme", max_retries=0) as sdk:
        yield sdk.chat.completions


@pytest.fixture
def claude(provider):
    with anthropic.Anthropic(base_url=provider.url, api_key="sk-canary-acme", max_retries=0) as sdk:
        yield sdk.messages


class TestOpenAI:
    def test_answers_differ_by_request_and_by_call(self, chat):
        first, second = (chat.create(model="gpt-4o", messages=QUESTION).choices[0].message.content for _ in range(2))
        other = chat.create(model="gpt-4o", messages=[{"role": "user", "content": "And in Rome?"}])
        assert first != second
        assert first.rpartition("#")[0] == second.rpartition("#")[0] != other.choices[0].message.content
        assert "canary:acme" in first

    def test_a_stream_adds_up_to_a_plain_answer(self, chat):
        chunks = list(chat.create(model="gpt-4o", messages=QUESTION, stream=True))
        plain = chat.create(model="gpt-4o", messages=QUESTION)
        assert len({chunk.id for chunk in chunks}) == 1
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
        assert all(chunk.usage is None for chunk in chunks)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text.rpartition("#")[0] == plain.choices[0].message.content.rpartition("#")[0]
        assert text.endswith(f"#{int(chunks[0].id[-8:])}")

    def test_usage_chunk_only_when_asked_for(self, chat):
        chunks = list(chat.create(model="m", messages=QUESTION, stream=True, stream_options={"include_usage": True}))
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
        assert all(chunk.usage is None for chunk in chunks[:-1])

    def test_several_choices(self, chat):
        plain = chat.create(model="m", messages=QUESTION, n=3)
        assert [choice.index for choice in plain.choices] == [0, 1, 2]
        assert len({choice.message.content for choice in plain.choices}) == 3
        streamed = [chunk.choices[0].index for chunk in chat.create(model="m", messages=QUESTION, n=2, stream=True)]
        assert set(streamed) == {0, 1}

    def test_tools_are_called_then_answered(self, chat):
        plain = chat.create(model="m", messages=QUESTION, tools=[OPENAI_TOOL])
        call = plain.choices[0].message.tool_calls[0]
        assert (plain.choices[0].finish_reason, call.function.name) == ("tool_calls", "forecast")
        assert set(json.loads(call.function.arguments)) == {"city", "days"}
        turn = [*QUESTION, plain.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "dry"}]
        assert chat.create(model="m", messages=turn, tools=[OPENAI_TOOL]).choices[0].finish_reason == "stop"
        refused = chat.create(model="m", messages=QUESTION, tools=[OPENAI_TOOL], tool_choice="none")
        assert refused.choices[0].message.tool_calls is None

    def test_tools_in_a_stream(self, chat):
        with chat.stream(model="m", messages=QUESTION, tools=[OPENAI_TOOL]) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.choices[0].message.tool_calls[0].function.name == "forecast"

    def test_structured_output(self, chat):
        parsed = chat.parse(model="m", messages=QUESTION, response_format=Forecast)
        assert isinstance(parsed.choices[0].message.parsed, Forecast)

    def test_pictures_and_logprobs(self, chat):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        content = [{"type": "text", "text": "What is this?"}, picture]
        answer = chat.create(model="m", messages=[{"role": "user", "content": content}], logprobs=True)
        tokens = answer.choices[0].logprobs.content
        assert "".join(token.token for token in tokens) == answer.choices[0].message.content

    @pytest.mark.parametrize(
        ("key", "arguments", "error"),
        [
            ("invalid", {"model": "m", "messages": QUESTION}, openai.AuthenticationError),
            ("sk-x", {"model": "m", "messages": []}, openai.BadRequestError),
            ("sk-x", {"model": "no-such-model", "messages": QUESTION}, openai.NotFoundError),
            ("sk-x", {"model": "m", "messages": QUESTION, "temperature": 3}, openai.BadRequestError),
            ("sk-x", {"model": "m", "messages": [{"role": "boss", "content": ""}]}, openai.BadRequestError),
        ],
    )
    def test_refuses_as_the_real_one_does(self, provider, key, arguments, error):
        with openai.OpenAI(base_url=f"{provider.url}/v1", api_key=key, max_retries=0) as sdk, pytest.raises(error) as e:
            sdk.chat.completions.create(**arguments)
        assert e.value.body["message"]

    async def test_async(self, provider):
        async with openai.AsyncOpenAI(base_url=f"{provider.url}/openai/v1", api_key="sk-x") as sdk:
            assert (await sdk.chat.completions.create(model="m", messages=QUESTION)).choices[0].message.content
            stream: Any = await sdk.chat.completions.create(model="m", messages=QUESTION, stream=True)
            assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "stop"

    def test_legacy_completions(self, provider):
        with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-x") as sdk:
            plain = sdk.completions.create(model="babbage-002", prompt="Once", echo=True)
            assert plain.choices[0].text.startswith("Once")
            chunks = list(sdk.completions.create(model="babbage-002", prompt="Once", stream=True))
            assert chunks[-1].choices[0].finish_reason == "stop"


class TestAnthropic:
    def test_plain(self, claude):
        message = claude.create(model="claude-sonnet-4-6", max_tokens=100, messages=QUESTION)
        assert (message.stop_reason, message.content[0].type) == ("end_turn", "text")
        assert "canary:acme" in message.content[0].text
        assert message.usage.input_tokens > 0

    def test_stream(self, claude):
        events = list(claude.create(model="claude-sonnet-4-6", max_tokens=100, messages=QUESTION, stream=True))
        assert [events[0].type, events[-2].type, events[-1].type] == ["message_start", "message_delta", "message_stop"]
        with claude.stream(model="claude-sonnet-4-6", max_tokens=100, messages=QUESTION) as stream:
            final = stream.get_final_message()
        assert final.stop_reason == "end_turn"
        assert final.usage.output_tokens > 10

    def test_tools(self, claude):
        arguments = {"model": "claude-sonnet-4-6", "max_tokens": 100, "tools": [ANTHROPIC_TOOL]}
        message = claude.create(messages=QUESTION, **arguments)
        call = message.content[0]
        assert (message.stop_reason, call.type, set(call.input)) == ("tool_use", "tool_use", {"city", "days"})
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "dry"}]}
        turn = [*QUESTION, {"role": "assistant", "content": message.content}, result]
        assert claude.create(messages=turn, **arguments).stop_reason == "end_turn"
        with claude.stream(messages=QUESTION, **arguments) as stream:
            assert set(stream.get_final_message().content[0].input) == {"city", "days"}

    def test_thinking(self, claude):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        arguments = {"model": "claude-sonnet-4-6", "max_tokens": 2048, "messages": QUESTION, "thinking": thinking}
        plain = claude.create(**arguments)
        assert [block.type for block in plain.content] == ["thinking", "text"]
        with claude.stream(**arguments) as stream:
            assert stream.get_final_message().content[0].signature == plain.content[0].signature

    def test_structured_output(self, claude):
        message = claude.parse(model="claude-sonnet-4-6", max_tokens=99, messages=QUESTION, output_format=Forecast)
        assert isinstance(message.parsed_output, Forecast)

    def test_counts_tokens(self, claude):
        assert claude.count_tokens(model="claude-sonnet-4-6", messages=QUESTION).input_tokens > 3

    @pytest.mark.parametrize(
        ("version", "members", "status"),
        [
            ("2026-10-21", {"temperature": 1.0}, 400),
            ("2023-06-01", {"temperature": 1.0}, 200),
            ("1999-01-01", {}, 400),
            ("2026-10-21", {"max_tokens": None}, 200),
            ("2026-10-21", {"messages": []}, 400),
        ],
    )
    def test_versions(self, provider, version, members, status):
        body = {"model": "claude-sonnet-4-6", "max_tokens": 10, "messages": QUESTION, **members}
        if body["max_tokens"] is None:
            del body["max_tokens"]
            status = 400
        headers = {"anthropic-version": version, "x-api-key": "k"}
        reply = httpx2.post(f"{provider.url}/v1/messages", json=body, headers=headers)
        assert reply.status_code == status
        assert reply.headers["request-id"]
        if status == 400:
            assert reply.json()["error"]["type"] == "invalid_request_error"

    def test_version_is_required_and_key_checked(self, provider):
        missing = httpx2.post(f"{provider.url}/v1/messages", json={}, headers={"x-api-key": "k"})
        assert (missing.status_code, "anthropic-version" in missing.text) == (400, True)
        with anthropic.Anthropic(base_url=provider.url, api_key="invalid", max_retries=0) as sdk:
            with pytest.raises(anthropic.AuthenticationError):
                sdk.messages.create(model="claude-sonnet-4-6", max_tokens=5, messages=QUESTION)
            assert not provider.calls[-1].tenant

    async def test_async(self, provider):
        async with anthropic.AsyncAnthropic(base_url=f"{provider.url}/anthropic", api_key="k") as sdk:
            async with sdk.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=QUESTION) as stream:
                assert (await stream.get_final_message()).stop_reason == "end_turn"
            assert [model.id async for model in sdk.models.list()]
