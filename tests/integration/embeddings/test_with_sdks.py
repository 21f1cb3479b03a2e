"""The official clients, unchanged but for base URL and key."""

from __future__ import annotations

import openai
import pytest
import together


@pytest.fixture
def own_key(gateway, request):
    return gateway.make_key(request.node.name)


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_openai_parses_the_second_answer_to_the_same_object(gateway, provider, own_key, encoding):
    with openai.OpenAI(
        base_url=f"{gateway.url}/openai/v1", api_key=own_key, default_headers={"X-Provider-Key": "sk-test"}
    ) as client:
        first, second = (
            client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], **encoding) for _ in range(2)
        )
    assert first == second
    assert len(first.data[1].embedding) in (1536, 8192)
    assert provider.call_count == 1
    assert provider.calls[0].credential == "sk-test"


async def test_openai_async_reads_the_same_numbers_whoever_asked_first(gateway, provider, own_key):
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="sk-test", default_headers={"X-AgentCache-Key": own_key}
    ) as client:
        packed = await client.embeddings.create(model="text-embedding-3-large", input="one", dimensions=256)
        plain = await client.embeddings.create(
            model="text-embedding-3-large", input="one", dimensions=256, encoding_format="float"
        )
    assert provider.call_count == 1
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, rel=1e-7)
    assert plain.usage == packed.usage


def test_openai_merges_a_partly_known_batch(gateway, provider, own_key):
    with openai.OpenAI(
        base_url=f"{gateway.url}/openai/v1", api_key=own_key, default_headers={"X-Provider-Key": "sk-test"}
    ) as client:
        alone = client.embeddings.create(model="text-embedding-3-small", input="two")
        batch = client.embeddings.create(model="text-embedding-3-small", input=["one", "two", "three"])
    assert batch.data[1].embedding == alone.data[0].embedding
    assert [item.index for item in batch.data] == [0, 1, 2]
    assert provider.calls[-1].json["input"] == ["one", "three"]


def test_together_parses_the_second_answer_to_the_same_object(gateway, provider, own_key):
    client = together.Together(
        base_url=f"{gateway.url}/together", api_key=own_key, default_headers={"X-Provider-Key": "sk-test"}
    )
    with client:
        first, second = (
            client.embeddings.create(model="BAAI/bge-base-en-v1.5", input=["one", "two"]) for _ in range(2)
        )
    assert first == second
    assert provider.call_count == 1


async def test_together_async_reads_what_the_provider_sent(gateway, provider, own_key):
    async with together.AsyncTogether(base_url=f"{provider.url}/together", api_key="sk-test") as direct:
        expected = await direct.embeddings.create(model="BAAI/bge-base-en-v1.5", input="one")
    async with together.AsyncTogether(
        base_url=f"{gateway.url}/together", api_key=own_key, default_headers={"X-Provider-Key": "sk-test"}
    ) as client:
        for _ in range(2):
            assert await client.embeddings.create(model="BAAI/bge-base-en-v1.5", input="one") == expected
    assert provider.call_count == 2


def test_together_answers_numbers_where_openai_s_client_asks_for_base64(gateway, provider, own_key):
    with openai.OpenAI(
        base_url=f"{gateway.url}/together/v1", api_key=own_key, default_headers={"X-Provider-Key": "sk-test"}
    ) as client:
        first, second = (client.embeddings.create(model="BAAI/bge-base-en-v1.5", input="one") for _ in range(2))
    assert first == second
    assert provider.call_count == 1
