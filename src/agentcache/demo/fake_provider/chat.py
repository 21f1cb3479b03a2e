"""Chat completions and legacy completions, as OpenAI and as Together answer them."""

from __future__ import annotations

from typing import Any

from agentcache.demo.fake_provider.answers import count_tokens, fill_schema, pieces
from agentcache.demo.fake_provider.exchange import (
    APIError,
    Exchange,
    Json,
    data_event,
    encode,
    error_body,
    json_reply,
)
from agentcache.demo.fake_provider.wire import Reply

DONE = b"data: [DONE]\n\n"
_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})


def create_chat_completion(exchange: Exchange) -> Reply:
    """Answer `POST /v1/chat/completions`."""
    _check(exchange)
    messages = [_message(exchange, index) for index in range(exchange.body.get("n") or 1)]
    if exchange.body.get("stream"):
        return _stream(exchange, messages)
    return json_reply(_completion(exchange, messages))


def _check(exchange: Exchange) -> None:
    body = exchange.body
    exchange.require("model", "messages")
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise APIError(400, "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an"
                       " empty array instead.", code="empty_array", param="messages")  # fmt: skip
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            param = f"messages[{position}].role"
            raise APIError(400, f"Invalid value for '{param}'.", code="invalid_value", param=param)
    temperature = body.get("temperature")
    if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature <= 2):
        raise APIError(400, "Invalid 'temperature': must be between 0 and 2.", param="temperature")
    if str(body["model"]).startswith("no-such-"):
        message = f"The model `{body['model']}` does not exist or you do not have access to it."
        raise APIError(404, message, code="model_not_found")


def wants_tool(exchange: Exchange) -> bool:
    """Say whether a request with tools gets a tool call: yes unless forbidden, or a tool has just answered."""
    body = exchange.body
    if not body.get("tools") or body.get("tool_choice") == "none" or exchange.script.text is not None:
        return False
    last = body["messages"][-1]
    return body.get("tool_choice") not in (None, "auto") or last.get("role") != "tool"


def tool_arguments(exchange: Exchange, schema: Any) -> str:
    """Return the arguments of a call as JSON text, cut in the middle when the script asks for it."""
    arguments = encode(fill_schema(schema or {"type": "object"}, exchange.answer)).decode()
    return arguments[: max(len(arguments) // 2, 1)] if exchange.script.bad_tool_json else arguments


def _tool_calls(exchange: Exchange, index: int) -> list[Json]:
    body = exchange.body
    functions = [tool["function"] for tool in body["tools"] if tool.get("type", "function") == "function"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        functions = [function for function in functions if function["name"] == name]
        if not functions:
            raise APIError(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    count = exchange.script.tool_calls or 1
    return [
        {
            "id": exchange.answer.id("call_") + (f"_{index}_{position}" if index or position else ""),
            "type": "function",
            "function": {
                "name": functions[position % len(functions)]["name"],
                "arguments": tool_arguments(exchange, functions[position % len(functions)].get("parameters")),
            },
        }
        for position in range(count)
    ]


def _content(exchange: Exchange, index: int) -> str:
    text = exchange.text
    wanted = exchange.body.get("response_format")
    if isinstance(wanted, dict) and exchange.script.text is None:
        if wanted.get("type") == "json_schema":
            # Together also takes the schema without the wrapper.
            wrapper = wanted.get("json_schema") or {}
            return encode(fill_schema(wrapper.get("schema") or wanted.get("schema") or {}, exchange.answer)).decode()
        if wanted.get("type") == "json_object":
            return encode({"answer": text}).decode()
    return text if index == 0 else f"{text} (choice {index})"


def _message(exchange: Exchange, index: int) -> Json:
    message: Json = {"role": "assistant", "content": None}
    if exchange.script.refusal:
        message["refusal"] = exchange.script.refusal
    elif wants_tool(exchange):
        message["tool_calls"] = _tool_calls(exchange, index)
    else:
        message["content"] = _content(exchange, index)
    if exchange.dialect == "openai":
        message.setdefault("refusal", None)
        message["annotations"] = []
    else:
        for position, call in enumerate(message.setdefault("tool_calls", [])):
            call["index"] = position
    return message


def _finish_reason(exchange: Exchange, message: Json) -> str | None:
    if exchange.script.no_finish_reason:
        return None
    if exchange.script.finish_reason:
        return exchange.script.finish_reason
    if message.get("tool_calls"):
        return "tool_calls"
    return "eos" if exchange.dialect == "together" else "stop"


def usage_of(exchange: Exchange, prompt: Any, outputs: list[Json]) -> Json:
    """Return the `usage` member for a prompt and its answers."""
    prompt_tokens = count_tokens(prompt) + count_tokens(exchange.body.get("tools")) + 3
    completion_tokens = sum(
        len(pieces(output.get("content") or output.get("refusal") or output.get("text") or ""))
        + sum(len(pieces(call["function"]["arguments"])) + 4 for call in output.get("tool_calls") or ())
        for output in outputs
    )
    usage: Json = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if exchange.dialect == "openai":
        cached = min(exchange.script.cached_tokens, prompt_tokens)
        usage["prompt_tokens_details"] = {"cached_tokens": cached, "audio_tokens": 0, "cache_write_tokens": 0}
        usage["completion_tokens_details"] = {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        }  # fmt: skip
    return usage


def _logprobs(exchange: Exchange, text: str) -> Json | None:
    if not exchange.body.get("logprobs"):
        return None
    if exchange.dialect == "together":
        found = pieces(text)
        return {"tokens": found, "token_ids": list(range(len(found))), "token_logprobs": [-0.25] * len(found)}
    tokens = [{"token": t, "logprob": -0.25, "bytes": list(t.encode()), "top_logprobs": []} for t in pieces(text)]
    return {"content": tokens, "refusal": None}


def _head(exchange: Exchange, kind: str) -> Json:
    head: Json = {
        "id": exchange.answer.id("chatcmpl-" if exchange.dialect == "openai" else "o"),
        "object": kind,
        "created": int(exchange.now),
        "model": exchange.body["model"],
    }
    if exchange.dialect == "openai":
        head["service_tier"] = "default"
        head["system_fingerprint"] = "fp_fake000001"
    return head


def _completion(exchange: Exchange, messages: list[Json]) -> Json:
    completion = _head(exchange, "chat.completion")
    completion["choices"] = choices = []
    for index, message in enumerate(messages):
        choice: Json = {
            "index": index,
            "message": message,
            "logprobs": _logprobs(exchange, message.get("content") or ""),
            "finish_reason": _finish_reason(exchange, message),
        }
        if exchange.dialect == "together":
            choice["seed"] = exchange.body.get("seed") or int.from_bytes(exchange.answer.digest[8:12], "big")
        choices.append(choice)
    if exchange.dialect == "together":
        completion["prompt"] = _echoed_prompt(exchange)
    completion["usage"] = usage_of(exchange, exchange.body["messages"], messages)
    return completion


def _echoed_prompt(exchange: Exchange) -> list[Json]:
    if not exchange.body.get("echo"):
        return []
    return [{"text": str(message.get("content"))} for message in exchange.body["messages"]]


class _ChunkWriter:
    """Writes the chunks of one stream; all share id, created and model."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        options = exchange.body.get("stream_options") or {}
        self._openai = exchange.dialect == "openai"
        self.include_usage = self._openai and bool(options.get("include_usage"))
        self._obfuscate = self._openai and options.get("include_obfuscation", True)
        self._head = _head(exchange, "chat.completion.chunk")
        self.events: list[bytes] = []

    def add(self, index: int, delta: Json, finish_reason: str | None = None, **more: Any) -> None:
        """Append one chunk with one choice."""
        choice: Json = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        if self._openai and delta.get("content"):
            choice["logprobs"] = _logprobs(self._exchange, delta["content"])
        if not self._openai:
            delta = choice["delta"] = {"role": "assistant", "content": "", **delta}
            choice["seed"] = self._exchange.body.get("seed")
        chunk = {**self._head, "choices": [choice], **more}
        if self.include_usage:
            chunk.setdefault("usage", None)
        if self._obfuscate:
            # The real one pads deltas to a length that tells nothing; here it only must differ per chunk.
            chunk["obfuscation"] = f"{len(self.events) * 2654435761 % 2**32:x}"
        self.events.append(data_event(chunk))

    def add_usage(self, usage: Json) -> None:
        """Append the chunk without choices that carries the usage."""
        self.events.append(data_event({**self._head, "choices": [], "usage": usage}))


def _message_deltas(message: Json) -> list[Json]:
    deltas: list[Json] = [{"content": piece} for piece in pieces(message["content"] or "")]
    deltas += [{"refusal": piece} for piece in pieces(message.get("refusal") or "")]
    for position, call in enumerate(message.get("tool_calls") or ()):
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": position, "id": call["id"], "type": "function", "function": function}]})
        for piece in pieces(call["function"]["arguments"]):
            deltas.append({"tool_calls": [{"index": position, "function": {"arguments": piece}}]})
    return deltas


def _stream(exchange: Exchange, messages: list[Json]) -> Reply:
    writer = _ChunkWriter(exchange)
    usage = usage_of(exchange, exchange.body["messages"], messages)
    for index, message in enumerate(messages):
        first: Json = {"role": "assistant", "content": "" if message["content"] is not None else None}
        if exchange.dialect == "openai":
            first["refusal"] = None
        writer.add(index, first)
        for delta in _message_deltas(message):
            writer.add(index, delta)
    for index, message in enumerate(messages):
        last = index == len(messages) - 1
        more = {"usage": usage} if exchange.dialect == "together" and last else {}
        writer.add(index, {}, _finish_reason(exchange, message), **more)
    if writer.include_usage:
        writer.add_usage(usage)
    return finish_stream(exchange, writer.events)


def finish_stream(exchange: Exchange, events: list[bytes]) -> Reply:
    """Return the event stream with `[DONE]`, or with the error or missing end that the script asks for."""
    script = exchange.script
    if script.error_after is not None:
        error = APIError(500, "The server had an error while processing your request.")
        events = [*events[: script.error_after], data_event(error_body(exchange.dialect, error, ""))]
    elif not script.no_terminal:
        events = [*events, DONE]
    return Reply(content_type="text/event-stream; charset=utf-8", events=events)


def create_completion(exchange: Exchange) -> Reply:
    """Answer `POST /v1/completions`; `echo` and `n` (per prompt) are honoured."""
    exchange.require("model", "prompt")
    body, text = exchange.body, exchange.text
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    if prompts and isinstance(prompts[0], int):
        prompts = [prompts]
    reason = None if exchange.script.no_finish_reason else exchange.script.finish_reason or "stop"
    choices: list[Json] = []
    for prompt in prompts:
        prefix = prompt if body.get("echo") and isinstance(prompt, str) and exchange.dialect == "openai" else ""
        for _ in range(body.get("n") or 1):
            index = len(choices)
            said = prefix + (text if index == 0 else f"{text} (choice {index})")
            choices.append({"index": index, "text": said, "logprobs": None, "finish_reason": reason})
    kind = "text.completion" if exchange.dialect == "together" else "text_completion"
    head = _head(exchange, kind) | {"id": exchange.answer.id("cmpl-")}
    usage = usage_of(exchange, prompts, choices)
    if not body.get("stream"):
        if exchange.dialect == "together":
            head["prompt"] = [{"text": prompts[0]}] if body.get("echo") else []
        return json_reply({**head, "choices": choices, "usage": usage})
    events = []
    include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    blank: Json = {"usage": None} if include_usage else {}
    for choice in choices:
        for piece in pieces(choice["text"]):
            part = {**choice, "text": piece, "finish_reason": None}
            if exchange.dialect == "together":
                part["delta"] = {"role": "assistant", "content": piece}
            events.append(data_event({**head, "choices": [part], **blank}))
        events.append(data_event({**head, "choices": [{**choice, "text": ""}], **blank}))
    if include_usage:
        events.append(data_event({**head, "choices": [], "usage": usage}))
    return finish_stream(exchange, events)
