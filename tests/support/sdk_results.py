"""What the official clients hand back, of whatever kind, as plain values that can be compared."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from pydantic import BaseModel

#: Names of the methods by which the clients' stream helpers give the accumulated result.
_FINAL = ("get_final_completion", "get_final_response", "get_final_message")


async def plain(result: Any) -> Any:
    """Return a result's plain value: a model as a dict, a stream as the list of its chunks, audio as its bytes.

    A stream helper (`.stream(...)`) becomes `{"events": [...], "final": {...}}`. Works for both kinds of client.
    """
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, BaseModel):
        return dumped(result)
    if isinstance(result, list):
        return [dumped(item) for item in result]
    if hasattr(result, "__aenter__") and type(result).__name__.endswith("StreamManager"):
        async with result as stream:
            events = [dumped(event) async for event in stream]
            final = next(getattr(stream, name) for name in _FINAL if hasattr(stream, name))
            return {"events": events, "final": dumped(await final())}
    if type(result).__name__.endswith("StreamManager"):
        with result as stream:
            events = [dumped(event) for event in stream]
            final = next(getattr(stream, name) for name in _FINAL if hasattr(stream, name))
            return {"events": events, "final": dumped(final())}
    if hasattr(result, "__aiter__"):
        return [dumped(chunk) async for chunk in result]
    if hasattr(result, "__next__") or hasattr(result, "__stream__"):
        return [dumped(chunk) for chunk in result]
    read = result.read()
    return await read if inspect.isawaitable(read) else read


def dumped(value: Any) -> Any:
    """Return a pydantic model as plain values, extra members included."""
    with warnings.catch_warnings():
        # The accumulators put classes of their own into fields declared otherwise.
        warnings.simplefilter("ignore", UserWarning)
        if not isinstance(value, BaseModel):
            return value
        plain_value = value.model_dump(mode="json")
    # Anthropic's client keeps what it has parsed out of its dumps.
    parsed = getattr(value, "parsed_output", None)
    return plain_value if parsed is None else {**plain_value, "parsed_output": dumped(parsed)}
