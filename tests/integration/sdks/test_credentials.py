"""Each official client with both forms of giving both keys, and without any provider's key once an answer is cached."""

from __future__ import annotations

import inspect
from typing import Any

import anthropic
import openai
import pytest
import replicate
import together

from tests.integration.sdks.conftest import IN_OUR_HEADER, IN_PROVIDERS_PLACE
from tests.support.sdk_results import plain

SAID: list[Any] = [{"role": "user", "content": "Who is asking?"}]


@pytest.fixture(params=[("sync", IN_OUR_HEADER), ("async", IN_PROVIDERS_PLACE)], ids=["sync", "async"])
def style(request):
    return request.param


def ask_openai(desk, is_async, api_key, headers):
    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    client = kind(base_url=f"{desk.gateway.url}/openai/v1", api_key=api_key, default_headers=headers)
    return client, lambda: client.chat.completions.create(model="gpt-4o", messages=SAID)


def ask_anthropic(desk, is_async, api_key, headers):
    kind = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    client = kind(base_url=f"{desk.gateway.url}/anthropic", api_key=api_key, default_headers=headers)
    return client, lambda: client.messages.create(model="claude-opus-4-6", max_tokens=64, messages=SAID)


def ask_together(desk, is_async, api_key, headers):
    kind = together.AsyncTogether if is_async else together.Together
    client = kind(base_url=f"{desk.gateway.url}/together", api_key=api_key, default_headers=headers)
    return client, lambda: client.chat.completions.create(model="Qwen/Qwen3-32B", messages=SAID)


@pytest.mark.parametrize("make", [ask_openai, ask_anthropic, ask_together])
async def test_the_other_form_and_then_a_hit_without_the_providers_key(desk, is_async, make):
    client, ask = make(desk, is_async, *desk.keys())
    first = await desk.repeats(ask)
    await done(client.close())
    # What is cached needs nobody's key but ours.
    client, ask = make(desk, is_async, desk.key, {})
    assert await desk.hit(ask) == first
    await done(client.close())


async def test_replicate_too(desk, is_async):
    token, headers = desk.keys()
    results = []
    for given, more in ((token, headers), (desk.key, {})):
        client = replicate.Client(api_token=given, base_url=f"{desk.gateway.url}/replicate", headers=more)
        run = client.async_run if is_async else client.run
        results.append("".join(await done(run("acme/writer", input={"prompt": "Who?", "seed": 1}))))
        await client._async_client.aclose()
        client._client.close()
    assert results[0] == results[1]
    assert desk.provider.call_count == 1


@pytest.mark.parametrize(
    ("make", "alias"), [(ask_openai, "X-OpenAI-Key"), (ask_anthropic, "X-Anthropic-Key")], ids=["openai", "anthropic"]
)
async def test_the_aliases_of_the_provider_key_header(desk, is_async, make, alias):
    client, ask = make(desk, is_async, desk.key, {alias: "sk-canary-acme"})
    await desk.repeats(ask)
    await done(client.close())


async def test_two_provider_keys_that_disagree_are_refused(desk, is_async):
    client, ask = ask_openai(desk, is_async, "sk-one", {"X-AgentCache-Key": desk.key, "X-Provider-Key": "sk-two"})
    with pytest.raises(openai.AuthenticationError) as caught:
        await plain(ask())
    assert caught.value.code == "conflicting_credentials"
    assert desk.provider.call_count == 0
    await done(client.close())


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
