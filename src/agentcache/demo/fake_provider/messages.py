"""Anthropic's Messages API: plain, streamed, tools, thinking, structured output, token counting, models."""

from __future__ import annotations

from typing import Any

from agentcache.demo.fake_provider.answers import count_tokens, fill_schema, pieces
from agentcache.demo.fake_provider.chat import tool_arguments
from agentcache.demo.fake_provider.exchange import (
    APIError,
    Exchange,
    Json,
    encode,
    error_body,
    json_reply,
    named_event,
)
from agentcache.demo.fake_provider.wire import Reply

NEW_VERSION = "2026-10-21"
VERSIONS = ("2023-06-01", NEW_VERSION)
MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5")


def check_version(exchange: Exchange) -> str:
    """Return the `anthropic-version` of the request. Raises the 400 for a missing or unknown one."""
    version = exchange.request.headers.get("anthropic-version")
    if version is None:
        raise APIError(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        raise APIError(400, f'anthropic-version: "{version}" is not a valid version')
    return version


def _check(exchange: Exchange) -> None:
    version, body = check_version(exchange), exchange.body
    exchange.require("model", "messages")
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise APIError(400, "messages: at least one message is required")
    for position, message in enumerate(body["messages"]):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise APIError(400, f"messages.{position}.role: Input should be 'user' or 'assistant'")
    if version == NEW_VERSION:
        for member in ("temperature", "top_p", "top_k"):
            if member in body:
                raise APIError(400, f"{member}: sampling parameters are not supported in API version {NEW_VERSION}")
        for position, message in enumerate(body["messages"]):
            _check_blocks(position, message)
    if str(body["model"]).startswith("no-such-"):
        raise APIError(404, f"model: {body['model']}")


def _check_blocks(position: int, message: Json) -> None:
    if not isinstance(message.get("content"), list):
        return
    for place, block in enumerate(message["content"]):
        where = f"messages.{position}.content.{place}"
        if message["role"] == "assistant" and block.get("type") == "document":
            raise APIError(400, f"{where}: document blocks are not allowed in assistant messages")
        if message["role"] == "user" and block.get("type") == "text" and block.get("citations"):
            raise APIError(400, f"{where}.citations: must be empty in user messages")


def create_message(exchange: Exchange) -> Reply:
    """Answer `POST /v1/messages`."""
    _check(exchange)
    exchange.require("max_tokens")
    message = _message(exchange)
    if exchange.body.get("stream"):
        return _stream(exchange, message)
    return json_reply(message)


def count_message_tokens(exchange: Exchange) -> Reply:
    """Answer `POST /v1/messages/count_tokens`."""
    _check(exchange)
    return json_reply({"input_tokens": _input_tokens(exchange)})


def _input_tokens(exchange: Exchange) -> int:
    body = exchange.body
    return sum(count_tokens(body.get(member)) for member in ("system", "messages", "tools")) + 3


def _wants_tool(exchange: Exchange) -> bool:
    body = exchange.body
    choice = (body.get("tool_choice") or {"type": "auto"}).get("type")
    if not body.get("tools") or choice == "none" or exchange.script.text is not None or exchange.script.refusal:
        return False
    content = body["messages"][-1].get("content")
    answered = isinstance(content, list) and any(block.get("type") == "tool_result" for block in content)
    return choice != "auto" or not answered


def _tool_blocks(exchange: Exchange) -> list[Json]:
    tools = [tool for tool in exchange.body["tools"] if tool.get("type", "custom") == "custom"]
    choice = exchange.body.get("tool_choice") or {}
    if choice.get("type") == "tool":
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    if not tools:
        raise APIError(400, "tool_choice: tool not found in tools")
    blocks = []
    for position in range(exchange.script.tool_calls or 1):
        tool = tools[position % len(tools)]
        called = fill_schema(tool.get("input_schema") or {"type": "object"}, exchange.answer)
        suffix = f"_{position}" if position else ""
        block_id = exchange.answer.id("toolu_") + suffix
        blocks.append({"type": "tool_use", "id": block_id, "name": tool["name"], "input": called})
    return blocks


def _blocks(exchange: Exchange) -> list[Json]:
    body, blocks = exchange.body, []
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive", "between-tools"):
        said = f"The request is about {exchange.answer.word(9)} and {exchange.answer.word(10)}."
        signature = exchange.answer.digest.hex() * 2 + "=="
        blocks.append({"type": "thinking", "thinking": said, "signature": signature})
    wanted = (body.get("output_config") or {}).get("format") or {}
    if exchange.script.refusal:
        blocks.append({"type": "text", "text": exchange.script.refusal})
    elif _wants_tool(exchange):
        blocks += _tool_blocks(exchange)
    elif wanted.get("type") == "json_schema" and exchange.script.text is None:
        filled = fill_schema(wanted.get("schema"), exchange.answer)
        blocks.append({"type": "text", "text": encode(filled).decode()})
    else:
        blocks.append({"type": "text", "text": exchange.text})
    return blocks


def _stop_reason(exchange: Exchange, blocks: list[Json]) -> str | None:
    if exchange.script.no_finish_reason:
        return None
    if exchange.script.finish_reason:
        return exchange.script.finish_reason
    if exchange.script.refusal:
        return "refusal"
    if exchange.body["max_tokens"] == 0:
        return "max_tokens"
    return "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"


def _output_tokens(blocks: list[Json]) -> int:
    return sum(
        len(pieces(block.get("text") or block.get("thinking") or ""))
        + (len(pieces(encode(block["input"]).decode())) + 4 if "input" in block else 0)
        for block in blocks
    )


def _message(exchange: Exchange) -> Json:
    blocks = [] if exchange.body["max_tokens"] == 0 else _blocks(exchange)
    cached = exchange.script.cached_tokens
    return {
        "id": exchange.answer.id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": exchange.body["model"],
        "content": blocks,
        "stop_reason": _stop_reason(exchange, blocks),
        "stop_sequence": None,
        "usage": {
            "input_tokens": _input_tokens(exchange),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": _output_tokens(blocks),
            "service_tier": "standard",
        },
    }


def _block_deltas(exchange: Exchange, block: Json) -> tuple[Json, list[Json]]:
    """Return the block as it starts, and the deltas that fill it."""
    match block["type"]:
        case "text":
            deltas: list[Json] = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            return {"type": "text", "text": ""}, deltas
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    tool = next(tool for tool in exchange.body["tools"] if tool["name"] == block["name"])
    arguments = encode(block["input"]).decode()
    if exchange.script.bad_tool_json:
        arguments = tool_arguments(exchange, tool.get("input_schema"))
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(arguments))]
    return {**block, "input": {}}, deltas


def _stream(exchange: Exchange, message: Json) -> Reply:
    start = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    events = [named_event("message_start", {"type": "message_start", "message": start})]
    for index, block in enumerate(message["content"]):
        opened, deltas = _block_deltas(exchange, block)
        events.append(_indexed("content_block_start", index, content_block=opened))
        if index == 0:
            events.append(named_event("ping", {"type": "ping"}))
        events += [_indexed("content_block_delta", index, delta=delta) for delta in deltas]
        events.append(_indexed("content_block_stop", index))
    ending: Json = {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": message["usage"]["output_tokens"]},
    }
    events.append(named_event("message_delta", ending))
    script = exchange.script
    if script.error_after is not None:
        error = error_body("anthropic", APIError(529, "Overloaded"), exchange.answer.id("req_"))
        events = [*events[: script.error_after], named_event("error", error)]
    elif not script.no_terminal:
        events.append(named_event("message_stop", {"type": "message_stop"}))
    return Reply(content_type="text/event-stream; charset=utf-8", events=events)


def _indexed(name: str, index: int, **members: Any) -> bytes:
    return named_event(name, {"type": name, "index": index, **members})


def _model(name: str) -> Json:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-02-01T00:00:00Z"}


def list_models(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models` of Anthropic."""
    check_version(exchange)
    page = [_model(name) for name in MODELS]
    return json_reply({"data": page, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})


def get_model(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models/{id}` of Anthropic."""
    check_version(exchange)
    if exchange.parts["id"] not in MODELS:
        raise APIError(404, f"model: {exchange.parts['id']}")
    return json_reply(_model(exchange.parts["id"]))
