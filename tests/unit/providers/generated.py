"""Streams as providers send them, made up by hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

#: Any text a model may write, with what breaks parsers often: quotes, line breaks, emoji, our own markers.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(
        [
            "data: [DONE]\n\n",
            ',"usage":null',
            '"usage":{"x":1}',
            "\r\n\r\n",
            "👩‍👩‍👧 naïve\u2028",
            "\\ud83d",
            "obfuscation",
            "",
        ]
    ),
)
names = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(names, json_values, max_size=3)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere, with empty pieces between."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> list[bytes]:
    """Cut bytes anywhere: inside a code point, inside a CRLF."""
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@st.composite
def event_bytes(draw: st.DrawFn, events: list[tuple[str, Any]], *, comments: bool = True) -> bytes:
    """Write (name, payload) events as a server would: either line ending, escaped or raw text, comments between."""
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    ascii_only, spaced = draw(st.booleans()), draw(st.booleans())
    separators = None if spaced else (",", ":")
    lines: list[str] = []
    for name, payload in events:
        if comments and draw(st.integers(0, 9)) == 0:
            lines.append(f": keep-alive{eol}{eol}")
        data = (
            payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=ascii_only, separators=separators)
        )
        lines.append((f"event: {name}{eol}" if name else "") + f"data: {data}{eol}{eol}")
    return "".join(lines).encode()


usages = st.builds(
    lambda given, made, cached: {
        "prompt_tokens": given + cached,
        "completion_tokens": made,
        "total_tokens": given + cached + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    },
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(0, 500),
)


@st.composite
def _chat_deltas(draw: st.DrawFn) -> list[Json]:
    """The chunk choices of one choice, without index."""
    opening: Json = {"role": "assistant"}
    deltas: list[Json] = []
    kind = draw(st.sampled_from(["text", "tools", "text and tools", "refusal", "reasoning"]))
    if kind == "reasoning":
        name = draw(st.sampled_from(["reasoning_content", "reasoning", "reasoning_notes"]))
        deltas += [{name: piece} for piece in draw(pieces(draw(texts)))]
    if "text" in kind or kind == "reasoning":
        opening["content"] = draw(st.sampled_from(["", "Well"]))
        deltas += [{"content": piece} for piece in draw(pieces(draw(texts)))]
    else:
        opening["content"] = None
    if kind == "refusal":
        deltas += [{"refusal": piece} for piece in draw(pieces(draw(texts) + "I cannot"))]
    if "tools" in kind:
        deltas += draw(_tool_deltas())
    if draw(st.booleans()):
        opening["refusal"] = None
    logged = draw(st.booleans())
    parts = [{"delta": opening, "finish_reason": None}]
    for delta in deltas:
        part: Json = {"delta": delta, "finish_reason": None}
        if logged and delta.get("content"):
            token = {"token": delta["content"], "logprob": -0.25, "bytes": [1, 2], "top_logprobs": []}
            part["logprobs"] = {"content": [token], "refusal": None}
        parts.append(part)
    ending = "tool_calls" if "tools" in kind else draw(st.sampled_from(["stop", "stop", "length", "content_filter"]))
    return [*parts, {"delta": {}, "finish_reason": ending}]


@st.composite
def _tool_deltas(draw: st.DrawFn) -> list[Json]:
    deltas: list[Json] = []
    for index in range(draw(st.integers(1, 3))):
        text = json.dumps(draw(arguments), ensure_ascii=draw(st.booleans()))
        call = {"index": index, "id": f"call_{index}", "type": "function"}
        function = {"name": draw(names), "arguments": ""}
        deltas.append({"tool_calls": [{**call, "function": function}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in draw(pieces(text))]
    return deltas


@st.composite
def chat_streams(draw: st.DrawFn) -> tuple[bytes, list[str], bool]:
    """Return a chat stream, the endings of its choices, and whether usage was asked for."""
    head: Json = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": draw(st.integers(1, 2**31)),
        "model": "gpt-x",
    }
    if draw(st.booleans()):
        head |= {"service_tier": "default", "system_fingerprint": "fp_1"}
    usage = draw(st.none() | usages)
    queues = [draw(_chat_deltas()) for _ in range(draw(st.sampled_from([1, 1, 2, 3])))]
    endings = [queue[-1]["finish_reason"] for queue in queues]
    # The first chunk of each choice in turn, as servers do; then in any order that keeps each choice's own.
    parts = [{"index": index, **queue.pop(0)} for index, queue in enumerate(queues)]
    while any(queues):
        index = draw(st.sampled_from([i for i, queue in enumerate(queues) if queue]))
        parts.append({"index": index, **queues[index].pop(0)})
    events: list[tuple[str, Any]] = []
    for part in parts:
        chunk = {**head, "choices": [part]}
        if usage is not None:
            chunk["usage"] = None
        if draw(st.integers(0, 4)) == 0:
            chunk["obfuscation"] = "xyz"
        events.append(("", chunk))
    if usage is not None:
        events.append(("", {**head, "choices": [], "usage": usage}))
    return draw(event_bytes([*events, ("", "[DONE]")])), endings, usage is not None


@st.composite
def completion_streams(draw: st.DrawFn) -> bytes:
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m"}
    parts: list[Json] = []
    for index in range(draw(st.integers(1, 2))):
        for piece in draw(pieces(draw(texts) + "!")):
            scored = {"tokens": [piece], "token_logprobs": [-1.0], "text_offset": [0], "top_logprobs": [{"a": -0.5}]}
            logprobs = scored if draw(st.booleans()) else None
            parts.append({"index": index, "text": piece, "logprobs": logprobs, "finish_reason": None})
        parts.append({"index": index, "text": "", "logprobs": None, "finish_reason": "stop"})
    events: list[tuple[str, Any]] = [("", {**head, "choices": [part]}) for part in parts]
    usage = draw(st.none() | usages)
    if usage is not None:
        events.append(("", {**head, "choices": [], "usage": usage}))
    return draw(event_bytes([*events, ("", "[DONE]")]))
