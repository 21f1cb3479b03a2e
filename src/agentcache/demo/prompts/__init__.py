"""Some three hundred calls of the kinds people make, to try the cache with.

Each line of a `.jsonl` file is one call, written short: `system`, `tools` and `schema` are names from `shared.json`;
`turns` alternates user and assistant; `context` is a list of passages; `tool_result` is a tool call already answered.
`load_prompts` writes them out as the bodies that the providers' SDKs would send.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

CATEGORIES = ("support", "code", "extraction", "rag", "agents", "conversations", "writing", "embeddings")
_DEFAULT_MODEL = "gpt-4o-mini"
_ANTHROPIC_VERSION = "2023-06-01"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One call as written in the files."""

    user: str = ""
    turns: tuple[str, ...] = ()
    system: str = ""
    context: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tool_result: Json | None = None
    schema: str = ""
    input: str | tuple[str, ...] = ""
    model: str = ""
    stream: bool = False
    temperature: float | None = None
    endpoint: Literal["chat", "responses"] = "chat"


@dataclass(frozen=True, slots=True)
class DemoCall:
    """One call: POST `body` as JSON to `path` (the provider's own, from `/v1` on) of `dialect`, with `headers`."""

    category: str
    dialect: str
    path: str
    body: Json
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def streams(self) -> bool:
        """Whether the answer comes as server-sent events."""
        return bool(self.body.get("stream"))


@cache
def _shared() -> Json:
    shared: Json = msgspec.json.decode((files(__name__) / "shared.json").read_bytes())
    return shared


def load_prompts() -> list[DemoCall]:
    """Return every call, category by category, always in the same order."""
    decoder = msgspec.json.Decoder(_Line)
    return [
        _write_out(category, decoder.decode(line))
        for category in CATEGORIES
        for line in (files(__name__) / f"{category}.jsonl").read_text("utf-8").splitlines()
    ]


def _write_out(category: str, line: _Line) -> DemoCall:
    model = line.model or ("text-embedding-3-small" if category == "embeddings" else _DEFAULT_MODEL)
    body: Json = {"model": model}
    if line.stream:
        body["stream"] = True
    if line.temperature is not None:
        body["temperature"] = line.temperature
    if category == "embeddings":
        return DemoCall(category, "openai", "/v1/embeddings", body | {"input": line.input})
    if model.startswith("claude"):
        headers = (("anthropic-version", _ANTHROPIC_VERSION),)
        return DemoCall(category, "anthropic", "/v1/messages", body | _anthropic_members(line), headers)
    if line.endpoint == "responses":
        return DemoCall(category, "openai", "/v1/responses", body | _responses_members(line))
    dialect = "together" if "/" in model else "openai"
    return DemoCall(category, dialect, "/v1/chat/completions", body | _chat_members(line))


def _conversation(line: _Line) -> list[Json]:
    """Return user and assistant messages, starting and ending with the user."""
    if line.turns:
        return [
            {"role": "assistant" if position % 2 else "user", "content": text}
            for position, text in enumerate(line.turns)
        ]
    if line.context:
        passages = "\n".join(f"[{number}] {passage}" for number, passage in enumerate(line.context, 1))
        return [{"role": "user", "content": f"{passages}\n\nQuestion: {line.user}"}]
    return [{"role": "user", "content": line.user}]


def _system(line: _Line) -> str:
    return _shared()["systems"][line.system] if line.system else ""


def _functions(line: _Line) -> list[Json]:
    return [{"name": name, **_shared()["tools"][name]} for name in line.tools]


def _chat_members(line: _Line) -> Json:
    messages = _conversation(line)
    if line.system:
        messages.insert(0, {"role": "system", "content": _system(line)})
    if line.tool_result is not None:
        called = {"name": line.tool_result["name"], "arguments": _text(line.tool_result["arguments"])}
        call = {"id": "call_1", "type": "function", "function": called}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": _text(line.tool_result["result"])})
    members: Json = {"messages": messages}
    if line.tools:
        members["tools"] = [{"type": "function", "function": function} for function in _functions(line)]
    if line.schema:
        wrapper = {"name": line.schema, "strict": True, "schema": _shared()["schemas"][line.schema]}
        members["response_format"] = {"type": "json_schema", "json_schema": wrapper}
    return members


def _anthropic_members(line: _Line) -> Json:
    messages = _conversation(line)
    members: Json = {"max_tokens": 1024, "messages": messages}
    if line.system:
        members["system"] = _system(line)
    if line.tool_result is not None:
        used = {"name": line.tool_result["name"], "input": line.tool_result["arguments"]}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": _text(line.tool_result["result"])}
        messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", **used}]})
        messages.append({"role": "user", "content": [result]})
    if line.tools:
        members["tools"] = [
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
            for tool in _functions(line)
        ]
    if line.schema:
        members["output_config"] = {"format": {"type": "json_schema", "schema": _shared()["schemas"][line.schema]}}
    return members


def _responses_members(line: _Line) -> Json:
    members: Json = {"input": _conversation(line), "store": False}
    if line.system:
        members["instructions"] = _system(line)
    if line.tools:
        members["tools"] = [{"type": "function", "strict": False, **function} for function in _functions(line)]
    return members


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
