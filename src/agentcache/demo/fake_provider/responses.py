"""OpenAI's Responses API: plain, streamed, tools, structured output, stored and background responses."""

from __future__ import annotations

from typing import Any

from agentcache.demo.fake_provider.answers import count_tokens, fill_schema, pieces
from agentcache.demo.fake_provider.chat import tool_arguments
from agentcache.demo.fake_provider.exchange import APIError, Exchange, Json, encode, json_reply, named_event
from agentcache.demo.fake_provider.wire import Reply

#: Stored responses kept before the oldest is forgotten.
KEPT_RESPONSES = 10_000
_ECHOED: Json = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "prompt_cache_key": None, "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None, "service_tier": "default", "store": True, "temperature": 1.0, "tool_choice": "auto",
    "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "user": None,
}  # fmt: skip


def create_response(exchange: Exchange) -> Reply:
    """Answer `POST /v1/responses`."""
    body = exchange.body
    exchange.require("model")
    if "input" not in body and "prompt" not in body:
        exchange.require("input")
    if str(body["model"]).startswith("no-such-"):
        raise APIError(404, f"The model `{body['model']}` does not exist.", code="model_not_found")
    previous = body.get("previous_response_id")
    if previous is not None and previous not in exchange.state.responses:
        message = f"Previous response with id '{previous}' not found."
        raise APIError(400, message, code="previous_response_not_found", param="previous_response_id")
    response = _response(exchange)
    _store(exchange, response)
    if body.get("background"):
        return json_reply({**response, "status": "queued", "output": [], "usage": None, "completed_at": None})
    if body.get("stream"):
        return _stream(exchange, response)
    return json_reply(response)


def _store(exchange: Exchange, response: Json) -> None:
    if exchange.body.get("store") is not False:
        stored = exchange.state.responses
        stored[response["id"]] = response
        if len(stored) > KEPT_RESPONSES:
            del stored[next(iter(stored))]


def _stored(exchange: Exchange) -> Json:
    found = exchange.state.responses.get(exchange.parts["id"])
    if found is None:
        raise APIError(404, f"Response with id '{exchange.parts['id']}' not found.")
    return found


def get_response(exchange: Exchange) -> Reply:
    """Answer `GET /v1/responses/{id}`."""
    return json_reply(_stored(exchange))


def delete_response(exchange: Exchange) -> Reply:
    """Answer `DELETE /v1/responses/{id}`."""
    identifier = _stored(exchange)["id"]
    del exchange.state.responses[identifier]
    return json_reply({"id": identifier, "object": "response", "deleted": True})


def cancel_response(exchange: Exchange) -> Reply:
    """Answer `POST /v1/responses/{id}/cancel`; only background responses can be cancelled."""
    response = _stored(exchange)
    if not response["background"]:
        raise APIError(400, "Only responses with background=true can be cancelled.")
    response["status"] = "cancelled"
    return json_reply(response)


def _wants_tool(exchange: Exchange) -> bool:
    body = exchange.body
    if not body.get("tools") or body.get("tool_choice") == "none" or exchange.script.text is not None:
        return False
    if not any(tool.get("type") == "function" for tool in body["tools"]):
        return False
    items = body.get("input")
    answered = isinstance(items, list) and bool(items) and items[-1].get("type") == "function_call_output"
    return body.get("tool_choice") not in (None, "auto") or not answered


def _function_calls(exchange: Exchange) -> list[Json]:
    functions = [tool for tool in exchange.body["tools"] if tool.get("type") == "function"]
    choice = exchange.body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        functions = [function for function in functions if function["name"] == choice.get("name")]
        if not functions:
            raise APIError(400, f"Tool choice '{choice.get('name')}' not found in 'tools'.", param="tool_choice")
    calls = []
    for position in range(exchange.script.tool_calls or 1):
        function = functions[position % len(functions)]
        calls.append({
            "id": exchange.answer.id("fc_") + (f"_{position}" if position else ""),
            "type": "function_call",
            "status": "completed",
            "call_id": exchange.answer.id("call_") + (f"_{position}" if position else ""),
            "name": function["name"],
            "arguments": tool_arguments(exchange, function.get("parameters")),
        })  # fmt: skip
    return calls


def _output(exchange: Exchange) -> list[Json]:
    output: list[Json] = []
    if isinstance(exchange.body.get("reasoning"), dict) and exchange.body["reasoning"].get("effort"):
        output.append({"id": exchange.answer.id("rs_"), "type": "reasoning", "summary": []})
    if _wants_tool(exchange):
        return output + _function_calls(exchange)
    if exchange.script.refusal:
        part: Json = {"type": "refusal", "refusal": exchange.script.refusal}
    else:
        wanted = (exchange.body.get("text") or {}).get("format") or {}
        text = exchange.text
        if exchange.script.text is None and wanted.get("type") == "json_schema":
            text = encode(fill_schema(wanted.get("schema"), exchange.answer)).decode()
        elif exchange.script.text is None and wanted.get("type") == "json_object":
            text = encode({"answer": text}).decode()
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"id": exchange.answer.id("msg_"), "type": "message", "status": "completed", "role": "assistant"}
    return [*output, {**message, "content": [part]}]


def _usage(exchange: Exchange, output: list[Json]) -> Json:
    body = exchange.body
    input_tokens = sum(count_tokens(body.get(member)) for member in ("instructions", "input", "tools")) + 3
    said = [part.get("text") or part.get("refusal") or "" for item in output for part in item.get("content", ())]
    said += [item["arguments"] for item in output if item["type"] == "function_call"]
    reasoning = 16 if any(item["type"] == "reasoning" for item in output) else 0
    output_tokens = sum(len(pieces(text)) for text in said) + reasoning
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": min(exchange.script.cached_tokens, input_tokens),
            "cache_write_tokens": 0,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + output_tokens,
    }


def _response(exchange: Exchange) -> Json:
    body, script = exchange.body, exchange.script
    output = _output(exchange)
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    incomplete = reasons.get(script.finish_reason, script.finish_reason or None)
    return {
        "id": exchange.answer.id("resp_"),
        "object": "response",
        "created_at": int(exchange.now),
        "completed_at": int(exchange.now),
        "status": "incomplete" if incomplete else "completed",
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": body["model"],
        "output": output,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})},
        "usage": _usage(exchange, output),
        **{name: body.get(name, default) for name, default in _ECHOED.items()},
    }


class _EventWriter:
    """Writes the events of one stream, numbered from 0."""

    def __init__(self) -> None:
        self.events: list[bytes] = []

    def add(self, kind: str, **members: Any) -> None:
        """Append one event."""
        self.events.append(named_event(kind, {"type": kind, **members, "sequence_number": len(self.events)}))


def _stream(exchange: Exchange, response: Json) -> Reply:
    writer, script = _EventWriter(), exchange.script
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    writer.add("response.created", response=begun)
    writer.add("response.in_progress", response=begun)
    for index, item in enumerate(response["output"]):
        _add_item(writer, index, item)
    if script.error_after is not None:
        del writer.events[script.error_after :]
        writer.add("error", code="server_error", message="The server had an error.", param=None)
    elif not script.no_terminal:
        writer.add(f"response.{response['status']}", response=response)
    return Reply(content_type="text/event-stream; charset=utf-8", events=writer.events)


def _add_item(writer: _EventWriter, index: int, item: Json) -> None:
    where: Json = {"item_id": item["id"], "output_index": index}
    begun = {**item, "status": "in_progress"} if "status" in item else item
    if item["type"] == "function_call":
        writer.add("response.output_item.added", output_index=index, item={**begun, "arguments": ""})
        for piece in pieces(item["arguments"]):
            writer.add("response.function_call_arguments.delta", **where, delta=piece)
        done = {"arguments": item["arguments"], "name": item["name"]}
        writer.add("response.function_call_arguments.done", **where, **done)
    elif item["type"] == "message":
        writer.add("response.output_item.added", output_index=index, item={**begun, "content": []})
        for position, part in enumerate(item["content"]):
            _add_part(writer, {**where, "content_index": position}, part)
    else:
        writer.add("response.output_item.added", output_index=index, item=begun)
    writer.add("response.output_item.done", output_index=index, item=item)


def _add_part(writer: _EventWriter, where: Json, part: Json) -> None:
    if part["type"] == "refusal":
        writer.add("response.content_part.added", **where, part={**part, "refusal": ""})
        for piece in pieces(part["refusal"]):
            writer.add("response.refusal.delta", **where, delta=piece)
        writer.add("response.refusal.done", **where, refusal=part["refusal"])
    else:
        writer.add("response.content_part.added", **where, part={**part, "text": ""})
        for piece in pieces(part["text"]):
            writer.add("response.output_text.delta", **where, delta=piece, logprobs=[])
        writer.add("response.output_text.done", **where, text=part["text"], logprobs=[])
    writer.add("response.content_part.done", **where, part=part)
