"""Anthropic's official client, unchanged but for base URL and key."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from tests.support.sdk_results import plain
from tests.unit.providers.sdk import settled

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "Forecast",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}


class Recipe(BaseModel):
    title: str
    steps: list[str]
    minutes: int


def said(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"messages": said("Which port does it listen on?")},
    "conversation": {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            *said("naïve 👩‍👩‍👧 \u2028 text"),
            {"role": "assistant", "content": "Yes."},
            *said("Go on."),
        ],
        "stop_sequences": ["END"],
    },
    "vision": {
        "messages": said(
            [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "text", "text": "What is it?"},
            ]
        )
    },
    "thinking": {"messages": said("Think."), "thinking": {"type": "adaptive"}},
    "tool": {"messages": said("Weather in Oslo?"), "tools": [WEATHER]},
    "tool answered": {
        "messages": [
            *said("Weather in Oslo?"),
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}],
            },
            *said([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain"}]),
        ],
        "tools": [WEATHER],
    },
}
LIMITS: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 512}


@pytest.fixture
async def client(desk, is_async):
    kind = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    api_key, headers = desk.keys()
    client = kind(base_url=f"{desk.gateway.url}/anthropic", api_key=api_key, default_headers=headers)
    yield client
    await client.close() if is_async else client.close()


@pytest.mark.parametrize("case", MESSAGES)
async def test_messages_twice(desk, client, case):
    first = await desk.repeats(lambda: client.messages.create(**LIMITS, **MESSAGES[case]))
    assert first["content"]
    assert first["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("case", MESSAGES)
async def test_messages_streamed_twice(desk, client, case):
    events = await desk.repeats(lambda: client.messages.create(**LIMITS, **MESSAGES[case], stream=True))
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"


@pytest.mark.parametrize("streamed_first", [False, True], ids=["plain first", "stream first"])
@pytest.mark.parametrize("case", MESSAGES)
async def test_messages_in_the_other_form(desk, client, case, streamed_first):
    def whole() -> Any:
        return client.messages.create(**LIMITS, **MESSAGES[case])

    def stream() -> Any:
        return client.messages.stream(**LIMITS, **MESSAGES[case])

    one, other = (stream, whole) if streamed_first else (whole, stream)
    results = [await desk.first(one), await desk.hit(other), await desk.hit(one)]
    finals = [settled(result.get("final", result)) for result in results]
    assert finals[0] == finals[1] == finals[2]
    assert results[0] == results[2]


async def test_structured_output_is_parsed_alike_in_both_forms(desk, client):
    options = {**LIMITS, "messages": said("A recipe."), "output_format": Recipe}
    parsed = (await desk.repeats(lambda: client.messages.parse(**options)))["parsed_output"]
    assert Recipe.model_validate(parsed).steps
    streamed = await desk.hit(lambda: client.messages.stream(**options))
    assert streamed["final"]["parsed_output"] == parsed


async def test_several_tool_calls_in_one_answer(desk, client):
    desk.provider.script(tool_calls=3)
    options = {**LIMITS, **MESSAGES["tool"]}
    first = await desk.first(lambda: client.messages.stream(**options))
    assert [block["type"] for block in first["final"]["content"]] == ["tool_use"] * 3
    whole = await desk.hit(lambda: client.messages.create(**options))
    assert [block["input"] for block in whole["content"]] == [block["input"] for block in first["final"]["content"]]


async def test_token_counts_twice(desk, client):
    counted = await desk.repeats(
        lambda: client.messages.count_tokens(model="claude-sonnet-4-6", messages=said("How many?"), tools=[WEATHER])
    )
    assert counted["input_tokens"] > 0


async def test_the_older_version_and_header_of_the_api_work_and_are_kept_apart(desk, client):
    ask = {**LIMITS, "messages": said("Which version?")}
    new = await desk.first(lambda: client.messages.create(**ask))
    old = await desk.repeats(lambda: client.messages.create(**ask, extra_headers={"anthropic-version": "2023-06-01"}))
    assert new["id"] != old["id"]


async def test_the_client_sees_the_hit_itself(desk, client):
    for expected in ("fwd=miss; fwd-status=200; stored", "hit"):
        made = client.messages.with_raw_response.create(**LIMITS, messages=said("Raw?"))
        raw = await made if not hasattr(made, "headers") else made
        assert raw.headers["cache-status"].startswith(f"AgentCache; {expected}")


ERRORS = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.AuthenticationError, "authentication_error"),
    (403, anthropic.PermissionDeniedError, "permission_error"),
    (404, anthropic.NotFoundError, "not_found_error"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (529, anthropic.InternalServerError, "overloaded_error"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("status", "kind", "error_type"), ERRORS)
async def test_the_providers_errors_are_the_clients_exceptions(desk, client, status, kind, error_type, stream):
    def ask() -> Any:
        return client.with_options(max_retries=0).messages.create(**LIMITS, messages=said("Fail"), stream=stream)

    desk.provider.script(status=status, times=None)
    with pytest.raises(kind) as caught:
        await plain(ask())
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == error_type
    assert desk.provider.call_count == 1
    desk.provider.clear_scripts()
    await desk.first(ask)


async def test_the_clients_own_retries_still_work(desk, client):
    desk.provider.script(status=529, headers=(("retry-after-ms", "1"),))
    answer = await plain(client.messages.create(**LIMITS, messages=said("Again")))
    assert answer["content"][0]["text"].endswith("#2")


@pytest.mark.parametrize(
    "fault", [{"error_after": 4}, {"fin_after_chunks": 3}, {"rst_after_chunks": 3}, {"no_terminal": True}]
)
async def test_a_broken_stream_is_raised_and_nothing_is_kept(desk, client, fault):
    def ask() -> Any:
        return client.messages.stream(**LIMITS, messages=said("Break"))

    desk.provider.script(**fault)
    with pytest.raises(anthropic.APIStatusError) as caught:
        await plain(ask())
    if "error_after" in fault:
        assert caught.value.body["error"]["type"] == "overloaded_error"
    else:
        assert caught.value.body["error"]["details"]["error_code"].startswith("upstream_")
    await desk.first(ask)


async def own_error(desk, client, kind, code, **options):
    """Ask for what AgentCache itself refuses: the client's exception with our code, and asked once only."""
    desk.replies()
    with pytest.raises(kind) as caught:
        await plain(client.messages.create(**{**LIMITS, "messages": said("Refused"), **options}))
    assert caught.value.body["error"]["details"]["error_code"] == code
    replies = desk.replies()
    assert len(replies) == 1, "no retries"
    assert desk.provider.call_count == 0
    return caught.value


async def test_our_own_errors_are_the_clients_exceptions(desk, client):
    error = await own_error(
        desk, client, anthropic.BadRequestError, "invalid_directive", extra_headers={"X-AgentCache-TTL": "soon"}
    )
    assert error.body["error"]["type"] == "invalid_request_error"
    assert error.body["error"]["details"]["param"] == "x-agentcache-ttl"
    error = await own_error(
        desk, client, anthropic.APIStatusError, "payload_too_large",
        messages=said("x" * desk.gateway.settings.body_max_bytes),
    )  # fmt: skip
    assert error.status_code == 413
    assert error.body["error"]["type"] == "request_too_large"
    await own_error(
        desk, client, anthropic.InternalServerError, "not_cached", extra_headers={"Cache-Control": "only-if-cached"}
    )


async def test_bad_keys_are_the_clients_exceptions(desk, client):
    bad = desk.key[:-1] + ("A" if desk.key[-1] != "A" else "B")
    stranger = client.with_options(api_key=bad, default_headers={"X-AgentCache-Key": bad, "X-Provider-Key": "sk-x"})
    await own_error(desk, stranger, anthropic.AuthenticationError, "invalid_agentcache_key")
    keyless = client.with_options(api_key=desk.key, set_default_headers={})
    await own_error(desk, keyless, anthropic.AuthenticationError, "provider_key_missing")
