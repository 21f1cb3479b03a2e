"""Anthropic message streams and OpenAI response streams, made up by hypothesis."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.unit.providers.generated import Json, arguments, event_bytes, json_values, names, pieces, texts

_citations = st.builds(
    lambda text: {
        "type": "char_location",
        "cited_text": text,
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 3,
        "file_id": None,
    },
    texts,
)


@st.composite
def _block(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """A content block as it opens, and its deltas."""
    kind = draw(st.sampled_from(["text", "text", "cited text", "thinking", "redacted_thinking", "tool_use", "result"]))
    if kind == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in draw(pieces(draw(texts)))]
    if kind == "cited text":
        deltas: list[Json] = [{"type": "text_delta", "text": p} for p in draw(pieces(draw(texts)))]
        deltas += [{"type": "citations_delta", "citation": c} for c in draw(st.lists(_citations, max_size=2))]
        return {"type": "text", "text": "", "citations": []}, draw(st.permutations(deltas))
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": p} for p in draw(pieces(draw(texts)))]
        signature = {"type": "signature_delta", "signature": draw(texts)}
        return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
    if kind == "redacted_thinking":
        return {"type": "redacted_thinking", "data": draw(texts)}, []
    if kind == "tool_use":
        given = draw(arguments)
        text = "" if not given else json.dumps(given, ensure_ascii=draw(st.booleans()))
        deltas = [{"type": "input_json_delta", "partial_json": p} for p in ["", *draw(pieces(text))]]
        return {"type": "tool_use", "id": "toolu_1", "name": draw(names), "input": {}}, deltas
    return {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [], "caller": None}, []


@st.composite
def message_streams(draw: st.DrawFn) -> bytes:
    blocks = draw(st.lists(_block(), min_size=1, max_size=4))
    blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": "So."}]))
    message: Json = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": draw(st.integers(1, 99)), "output_tokens": 1, "service_tier": "standard"},
    }
    events: list[tuple[str, Json]] = [("message_start", {"message": message})]
    for index, (opening, deltas) in enumerate(blocks):
        events.append(("content_block_start", {"index": index, "content_block": opening}))
        for delta in deltas:
            if draw(st.integers(0, 9)) == 0:
                events.append(("ping", {}))
            events.append(("content_block_delta", {"index": index, "delta": delta}))
        events.append(("content_block_stop", {"index": index}))
    called = any(opening["type"] == "tool_use" for opening, _ in blocks)
    stop = "tool_use" if called else draw(st.sampled_from(["end_turn", "stop_sequence"]))
    ending = {"stop_reason": stop, "stop_sequence": "###" if stop == "stop_sequence" else None}
    totals: Json = {"output_tokens": draw(st.integers(1, 999))}
    if draw(st.booleans()):
        totals |= {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens_details": {"thinking_tokens": 2}}
    if draw(st.booleans()):
        # Counts are cumulative: a later report replaces an earlier one.
        events.append(("message_delta", {"delta": {"stop_reason": None}, "usage": {"output_tokens": 1}}))
    events += [("message_delta", {"delta": ending, "usage": totals}), ("message_stop", {})]
    return draw(event_bytes([(name, {"type": name, **payload}) for name, payload in events]))


@st.composite
def _item(draw: st.DrawFn, number: int) -> Json:
    kind = draw(st.sampled_from(["message", "scored message", "function_call", "custom_tool_call", "reasoning"]))
    item_id = f"item_{number}"
    if "message" in kind:
        text = draw(texts) + "."
        part: Json = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        if kind == "scored message":
            part["logprobs"] = [
                {"token": piece, "logprob": -0.5, "bytes": [9], "top_logprobs": []} for piece in draw(pieces(text))
            ]
        cited = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 1}
        if draw(st.booleans()):
            part["annotations"] = [cited]
        return {"id": item_id, "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    if kind == "function_call":
        text = json.dumps(draw(arguments))
        call = {"call_id": f"call_{number}", "name": draw(names), "arguments": text}
        return {"id": item_id, "type": "function_call", "status": "completed", **call}
    if kind == "custom_tool_call":
        return {"id": item_id, "type": kind, "call_id": f"c{number}", "name": draw(names), "input": draw(texts)}
    summary = [{"type": "summary_text", "text": text} for text in draw(st.lists(texts, max_size=2))]
    reasoning: Json = {"id": item_id, "type": "reasoning", "summary": summary}
    if draw(st.booleans()):
        reasoning["content"] = [{"type": "reasoning_text", "text": draw(texts)}]
    if draw(st.booleans()):
        reasoning["encrypted_content"] = draw(texts)
    return reasoning


@st.composite
def responses(draw: st.DrawFn) -> Json:
    """A completed plain response."""
    output = [draw(_item(number)) for number in range(draw(st.integers(0, 3)))]
    said = {"type": "output_text", "text": "Done.", "annotations": [], "logprobs": []}
    output.append({"id": "last", "type": "message", "role": "assistant", "status": "completed", "content": [said]})
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_800_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": draw(st.none() | texts),
        "metadata": draw(st.dictionaries(names, texts, max_size=2)),
        "model": "gpt-x",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "user": None,
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 2},
            "output_tokens": 6,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 11,
        },
        "x_extra": draw(json_values),
    }
