"""The official SDKs read every other endpoint of the fake provider."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import openai
import pytest
import together
from pydantic import BaseModel
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

TOOL: Any = {
    "type": "function",
    "name": "forecast",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Forecast(BaseModel):
    city: str
    dry: bool


@pytest.fixture
def sdk(provider):
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-canary-acme", max_retries=0) as client:
        yield client


class TestResponses:
    def test_plain(self, sdk):
        response = sdk.responses.create(model="gpt-5.2", input="Hello", metadata={"run": "7"})
        assert (response.status, response.metadata) == ("completed", {"run": "7"})
        assert "canary:acme" in response.output_text
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens

    def test_stream_ends_with_the_whole_response(self, sdk):
        events = list(sdk.responses.create(model="gpt-5.2", input="Hello", stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
        deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert events[-1].type == "response.completed"
        assert deltas == events[-1].response.output_text

    def test_tools(self, sdk):
        response = sdk.responses.create(model="gpt-5.2", input="Rain?", tools=[TOOL])
        call = response.output[0]
        assert (call.type, call.name, set(json.loads(call.arguments))) == ("function_call", "forecast", {"city"})
        turn = [{"role": "user", "content": "Rain?"}, {"type": "function_call", "call_id": call.call_id,
                "name": "forecast", "arguments": call.arguments},
                {"type": "function_call_output", "call_id": call.call_id, "output": "no"}]  # fmt: skip
        assert sdk.responses.create(model="gpt-5.2", input=turn, tools=[TOOL]).output[0].type == "message"
        with sdk.responses.stream(model="gpt-5.2", input="Rain?", tools=[TOOL]) as stream:
            assert stream.get_final_response().output[0].name == "forecast"

    def test_structured_output_and_reasoning(self, sdk):
        parsed = sdk.responses.parse(model="gpt-5.2", input="Rain?", text_format=Forecast, reasoning={"effort": "low"})
        assert isinstance(parsed.output_parsed, Forecast)
        assert parsed.output[0].type == "reasoning"

    def test_stored_responses(self, sdk):
        response = sdk.responses.create(model="gpt-5.2", input="Hello")
        assert sdk.responses.retrieve(response.id).output_text == response.output_text
        follow_up = sdk.responses.create(model="gpt-5.2", input="And?", previous_response_id=response.id)
        assert follow_up.previous_response_id == response.id
        sdk.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(response.id)
        unstored = sdk.responses.create(model="gpt-5.2", input="Hello", store=False)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(unstored.id)

    def test_background(self, sdk):
        queued = sdk.responses.create(model="gpt-5.2", input="Hello", background=True)
        assert queued.status == "queued"
        assert sdk.responses.retrieve(queued.id).status == "completed"

    @pytest.mark.parametrize(
        ("script", "status", "last"),
        [
            ({"finish_reason": "length"}, "incomplete", "response.incomplete"),
            ({"refusal": "I will not."}, "completed", "response.completed"),
            ({"error_after": 3}, None, "error"),
            ({"no_terminal": True}, None, "response.output_item.done"),
        ],
    )
    def test_scripted_endings(self, provider, script, status, last):
        headers = {"authorization": "Bearer k", "x-fake-script": json.dumps(script)}
        body = {"model": "gpt-5.2", "input": "Hello", "stream": True}
        reply = httpx2.post(f"{provider.url}/v1/responses", json=body, headers=headers)
        ending = json.loads(reply.text.strip().rpartition("data: ")[2])
        assert ending["type"] == last
        if status is not None:
            assert ending["response"]["status"] == status

    async def test_async(self, provider):
        async with (
            openai.AsyncOpenAI(base_url=f"{provider.url}/openai/v1", api_key="k") as client,
            client.responses.stream(model="gpt-5.2", input="Hello") as stream,
        ):
            assert (await stream.get_final_response()).status == "completed"


class TestOpenAI:
    def test_embeddings_in_both_encodings(self, sdk):
        arguments: Any = {"model": "text-embedding-3-small", "input": ["one", "two"], "dimensions": 64}
        packed = sdk.embeddings.create(**arguments)
        plain = sdk.embeddings.create(**arguments, encoding_format="float")
        assert [item.index for item in packed.data] == [0, 1]
        assert [item.embedding for item in packed.data] == [item.embedding for item in plain.data]
        assert len(packed.data[0].embedding) == 64
        assert sum(value * value for value in packed.data[0].embedding) == pytest.approx(1)
        assert packed.data[0].embedding != packed.data[1].embedding
        assert packed.usage.prompt_tokens > 0

    def test_embeddings_are_repeatable_and_the_tenants_own(self, sdk, provider):
        arguments: Any = {"model": "text-embedding-3-small", "input": "one"}
        first, second = (sdk.embeddings.create(**arguments).data[0].embedding for _ in range(2))
        with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-canary-globex") as other:
            assert first == second != other.embeddings.create(**arguments).data[0].embedding

    @pytest.mark.parametrize("given", ["", [], [""], [1.5], ["x"] * 2049])
    def test_embeddings_refuse(self, sdk, given):
        with pytest.raises(openai.BadRequestError):
            sdk.embeddings.create(model="text-embedding-3-small", input=given)

    def test_images(self, sdk):
        images = sdk.images.generate(model="gpt-image-1", prompt="A boat", n=2)
        first, second = (base64.b64decode(image.b64_json) for image in images.data)
        assert first.startswith(b"\x89PNG")
        assert b"canary:acme" in first
        assert first != second
        events = list(sdk.images.generate(model="gpt-image-1", prompt="A boat", stream=True, partial_images=1))
        assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
        assert sdk.images.edit(model="gpt-image-1", prompt="More", image=("a.png", first)).data[0].b64_json

    def test_moderation_speech_models(self, sdk):
        moderation = sdk.moderations.create(input=["stab the balloon", "pat the cat"])
        assert [result.flagged for result in moderation.results] == [True, False]
        assert moderation.results[0].categories.violence
        speech = sdk.audio.speech.create(model="tts-1", voice="alloy", input="Hello").content
        assert speech.startswith(b"RIFF")
        assert b"canary:acme" in speech
        assert sdk.audio.transcriptions.create(model="whisper-1", file=("a.wav", speech)).text
        assert "gpt-4o" in {model.id for model in sdk.models.list()}
        assert sdk.models.retrieve("gpt-4o").id == "gpt-4o"


class TestTogether:
    @pytest.fixture(params=["", "/together"], ids=["by model", "by prefix"])
    def llama(self, provider, request):
        with together.Together(base_url=provider.url + request.param, api_key="canary-acme", max_retries=0) as client:
            yield client

    def test_chat(self, llama):
        arguments: Any = {"model": "meta-llama/Llama-3.3-70B", "messages": [{"role": "user", "content": "Hi"}]}
        plain = llama.chat.completions.create(**arguments, seed=7)
        assert (plain.choices[0].finish_reason, plain.choices[0].seed) == ("eos", 7)
        assert "canary:acme" in plain.choices[0].message.content
        chunks = list(llama.chat.completions.create(**arguments, stream=True))
        assert chunks[-1].usage.total_tokens > 0
        assert chunks[-1].choices[0].finish_reason == "eos"
        assert all(chunk.choices[0].delta.role == "assistant" for chunk in chunks)

    def test_tools(self, llama):
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        tools: Any = [{"type": "function", "function": {"name": "forecast", "parameters": parameters}}]
        messages: Any = [{"role": "user", "content": "Rain?"}]
        plain = llama.chat.completions.create(model="meta-llama/Llama-3.3-70B", messages=messages, tools=tools)
        assert plain.choices[0].message.tool_calls[0].function.name == "forecast"

    def test_completions_embeddings_images_rerank(self, llama, provider):
        assert llama.completions.create(model="meta-llama/Llama-3.3-70B", prompt="Once").choices[0].text
        assert len(llama.embeddings.create(model="BAAI/bge-base-en-v1.5", input="one").data[0].embedding) == 768
        arguments: Any = {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "A boat"}
        url = llama.images.generate(**arguments).data[0].url
        assert httpx2.get(url).content.startswith(b"\x89PNG")
        assert llama.images.generate(**arguments, response_format="base64").data[0].b64_json
        documents = ["red apples", "blue boats", "a blue boat"]
        ranking = llama.rerank.create(model="Salesforce/Llama-Rank-v1", query="blue boat", documents=documents, top_n=2)
        assert [result.index for result in ranking.results] == [2, 1]

    async def test_async(self, provider):
        async with together.AsyncTogether(base_url=f"{provider.url}/together", api_key="k") as client:
            messages: Any = [{"role": "user", "content": "Hi"}]
            stream: Any = await client.chat.completions.create(model="Qwen/Qwen3-32B", messages=messages, stream=True)
            assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "eos"
            await client.close()


class TestReplicate:
    @pytest.fixture(params=["", "/replicate"], ids=["by path", "by prefix"])
    def client(self, provider, request):
        made = Client(api_token="r8_canary-acme", base_url=provider.url + request.param)
        yield made
        made._client.close()

    @pytest.fixture(autouse=True)
    def _poll_quickly(self, monkeypatch):
        monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.01")

    def test_run_waits(self, client):
        output = client.run("acme/writer", input={"prompt": "Hi", "seed": 1})
        assert "canary:acme" in "".join(output)

    def test_run_of_a_version_knows_that_it_iterates(self, client):
        output = client.run("acme/writer:" + "a" * 64, input={"prompt": "Hi"})
        assert "".join(output).endswith("#1")

    def test_polling(self, client, provider):
        # The client refuses a list that has states of predictions it does not know; other tests leave some.
        provider._state.predictions.made.clear()
        provider.script(prediction_seconds=0.2, path="/v1/predictions")
        prediction = client.predictions.create(version="b" * 64, input={"prompt": "Hi"})
        assert (prediction.status, prediction.output) == ("starting", None)
        prediction.wait()
        assert prediction.status == "succeeded"
        assert prediction.metrics["predict_time"] > 0
        assert client.predictions.get(prediction.id).output == prediction.output
        assert client.predictions.list().results[0].id == prediction.id

    def test_cancel(self, client, provider):
        provider.script(prediction_seconds=30)
        prediction = client.deployments.predictions.create("acme/writer", input={"prompt": "Hi"})
        prediction.cancel()
        assert client.predictions.get(prediction.id).status == "canceled"

    def test_failure(self, client, provider):
        provider.script(prediction_status="failed")
        with pytest.raises(ModelError):
            client.run("acme/writer", input={"prompt": "Hi"})
        with pytest.raises(ReplicateError, match="input is required"):
            client._request("POST", "/v1/models/acme/writer/predictions", json={})

    def test_streams(self, client):
        events = list(client.stream("acme/writer", input={"prompt": "Hi"}))
        assert "canary:acme" in "".join(map(str, events))
        assert events[-1].event.value == "done"

    def test_files_expire(self, client, provider):
        prediction = client.models.predictions.create("acme/flux", input={"prompt": "Hi", "num_outputs": 2}, wait=True)
        assert len(prediction.output) == 2
        assert httpx2.get(prediction.output[0]).content.startswith(b"\x89PNG")
        provider.expire_files()
        assert httpx2.get(prediction.output[0]).status_code == 404
        prediction.reload()
        assert (prediction.output, prediction.status) == (None, "succeeded")

    def test_output_shapes(self, client):
        caption = client.run("acme/captioner", input={"image": "x"})
        assert caption["preview"]["image"].startswith("http://")
        assert len(client.run("acme/embedder", input={"text": "x"})) == 384
        assert isinstance(client.run("acme/upscaler", input={"image": "x"}), str)

    def test_models_deployments_account_files(self, client, tmp_path):
        model = client.models.get("acme/writer")
        assert model.latest_version.openapi_schema["components"]["schemas"]["Output"]["x-cog-array-type"] == "iterator"
        assert client.deployments.get("acme/writer").current_release.number == 1
        assert client.accounts.current().username == "acme"
        (tmp_path / "a.txt").write_text("hello")
        uploaded = client.files.create(tmp_path / "a.txt")
        assert client.files.get(uploaded.id).name == "a.txt"
        client.files.delete(uploaded.id)

    async def test_async(self, client):
        prediction = await client.predictions.async_create(version="c" * 64, input={"prompt": "Hi"})
        await prediction.async_wait()
        assert prediction.status == "succeeded"
        await client._async_client.aclose()

    def test_credential_is_checked(self, provider):
        client = Client(api_token="invalid", base_url=provider.url)
        with client._client, pytest.raises(ReplicateError, match="Unauthenticated"):
            client.accounts.current()
