"""Items of embeddings that are asked for together: kept one by one, as they are cached, and bought many in one call."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from agentcache.gateway.inside import InsideRequest

#: Some providers take no more than 96.
ITEMS_PER_CALL: Final = 64
#: Of the requests of one call. No token is shorter than a byte, and no provider takes fewer tokens in a call.
BYTES_PER_CALL: Final = 64 * 1024
#: Refusals that may be about a single item of a call.
ABOUT_AN_ITEM: Final = frozenset({400, 413, 422})
_JSON = msgspec.json.Encoder(order="deterministic")


def alike(request: InsideRequest) -> tuple[object, ...]:
    """Return what is the same for requests that can be made in one call: all but the one item of each."""
    body = msgspec.json.decode(request.body)
    # Lists of texts and lists of tokens do not mix.
    kind = type(body.pop("input", None))
    return request.dialect, request.path, request.headers, kind, _JSON.encode(body)


def numbered(requests: Sequence[InsideRequest | None]) -> list[int]:
    """Number the requests that go together, from 1; 0 for None, which goes with nothing."""
    numbers: dict[tuple[object, ...], int] = {}
    return [0 if one is None else numbers.setdefault(alike(one), len(numbers) + 1) for one in requests]


def planned(waiting: Sequence[tuple[int, int]], calls_max: int) -> list[list[int]]:
    """Put ids with the numbers of their groups, in order, into calls: each of one request, or of items that go together."""
    calls: list[list[int]] = []
    latest: dict[int, list[int]] = {}
    for row_id, group in waiting:
        call = latest.get(group)
        if call is not None and len(call) < ITEMS_PER_CALL:
            call.append(row_id)
        elif len(calls) < calls_max:
            calls.append([row_id])
            if group:
                latest[group] = calls[-1]
    return calls


def fitting(requests: Sequence[InsideRequest]) -> int:
    """Return how many of the first ones fit into one call by their size; at least one."""
    sizes = accumulate(len(one.body) for one in requests)
    return max(1, sum(1 for size in sizes if size <= BYTES_PER_CALL))


def joined(requests: Sequence[InsideRequest]) -> tuple[InsideRequest, list[int]]:
    """Return one request for the items of several that go together, and how long each item is."""
    contents = [_content(one) for one in requests]
    first = requests[0]
    body = {**msgspec.json.decode(first.body), "input": contents}
    request = InsideRequest(first.dialect, first.path, first.headers, msgspec.json.encode(body))
    return request, [max(1, len(content)) for content in contents]


def _content(request: InsideRequest) -> Any:
    return msgspec.json.decode(request.body)["input"]
