"""Joins the deltas of a chat stream into the message that a plain answer carries."""

from __future__ import annotations

import base64
from typing import Any

from agentcache.providers.dialect import Json

#: String members that a later delta repeats or replaces; every other string grows.
_FIXED = frozenset({"role", "id", "type", "format", "signature"})


class _Text(list[str]):
    """A string that is still growing."""


def merge_delta(into: Json, delta: object) -> None:
    """Merge one delta into what came before. Raises `ValueError` where the two do not fit."""
    if not isinstance(delta, dict):
        raise ValueError("a delta is not an object")
    for name, value in delta.items():
        before = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, str):
            into[name] = _merged_text(name, before, value)
        elif isinstance(value, dict):
            if not isinstance(before, dict):
                before = into[name] = {}
            merge_delta(before, value)
        elif isinstance(value, list):
            if before is not None and (type(before) is _Text or not isinstance(before, list)):
                raise ValueError(f"{name} changes its type")
            into[name] = before = [] if before is None else before
            _merge_list(before, value)
        else:
            into[name] = value


def _merged_text(name: str, before: object, value: str) -> str | _Text:
    if name in _FIXED:
        return value or (before if isinstance(before, str) else value)
    if before is None:
        return _Text((value,))
    if type(before) is not _Text:
        raise ValueError(f"{name} changes its type")
    # Some providers repeat a tool's name in every chunk.
    if not (name == "name" and value == before[0]):
        before.append(value)
    return before


def _merge_list(into: list[Any], entries: list[Any]) -> None:
    for entry in entries:
        if not isinstance(entry, dict):
            into.append(entry)
            continue
        target = _same_entry(into, entry)
        if target is None:
            target = {}
            into.append(target)
        merge_delta(target, entry)


def _same_entry(into: list[Any], entry: Json) -> Json | None:
    index = entry.get("index")
    if isinstance(index, int):
        return next((seen for seen in into if isinstance(seen, dict) and seen.get("index") == index), None)
    # Without an index a fragment of a tool call belongs to the last one, and an id begins a new one.
    is_fragment = "function" in entry and not entry.get("id")
    return into[-1] if is_fragment and into and isinstance(into[-1], dict) else None


def finish_delta(merged: Json) -> Json:
    """Return the message: growing strings joined, tool calls in order and without their stream index."""
    message: Json = {name: _finished(value) for name, value in merged.items() if name not in {"tool_calls", "audio"}}
    if "tool_calls" in merged:
        calls = merged["tool_calls"]
        in_order = sorted(calls, key=_position) if type(calls) is list else None
        message["tool_calls"] = _finished(calls) if in_order is None else [_finished_call(call) for call in in_order]
    if "audio" in merged:
        message["audio"] = _finished_audio(merged["audio"])
    return message


def _position(call: object) -> int:
    index = call.get("index") if isinstance(call, dict) else None
    return index if isinstance(index, int) else 0


def _finished_call(call: Any) -> Any:
    finished = _finished(call)
    if isinstance(finished, dict):
        finished.pop("index", None)
        if "function" in finished:
            finished.setdefault("type", "function")
    return finished


def _finished(value: Any) -> Any:
    if type(value) is _Text:
        return "".join(value)
    if isinstance(value, dict):
        return {name: _finished(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_finished(member) for member in value]
    return value


def _finished_audio(audio: Any) -> Any:
    finished = _finished(audio)
    if isinstance(finished, dict) and isinstance(audio, dict) and type(audio.get("data")) is _Text:
        finished["data"] = _joined_base64(audio["data"])
    return finished


def _joined_base64(pieces: list[str]) -> str:
    """Join base64 fragments; each may end with its own padding."""
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece, validate=True) for piece in pieces)).decode()
    except ValueError:
        return "".join(pieces)
