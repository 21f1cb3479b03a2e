"""C7: what ends badly is not stored, and no caller is shown an end that the provider did not send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from tests.faults.scenes import (
    CHAT_PATH,
    MESSAGES_PATH,
    anthropic_sdk,
    chat,
    entries,
    headers,
    message,
    openai_sdk,
    upstream_in_use,
)
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record

RUNS = 10
GOOD_ENDS = frozenset({"stop", "end_turn", "tool_calls", "tool_use"})
TOOL = {"name": "weather", "description": "x"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@dataclass(frozen=True)
class Ending:
    """How the provider ends a stream and a plain answer, and whether that must be an error for the caller."""

    name: str
    stream: dict[str, Any]
    plain: dict[str, Any]
    #: False where the provider's own answer is valid, though not worth storing.
    stream_fails: bool = True
    plain_fails: bool = True
    #: The provider itself says that it ended well, so the caller may see that.
    says_good_end: bool = False
    tools: bool = False
    body: dict[str, Any] = field(default_factory=dict)


def same(name: str, script: dict[str, Any], **options: Any) -> Ending:
    return Ending(name, script, script, **options)


ENDINGS = [
    same("FIN after the head", {"fin_after_chunks": 0}),
    same("RST after the head", {"rst_after_chunks": 0}),
    same("FIN after 40 bytes", {"fin_after_bytes": 40}),
    same("RST after 40 bytes", {"rst_after_bytes": 40}),
    same("FIN after 250 bytes", {"fin_after_bytes": 250}),
    same("RST after 250 bytes", {"rst_after_bytes": 250}),
    Ending("FIN between events", {"fin_after_chunks": 3}, {"fin_after_bytes": 1}),
    Ending("RST between events", {"rst_after_chunks": 3}, {"rst_after_bytes": 1}),
    Ending("no terminal event", {"no_terminal": True}, {"wire": "content-length-long"}, says_good_end=True),
    same("no finish reason", {"no_finish_reason": True}, stream_fails=False, plain_fails=False),
    same("length", {"finish_reason": "length"}, stream_fails=False, plain_fails=False),
    same("content filter", {"finish_reason": "content_filter"}, stream_fails=False, plain_fails=False),
    Ending("error event after 200", {"error_after": 3}, {"status": 500}),
    same("429", {"status": 429, "retry_after": "0"}),
    same("overloaded", {"status": 529}),
    same("400", {"status": 400}),
    same("bad tool JSON", {"bad_tool_json": True}, stream_fails=False, plain_fails=False, says_good_end=True, tools=True),
    same("damaged gzip", {"wire": "gzip-error"}),
    Ending("stalled", {"stall_after": 2}, {"wire": "never-answer"}),
    Ending("chunk cut short", {"fin_after_bytes": 500}, {"wire": "truncated-chunk"}),
    same("bad chunk length", {"wire": "bad-chunk-length"}),
    same("not HTTP", {"wire": "garbage"}),
    same("two framings", {"wire": "cl-and-te"}),
    same("one header of 1 MB", {"wire": "huge-header"}),
    Ending("invalid UTF-8", {"wire": "invalid-utf8"}, {"wire": "invalid-utf8"}, stream_fails=False, plain_fails=False,
           says_good_end=True),
    Ending("a page instead", {"wire": "not-json"}, {"wire": "not-json"}, stream_fails=False, plain_fails=False),
]  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, _provider):
    deadlines = {
        "AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS": "0.5",
        "AGENTCACHE_UPSTREAM_IDLE_SECONDS": "0.5",
        "AGENTCACHE_UPSTREAM_CONNECT_SECONDS": "2",
    }
    with LightGateway(tmp_path_factory.mktemp("endings"), _provider, **deadlines) as gateway:
        yield gateway


@dataclass
class Seen:
    """What an official client made of an answer."""

    failed: bool = False
    ends: set[str] = field(default_factory=set)


async def see_openai(sdk: openai.AsyncOpenAI, body: dict[str, Any], given: dict[str, str]) -> Seen:
    seen = Seen()
    try:
        answer: Any = await sdk.chat.completions.create(**body, extra_headers=given)
        if body.get("stream"):
            async for chunk in answer:
                seen.ends.update(choice.finish_reason for choice in chunk.choices if choice.finish_reason)
        elif not isinstance(answer, str):
            seen.ends.update(choice.finish_reason for choice in answer.choices if choice.finish_reason)
    except (openai.APIError, httpx2.HTTPError, ValueError):
        seen.failed = True
    return seen


async def see_anthropic(sdk: anthropic.AsyncAnthropic, body: dict[str, Any], given: dict[str, str]) -> Seen:
    seen = Seen()
    try:
        answer: Any = await sdk.messages.create(**body, extra_headers=given)
        if body.get("stream"):
            async for event in answer:
                if event.type == "message_delta" and event.delta.stop_reason:
                    seen.ends.add(event.delta.stop_reason)
        elif not isinstance(answer, str) and answer.stop_reason:
            seen.ends.add(answer.stop_reason)
    except (anthropic.APIError, httpx2.HTTPError, ValueError):
        seen.failed = True
    return seen


def body_of(dialect: str, ending: Ending, run: int, *, stream: bool) -> dict[str, Any]:
    prompt = f"{dialect} {ending.name} {stream} {run}"
    members: dict[str, Any] = {"stream": stream}
    if dialect == "openai":
        if ending.tools:
            members["tools"] = [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}]
        return chat(prompt, **members)
    if ending.tools:
        members["tools"] = [{**TOOL, "input_schema": SCHEMA}]
    return message(prompt, **members)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_bad_endings_are_shown_as_they_are_and_never_stored(gateway, provider, dialect, stream):
    invented: list[str] = []
    silent: list[str] = []
    async with httpx2.AsyncClient(timeout=20) as http:
        sdk: Any = openai_sdk(gateway, http) if dialect == "openai" else anthropic_sdk(gateway, http)
        see: Any = see_openai if dialect == "openai" else see_anthropic

        async def run(ending: Ending, number: int) -> None:
            script = ending.stream if stream else ending.plain
            given = headers(gateway, script=script)
            seen = await see(sdk, body_of(dialect, ending, number, stream=stream), given)
            if seen.ends & GOOD_ENDS and not ending.says_good_end:
                invented.append(f"{ending.name}: {seen}")
            if seen.failed != (ending.stream_fails if stream else ending.plain_fails) and "invalid" not in ending.name:
                silent.append(f"{ending.name}: {seen}")

        # A plain message holds tool input as an object, which cannot be cut off in the middle.
        endings = [each for each in ENDINGS if stream or dialect == "openai" or not each.tools]
        for ending in endings:
            await asyncio.gather(*(run(ending, number) for number in range(RUNS)))
    assert invented == []
    assert silent == []
    stored = entries(gateway)
    assert stored == 0
    wait_until(lambda: upstream_in_use(gateway) == 0, what="no upstream connection in use")
    form = "stream" if stream else "plain"
    record(f"C7 {dialect} {form}", endings=len(endings), runs=len(endings) * RUNS, stored=stored, invented_ends=0)


CUTS = [ending for ending in ENDINGS if ending.stream_fails and "status" not in ending.stream]


@pytest.mark.parametrize("ending", CUTS, ids=[ending.name for ending in CUTS])
@pytest.mark.parametrize(("path", "terminal"), [(CHAT_PATH, "[DONE]"), (MESSAGES_PATH, "message_stop")])
def test_a_cut_stream_ends_in_an_error_of_the_dialect_and_without_the_terminal_event(
    gateway, provider, path, terminal, ending
):
    body = {"stream": True, **(chat if path == CHAT_PATH else message)(f"raw {ending.name}")}
    response = httpx.post(gateway.url + path, json=body, headers=headers(gateway, script=ending.stream), timeout=20)
    text = response.text
    assert terminal not in text
    if response.status_code == 200:
        last = [line for line in text.splitlines() if line.startswith("data: ")][-1]
        assert '"error"' in last
    else:
        assert response.status_code in (502, 504)
        assert response.json()["error"]["message"]


def test_there_are_at_least_22_endings():
    assert len({ending.name for ending in ENDINGS}) >= 22
