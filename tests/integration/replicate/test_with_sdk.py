"""The official client, unchanged but for base URL and key."""

from __future__ import annotations

import pytest
import replicate

from tests.integration.replicate.conftest import CAPTION, IMAGE, TEXT

VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
SAME = ("model", "version", "status", "input", "output", "logs", "error", "metrics")


def facts(prediction):
    return {name: getattr(prediction, name) for name in SAME}


def test_run_gives_the_same_output_twice(client, provider):
    first = client.run(TEXT, input={"prompt": "a fox", "seed": 1})
    assert client.run(TEXT, input={"prompt": "a fox", "seed": 1}) == first
    assert "".join(first)
    assert provider.calls_by_path[f"/v1/models/{TEXT}/predictions"] == 1
    assert {call.credential for call in provider.calls} == {"r8_x"}


async def test_async_run_gives_the_same_output_twice(async_client, provider):
    first = await async_client.async_run(TEXT, input={"prompt": "a bear", "seed": 1})
    assert await async_client.async_run(TEXT, input={"prompt": "a bear", "seed": 1}) == first
    assert provider.calls_by_path[f"/v1/models/{TEXT}/predictions"] == 1


def test_a_version_that_streams_gives_the_same_pieces_twice(client, provider):
    pieces = [list(client.run(f"{TEXT}:{VERSION}", input={"prompt": "x", "seed": 1})) for _ in range(2)]
    assert pieces[0] == pieces[1]
    assert provider.calls_by_path["/v1/predictions"] == 1


@pytest.mark.parametrize("kind", ["version", "model", "deployment"])
def test_a_waited_for_prediction_parses_to_the_same_twice(client, provider, kind):
    def create():
        given = {"input": {"prompt": "a fox", "seed": 2}, "wait": True}
        match kind:
            case "version":
                return client.predictions.create(version=VERSION, **given)
            case "model":
                return client.models.predictions.create(model=IMAGE, **given)
        return client.deployments.predictions.create(deployment="acme/painter", **given)

    first, second = create(), create()
    assert facts(first) == facts(second)
    assert first.status == "succeeded"
    assert first.id != second.id
    assert provider.call_count - sum(call.path.startswith("/files/") for call in provider.calls) == 1
    second.reload()
    assert facts(second) == facts(first)
    second.cancel()
    assert second.status == "succeeded"
    assert provider.call_count - sum(call.path.startswith("/files/") for call in provider.calls) == 1


def test_polling_fills_the_cache(client, provider):
    first = client.models.predictions.create(model=TEXT, input={"prompt": "slow", "seed": 3})
    assert first.status in {"starting", "processing"}
    first.wait()
    second = client.models.predictions.create(model=TEXT, input={"prompt": "slow", "seed": 3})
    assert second.status == "succeeded"
    assert facts(second) == facts(first)
    assert provider.calls_by_path[f"/v1/models/{TEXT}/predictions"] == 1


async def test_async_polling_fills_the_cache(async_client, provider):
    first = await async_client.models.predictions.async_create(model=CAPTION, input={"prompt": "slow", "seed": 4})
    await first.async_wait()
    second = await async_client.models.predictions.async_create(model=CAPTION, input={"prompt": "slow", "seed": 4})
    await second.async_reload()
    assert facts(second) == facts(first)
    assert provider.calls_by_path[f"/v1/models/{CAPTION}/predictions"] == 1


def test_a_stream_of_a_hit_says_what_the_prediction_said(client, raw):
    output = raw.create(TEXT, prompt="stream me", seed=5).json()["output"]
    hit = client.models.predictions.create(model=TEXT, input={"prompt": "stream me", "seed": 5})
    events = list(hit.stream())
    assert "".join(event.data for event in events if event.event.value == "output") == "".join(output)
    assert events[-1].event.value == "done"


def test_cancelling_reaches_the_provider(client, provider):
    provider.script(prediction_seconds=30.0)
    running = client.models.predictions.create(model=TEXT, input={"prompt": "long", "seed": 6})
    running.cancel()
    assert running.status == "canceled"
    again = client.models.predictions.create(model=TEXT, input={"prompt": "long", "seed": 6})
    assert again.id != running.id
    assert provider.calls_by_path[f"/v1/models/{TEXT}/predictions"] == 2


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
def test_what_did_not_succeed_is_not_stored(client, provider, status):
    provider.script(prediction_status=status, times=None)
    for _ in range(2):
        ended = client.models.predictions.create(model=TEXT, input={"prompt": status, "seed": 1}, wait=True)
        # `aborted` would not parse.
        assert ended.status == ("canceled" if status == "aborted" else status)
    assert provider.call_count == 2


def test_an_aborted_prediction_is_polled_as_canceled(client, provider):
    provider.script(prediction_status="aborted")
    ended = client.models.predictions.create(model=TEXT, input={"prompt": "a"})
    ended.wait()
    assert ended.status == "canceled"


def test_errors_are_the_provider_s_own(client):
    with pytest.raises(replicate.exceptions.ReplicateError) as raised:
        client.predictions.create(version="no version", input={"seed": 1})
    assert raised.value.status == 422
