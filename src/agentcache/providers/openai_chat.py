"""Chat completions as OpenAI shapes them: what a good answer is, and how a stream becomes one and back."""

from __future__ import annotations

from typing import Any

from agentcache.providers.dialect import COMPLETE, Json, Usage, Verdict
from agentcache.providers.openai_chunks import ChunkStream
from agentcache.providers.openai_delta import finish_delta, merge_delta
from agentcache.providers.reading import count, is_json_object, items, judge_ending, members, text_pieces, word


def chat_usage(answer: Json) -> Usage:
    """Read `usage`; cached tokens are part of `prompt_tokens` here."""
    usage = members(answer.get("usage"))
    details = members(usage.get("prompt_tokens_details"))
    # DeepSeek reports what it read from its cache beside the details.
    cached = count(details.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_input_tokens=cached,
        cache_write_tokens=count(details.get("cache_write_tokens")),
    )


def judge_choices(answer: Json) -> Verdict | list[Json]:
    """Return the choices of an answer that has some and no error, else why it may not be stored."""
    if answer.get("error"):
        return Verdict(False, "error_in_body")
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return Verdict(False, "malformed")
    if not choices:
        return Verdict(False, "empty")
    if not all(isinstance(choice, dict) for choice in choices):
        return Verdict(False, "malformed")
    if sorted(count(choice.get("index", 0)) for choice in choices) != list(range(len(choices))):
        return Verdict(False, "incomplete")
    return choices


def judge_chat(answer: Json) -> Verdict:
    """Accept an answer whose every choice ended well and says or calls something."""
    choices = judge_choices(answer)
    if isinstance(choices, Verdict):
        return choices
    for choice in choices:
        for verdict in (judge_ending(choice.get("finish_reason")), _judge_message(choice)):
            if not verdict.storable:
                return verdict
    return COMPLETE


def _judge_message(choice: Json) -> Verdict:
    message = choice.get("message")
    if not isinstance(message, dict):
        return Verdict(False, "malformed")
    if message.get("refusal"):
        return Verdict(False, "refusal")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        return Verdict(False, "malformed")
    for call in calls:
        if not _is_whole_call(call):
            return Verdict(False, "bad_tool_arguments")
    function_call = message.get("function_call")
    if function_call and not _is_whole_function(function_call):
        return Verdict(False, "bad_tool_arguments")
    if calls or function_call:
        return COMPLETE
    if word(choice.get("finish_reason")) in {"tool_calls", "function_call"}:
        return Verdict(False, "incomplete")
    return COMPLETE if any(message.get(name) for name in _SAYS_SOMETHING) else Verdict(False, "empty")


#: Members of a message that are an answer by themselves; reasoning alone is not.
_SAYS_SOMETHING = ("content", "audio", "images")


def _is_whole_call(call: object) -> bool:
    call = members(call)
    if not isinstance(call.get("id"), str) or not call["id"]:
        return False
    if call.get("type") == "custom":
        custom = members(call.get("custom"))
        return bool(custom.get("name")) and isinstance(custom.get("input"), str)
    return _is_whole_function(call.get("function"))


def _is_whole_function(function: object) -> bool:
    function = members(function)
    name = function.get("name")
    return isinstance(name, str) and bool(name) and is_json_object(function.get("arguments"))


class ChatChoices:
    """How the choices of a chat stream grow."""

    def add_choice(self, into: Json, choice: Json) -> None:
        """Merge one choice of a chunk."""
        delta = choice.get("delta")
        if delta is not None:
            if isinstance(members(delta).get("content"), list) and into.get("message", {}).get("content"):
                # Typed content parts come without an index: nobody can say which ones belong together.
                raise ValueError("content parts in several deltas")
            merge_delta(into.setdefault("message", {}), delta)
        merge_logprobs(into, choice)
        for name, value in choice.items():
            if name == "text" and isinstance(value, str):
                into[name] = into.get(name, "") + value
            elif name not in {"index", "delta", "logprobs"} and (value is not None or name not in into):
                into[name] = value

    def finished_choice(self, choice: Json) -> Json:
        """Return the choice as a plain answer has it."""
        message = finish_delta(choice.get("message", {}))
        shaped = {"role": message.pop("role", "assistant"), "content": message.pop("content", None), **message}
        return {**choice, "message": shaped}


def merge_logprobs(into: Json, choice: Json) -> None:
    """Append the token lists of a chunk's `logprobs`."""
    if "logprobs" not in choice:
        return
    logprobs = choice["logprobs"]
    if not isinstance(logprobs, dict):
        into.setdefault("logprobs", logprobs)
        return
    merged = into.get("logprobs")
    if not isinstance(merged, dict):
        merged = into["logprobs"] = {}
    for name, value in logprobs.items():
        if isinstance(value, list) and isinstance(merged.get(name), list):
            merged[name].extend(value)
        elif value is not None or name not in merged:
            merged[name] = list(value) if isinstance(value, list) else value


def split_chat_choice(choice: Json) -> list[Json]:
    """Return the chunk choices that stream one choice of a plain answer: role, deltas, finish."""
    message = members(choice.get("message"))
    content = message.get("content")
    tool_calls = items(message.get("tool_calls"))
    opening: Json = {"role": message.get("role", "assistant"), "content": "" if isinstance(content, str) else content}
    rest = {k: v for k, v in message.items() if k not in {"role", "content", "tool_calls", "refusal", "function_call"}}
    if "refusal" in message:
        opening["refusal"] = "" if isinstance(message["refusal"], str) else None
    if "tool_calls" in message and not tool_calls:
        opening["tool_calls"] = message["tool_calls"]
    deltas = [opening]
    for name in [name for name, value in rest.items() if name.startswith("reasoning") and isinstance(value, str)]:
        deltas += [{name: piece} for piece in text_pieces(rest.pop(name)) or [""]]
    if rest:
        deltas.append(rest)
    deltas += _call_deltas(message, tool_calls)
    spoken = _spoken_choices(message, choice.get("logprobs"))
    ending = {k: v for k, v in choice.items() if k not in {"index", "message", "logprobs", "finish_reason"}}
    choices = [{"delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices += [{"delta": delta, "logprobs": logprobs, "finish_reason": None} for delta, logprobs in spoken]
    choices.append({"delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason"), **ending})
    return [{"index": choice.get("index", 0), **part} for part in choices]


def _call_deltas(message: Json, tool_calls: list[Any]) -> list[Json]:
    deltas: list[Json] = []
    for index, call in enumerate(map(members, tool_calls)):
        kind = "custom" if call.get("type") == "custom" else "function"
        grows = "input" if kind == "custom" else "arguments"
        called = members(call.get(kind))
        head = {**call, kind: {**called, grows: ""}, "index": index}
        deltas.append({"tool_calls": [head]})
        deltas += [{"tool_calls": [{"index": index, kind: {grows: p}}]} for p in text_pieces(word(called.get(grows)))]
    function_call = message.get("function_call")
    if isinstance(function_call, dict):
        deltas.append({"function_call": {**function_call, "arguments": ""}})
        deltas += [{"function_call": {"arguments": p}} for p in text_pieces(word(function_call.get("arguments")))]
    elif "function_call" in message:
        deltas.append({"function_call": function_call})
    return deltas


def _token(score: object) -> str:
    return word(members(score).get("token"))


def _spoken_choices(message: Json, logprobs: Any) -> list[tuple[Json, Any]]:
    """Pair each piece of `content` and `refusal` with its log probabilities, token by token where they are known."""
    spoken: list[tuple[Json, Any]] = []
    scores = members(logprobs)
    for name in ("content", "refusal"):
        text = message.get(name)
        tokens = items(scores.get(name))
        if not isinstance(text, str):
            pieces: list[str] = []
        elif tokens and "".join(map(_token, tokens)) == text:
            spoken += [({name: _token(token)}, {**dict.fromkeys(scores), name: [token]}) for token in tokens]
            continue
        else:
            pieces = text_pieces(text)
        for position, piece in enumerate(pieces or ([""] if tokens else [])):
            spoken.append(({name: piece}, {**dict.fromkeys(scores), name: tokens} if tokens and not position else None))
    if scores and not spoken:
        spoken.append(({}, logprobs))
    return spoken


CHAT_STREAM = ChunkStream(
    plain_object="chat.completion",
    chunk_object="chat.completion.chunk",
    choices=ChatChoices(),
    judge=judge_chat,
    split_choice=split_chat_choice,
)
