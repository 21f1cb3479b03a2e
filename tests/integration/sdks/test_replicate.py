"""Replicate's official client, unchanged but for base URL and key."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import replicate
from replicate.exceptions import ModelError, ReplicateError

WRITER, PAINTER = "acme/writer", "acme/flux"
#: A hit is a prediction of its own: made now, under an id and URLs of ours.
OWN_MEMBERS = {"id", "created_at", "started_at", "completed_at", "urls"}


@pytest.fixture
async def client(desk, is_async, monkeypatch):
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    token, headers = desk.keys()
    client = replicate.Client(api_token=token, base_url=f"{desk.gateway.url}/replicate", headers=headers)
    yield client
    await client._async_client.aclose()
    client._client.close()


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def repeats(desk, ask: Callable[[], Any], *, polls: int = 0) -> tuple[Any, Any]:
    """Ask twice; the second answer comes without the provider."""
    desk.replies()
    first = await done(ask())
    asked = desk.provider.call_count
    assert asked >= 1
    assert desk.replies()[0].cache_status.startswith("AgentCache; fwd=miss")
    second = await done(ask())
    assert desk.provider.call_count == asked
    assert desk.replies()[0].cache_status.startswith("AgentCache; hit")
    return first, second


async def test_run_twice(desk, client, is_async):
    run = client.async_run if is_async else client.run
    first, second = await repeats(desk, lambda: run(WRITER, input={"prompt": "Hello 👋", "seed": 1}))
    assert first == second
    assert "".join(first).endswith("#1")


async def test_run_files_twice_and_the_files_outlive_the_providers(desk, client, is_async):
    run = client.async_run if is_async else client.run
    ask = {"input": {"prompt": "A fox", "seed": 1, "num_outputs": 2}}
    first, second = await repeats(desk, lambda: run(PAINTER, **ask))
    assert first == second
    desk.provider.expire_files()
    async with httpx.AsyncClient() as browser:
        for url in second:
            assert str(url).startswith(desk.gateway.url)
            assert (await browser.get(str(url))).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["model", "version", "deployment"])
async def test_predictions_twice(desk, client, is_async, kind):
    given = {"input": {"prompt": f"By {kind}", "seed": 1}, "wait": True}

    def ask() -> Any:
        if kind == "model":
            make = client.models.predictions
            return (make.async_create if is_async else make.create)(model=WRITER, **given)
        if kind == "version":
            make = client.predictions
            return (make.async_create if is_async else make.create)(version="0" * 64, **given)
        make = client.deployments.predictions
        return (make.async_create if is_async else make.create)(deployment="acme/writer", **given)

    first, second = (prediction.dict() for prediction in await repeats(desk, ask))
    assert first["status"] == "succeeded"
    assert {k: v for k, v in first.items() if k not in OWN_MEMBERS} == {
        k: v for k, v in second.items() if k not in OWN_MEMBERS
    }
    assert first["id"] != second["id"]


async def test_a_prediction_that_is_polled_to_its_end_fills_the_cache(desk, client, is_async):
    client.poll_interval = 0.02
    make = client.models.predictions

    def ask() -> Any:
        return (make.async_create if is_async else make.create)(model=WRITER, input={"prompt": "Poll", "seed": 1})

    running = await done(ask())
    assert running.status == "starting"
    await done(running.async_wait() if is_async else running.wait())
    assert running.status == "succeeded"
    desk.replies()
    second = await done(ask())
    assert (second.status, second.output) == ("succeeded", running.output)
    assert desk.replies()[0].cache_status.startswith("AgentCache; hit")
    asked = desk.provider.call_count
    await done(second.async_reload() if is_async else second.reload())
    assert (second.status, second.output) == ("succeeded", running.output)
    assert desk.provider.call_count == asked


async def test_streams_of_a_hit_say_the_same(desk, client, is_async):
    given = {"input": {"prompt": "Stream", "seed": 1}}
    run = client.async_run if is_async else client.run
    first = await done(run(WRITER, **given))
    asked = desk.provider.call_count
    if is_async:
        made = client.models.predictions.async_create(model=WRITER, stream=True, **given)
    else:
        made = client.models.predictions.create(model=WRITER, stream=True, **given)
    hit = await done(made)
    events = [event async for event in hit.async_stream()] if is_async else list(hit.stream())
    assert [event.event.value for event in events][-1] == "done"
    assert "".join(event.data for event in events[:-1]) == "".join(first)
    assert desk.provider.call_count == asked


async def test_without_a_seed_every_run_is_another_one(desk, client, is_async):
    run = client.async_run if is_async else client.run
    results = ["".join(await done(run(WRITER, input={"prompt": "Differ"}))) for _ in range(2)]
    assert results[0] != results[1]


@pytest.mark.parametrize("status", [401, 404, 422, 429, 500])
async def test_the_providers_errors_are_the_clients_exception(desk, client, is_async, status):
    desk.provider.script(status=status, times=None)
    run = client.async_run if is_async else client.run
    with pytest.raises(ReplicateError) as caught:
        await done(run(WRITER, input={"prompt": "Fail", "seed": 1}))
    if status in (401, 404, 422):
        assert caught.value.status == status
    assert caught.value.detail
    assert desk.provider.call_count == 1


async def test_a_failed_prediction_is_raised_and_not_kept(desk, client, is_async):
    run = client.async_run if is_async else client.run
    desk.provider.script(prediction_status="failed")
    with pytest.raises(ModelError):
        await done(run(WRITER, input={"prompt": "Fail", "seed": 1}))
    assert "".join(await done(run(WRITER, input={"prompt": "Fail", "seed": 1}))).endswith("#2")


async def own_error(desk, client, is_async, status, headers, body=None):
    desk.replies()
    request = client._async_request if is_async else client._request
    with pytest.raises(ReplicateError) as caught:
        await done(
            request("POST", f"/v1/models/{WRITER}/predictions", json=body or {"input": {"seed": 1}}, headers=headers)
        )
    assert caught.value.status == status
    assert len(desk.replies()) == 1, "no retries"
    assert desk.provider.call_count == 0
    return caught.value


async def test_our_own_errors_are_the_clients_exception(desk, client, is_async):
    error = await own_error(desk, client, is_async, 400, {"X-AgentCache-Bucket": "no spaces"})
    assert error.title == "Invalid directive"
    assert "x-agentcache-bucket" in error.detail
    await own_error(desk, client, is_async, 504, {"Cache-Control": "only-if-cached"})
    body = {"input": {"seed": 1, "prompt": "x" * desk.gateway.settings.body_max_bytes}}
    await own_error(desk, client, is_async, 413, {}, body)
    bad = desk.key[:-1] + ("A" if desk.key[-1] != "A" else "B")
    error = await own_error(
        desk, client, is_async, 401, {"Authorization": f"Bearer {bad}", "X-AgentCache-Key": bad, "X-Provider-Key": "r8"}
    )
    assert error.title == "Invalid agentcache key"
