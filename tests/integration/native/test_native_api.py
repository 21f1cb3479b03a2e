"""The native API of a whole server, beside the providers' routes, over real sockets."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest
from openai import OpenAI

from tests.unit.gateway.native.samples import QUESTION, chat_answer


@dataclass(frozen=True)
class Server:
    """Two workers: what one stores or removes the other must know."""

    url: str
    key: str


@pytest.fixture
def server(two_on_sqlite):
    return Server(two_on_sqlite.url, two_on_sqlite.key("native"))


@pytest.fixture
def api(server):
    with httpx.Client(base_url=f"{server.url}/api/cache", headers={"X-AgentCache-Key": server.key}) as client:
        yield client


@pytest.fixture
def openai(server):
    headers = {"X-AgentCache-Key": server.key}
    with OpenAI(base_url=f"{server.url}/openai/v1", api_key="sk-test", default_headers=headers) as client:
        yield client


def get(api, request, **members):
    answer = api.post("/get", json={"provider": "openai", "request": request, **members})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_the_gateway_stored_from_a_stream_is_found_by_get(api, openai):
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Tell me about streams."}]}
    text = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in openai.chat.completions.create(**request, stream=True)
        if chunk.choices
    )
    found = get(api, request)
    assert found["hit"] is True
    assert found["value"]["choices"][0]["message"]["content"] == text
    assert found["cost_saved_usd"] > 0
    # With the very words of the official client's own plain call.
    assert openai.chat.completions.create(**request).choices[0].message.content == text


def test_what_was_set_is_served_to_the_official_client(api, openai, provider):
    request = {**QUESTION, "seed": 7}
    stored = api.post("/set", json={"provider": "openai", "request": request, "value": chat_answer("Set by hand.")})
    assert stored.status_code == 201, stored.text
    before = provider.call_count
    for _ in range(4):
        assert openai.chat.completions.create(**request).choices[0].message.content == "Set by hand."
    chunks = list(openai.chat.completions.create(**request, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Set by hand."
    assert provider.call_count == before


def test_embeddings_that_the_gateway_stored_are_found_in_any_batch(api, openai):
    texts = ["one", "two", "three"]
    made = openai.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    found = get(api, {"model": "text-embedding-3-small", "input": texts[::-1]})
    assert found["hit"] is True
    assert [item["embedding"] for item in found["value"]["data"]] == [item.embedding for item in made.data[::-1]]
    assert get(api, {"model": "text-embedding-3-small", "input": "two"})["value"]["data"][0]["embedding"] == (
        made.data[1].embedding
    )


def test_a_prediction_that_the_gateway_stored_is_found(api, server):
    request = {
        "version": "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
        "input": {"prompt": "x", "seed": 1},
    }
    headers = {"X-AgentCache-Key": server.key, "Authorization": "Bearer r8_test", "Prefer": "wait"}
    made = httpx.post(f"{server.url}/replicate/v1/predictions", json=request, headers=headers, timeout=30)
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "succeeded"
    found = get(api, request, provider="replicate")
    assert found["hit"] is True
    assert found["value"]["output"] == made.json()["output"]


def test_a_miss_is_explained_against_what_the_gateway_stored(api, openai):
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Explain me."}], "seed": 1}
    openai.chat.completions.create(**request)
    explained = api.post("/explain", json={"provider": "openai", "request": {**request, "seed": 2}}).json()
    assert explained["nearest"]["differences"] == [{"name": "body.seed", "change": "changed"}]
    assert api.post("/explain", json={"provider": "openai", "request": request}).json()["hit"] is True


def test_a_removed_entry_is_gone_for_every_worker(server, openai, provider):
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Remove me."}]}
    openai.chat.completions.create(**request)
    headers = {"X-AgentCache-Key": server.key}
    key = httpx.post(
        f"{server.url}/api/cache/get", json={"provider": "openai", "request": request}, headers=headers
    ).json()["key"]
    assert httpx.delete(f"{server.url}/api/cache/entries/{key}", headers=headers).status_code == 204
    for _ in range(12):  # each on a connection of its own, so that both workers answer
        assert httpx.get(f"{server.url}/api/cache/get?key={key}", headers=headers).status_code == 404
    before = provider.call_count
    openai.chat.completions.create(**request)
    assert provider.call_count == before + 1


def test_entries_and_stats(api, openai):
    tagged = {"X-AgentCache-Tags": "integration"}
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Tag me."}]}
    openai.chat.completions.create(**request, extra_headers=tagged)
    (entry,) = api.get("/entries", params={"tag": "integration"}).json()["entries"]
    assert entry["key"] == get(api, request)["key"]
    assert api.get("/stats").json()["entries"] >= 1
    assert api.post("/purge", json={"tags": ["integration"]}).json() == {"invalidated": 1, "dry_run": False}
    assert get(api, request)["hit"] is False


def test_the_document_needs_no_key(server):
    document = httpx.get(f"{server.url}/api/openapi.json")
    assert document.status_code == 200
    assert document.json()["openapi"] == "3.1.0"


def test_a_head_request_gets_headers_only(api):
    api.post("/set", json={"key": "head", "value": "x"})
    answer = api.head("/get", params={"key": "head"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert "hit" in answer.headers["cache-status"]
