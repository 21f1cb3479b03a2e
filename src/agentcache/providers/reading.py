"""Reads what providers send, without trust: any JSON shape may come, and none may raise."""

from __future__ import annotations

from typing import Any

import msgspec

from agentcache.providers.dialect import COMPLETE, Json, Verdict

#: What `msgspec` raises for bytes that are not one JSON value: bad syntax, bad UTF-8, too deep.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode

#: Endings by which a model says it had finished what it wanted to say.
GOOD_ENDINGS = frozenset({"stop", "eos", "tool_calls", "function_call", "tool_use", "end_turn", "stop_sequence"})
#: Other endings -> the reason that a verdict gives.
BAD_ENDINGS = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
    "pause_turn": "pause_turn",
    "error": "incomplete",
    "abort": "incomplete",
    "insufficient_system_resource": "incomplete",
}


def judge_ending(ending: object) -> Verdict:
    """Judge a `finish_reason` or `stop_reason`."""
    if ending is None or ending == "":
        return Verdict(False, "no_finish_reason")
    if not isinstance(ending, str):
        return Verdict(False, "malformed")
    if ending in GOOD_ENDINGS:
        return COMPLETE
    return Verdict(False, BAD_ENDINGS.get(ending, "unknown_finish_reason"))


def is_json_object(text: object) -> bool:
    """Say whether `text` is a string that holds a JSON object."""
    if not isinstance(text, str):
        return False
    try:
        return isinstance(decode_json(text), dict)
    except UNREADABLE:
        return False


def members(value: object) -> Json:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return `value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def word(value: object) -> str:
    """Return `value` if it is a string, else an empty one: a member that names a kind may hold anything."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """Return `value` if it is a whole number that can be a count, else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


_PIECE_CHARACTERS_MIN = 24
_PIECES_MAX = 256


def text_pieces(text: str) -> list[str]:
    """Cut a text into pieces of a few words, as a model streams it; joined they are the text."""
    step = max(_PIECE_CHARACTERS_MIN, -(-len(text) // _PIECES_MAX))
    return [text[i : i + step] for i in range(0, len(text), step)]


def mirror(answer: Json, request: Json, defaults: Json) -> Json:
    """Set the members of `answer` that repeat the request's own: from `request`, else to what `defaults` says.

    A member that neither the stored answer nor this request has stays absent.
    """
    changed = dict(answer)
    for name, default in defaults.items():
        if request.get(name) is not None:
            changed[name] = request[name]
        elif name in changed:
            changed[name] = default
    return changed
