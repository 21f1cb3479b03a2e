"""The events that stream a plain response, in the order in which OpenAI sends them."""

from __future__ import annotations

from agentcache.providers.dialect import Json
from agentcache.providers.reading import items, members, text_pieces, word

_Events = list[Json]


def response_events(response: Json) -> _Events:
    """Return the events of a completed response, not yet numbered."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    if "completed_at" in begun:
        begun["completed_at"] = None
    events: _Events = [{"type": f"response.{stage}", "response": begun} for stage in ("created", "in_progress")]
    for index, item in enumerate(items(response.get("output"))):
        events += _item_events(index, members(item))
    events.append({"type": "response.completed", "response": response})
    return events


def _item_events(index: int, item: Json) -> _Events:
    place: Json = {"item_id": item.get("id"), "output_index": index}
    opening = dict(item)
    if "status" in opening:
        opening["status"] = "in_progress"
    inner: _Events = []
    match item.get("type"):
        case "message" if isinstance(item.get("content"), list):
            opening["content"] = []
            for position, part in enumerate(item["content"]):
                inner += _part_events({**place, "content_index": position}, members(part))
        case "reasoning":
            opening, inner = _reasoning_events(place, opening)
        case "function_call" if isinstance(item.get("arguments"), str):
            opening["arguments"] = ""
            inner = _text_events("response.function_call_arguments", place, "arguments", item["arguments"])
        case "custom_tool_call" if isinstance(item.get("input"), str):
            opening["input"] = ""
            inner = _text_events("response.custom_tool_call_input", place, "input", item["input"])
    return [
        {"type": "response.output_item.added", "output_index": index, "item": opening},
        *inner,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _text_events(prefix: str, place: Json, member: str, text: str) -> _Events:
    """Return the deltas of a growing text and its `done`."""
    deltas: _Events = [{"type": f"{prefix}.delta", **place, "delta": piece} for piece in text_pieces(text)]
    return [*deltas, {"type": f"{prefix}.done", **place, member: text}]


def _part_events(place: Json, part: Json) -> _Events:
    opening = dict(part)
    inner: _Events = []
    if part.get("type") == "output_text" and isinstance(part.get("text"), str):
        opening["text"] = ""
        if "annotations" in part:
            opening["annotations"] = []
        if "logprobs" in part:
            opening["logprobs"] = []
        inner = _output_text_events(place, part)
    elif part.get("type") == "refusal" and isinstance(part.get("refusal"), str):
        opening["refusal"] = ""
        inner = _text_events("response.refusal", place, "refusal", part["refusal"])
    return [
        {"type": "response.content_part.added", **place, "part": opening},
        *inner,
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _output_text_events(place: Json, part: Json) -> _Events:
    text, scores = part["text"], items(part.get("logprobs"))
    tokens = [word(members(score).get("token")) for score in scores]
    spelled = scores and "".join(tokens) == text
    pieces = (
        [(token, [score]) for token, score in zip(tokens, scores, strict=True)]
        if spelled
        else [(p, []) for p in text_pieces(text)]
    )
    events: _Events = [
        {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": score} for piece, score in pieces
    ]
    for position, annotation in enumerate(items(part.get("annotations"))):
        events.append(
            {
                "type": "response.output_text.annotation.added",
                **place,
                "annotation_index": position,
                "annotation": annotation,
            }
        )
    return [*events, {"type": "response.output_text.done", **place, "text": text, "logprobs": scores}]


def _reasoning_events(place: Json, opening: Json) -> tuple[Json, _Events]:
    """Return the item as it begins, and the events of its summary and its text."""
    begun = dict(opening)
    events: _Events = []
    if isinstance(opening.get("summary"), list):
        begun["summary"] = []
        for position, part in enumerate(map(members, opening["summary"])):
            at = {**place, "summary_index": position}
            text = word(part.get("text"))
            events.append({"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}})
            events += _text_events("response.reasoning_summary_text", at, "text", text)
            events.append({"type": "response.reasoning_summary_part.done", **at, "part": part})
    if isinstance(opening.get("content"), list):
        begun["content"] = []
        for position, part in enumerate(map(members, opening["content"])):
            at = {**place, "content_index": position}
            text = word(part.get("text"))
            events.append({"type": "response.content_part.added", **at, "part": {**part, "text": ""}})
            events += _text_events("response.reasoning_text", at, "text", text)
            events.append({"type": "response.content_part.done", **at, "part": part})
    return begun, events
