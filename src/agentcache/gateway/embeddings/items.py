"""The input of an embeddings request, item by item, each with a cache key of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from agentcache.engine.entries import Entry, Mark
from agentcache.engine.keys import KeyMaterial, cache_key
from agentcache.gateway.calls import Call, key_material
from agentcache.gateway.directives import InvalidDirective
from agentcache.gateway.embeddings.stored import StoredVector

#: One text, or one text as token numbers.
Content: TypeAlias = str | list[int]


@dataclass(slots=True, eq=False)
class Item:
    """One distinct item of a request and what is known about it."""

    content: Content
    material: KeyMaterial
    key: bytes
    #: Invalidation mark of the look-up; None when the store could not say.
    mark: Mark | None = None
    #: What the store holds, whatever its age.
    entry: Entry | None = None
    #: The vector of `entry`, if it can be read.
    kept: StoredVector | None = None

    @property
    def weight(self) -> int:
        """The item's length, by which a batch's tokens are shared out."""
        return max(1, len(self.content))


@dataclass(frozen=True, slots=True)
class Items:
    """The distinct items of a request, and which of them stands at each position."""

    distinct: tuple[Item, ...]
    positions: tuple[int, ...]

    def in_order(self) -> list[Item]:
        """Return the item at every position of the request."""
        return [self.distinct[index] for index in self.positions]


def split_input(value: Any) -> list[Content] | None:
    """Return the items of an `input` member, or None for a form that is not known here (the provider may know it)."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(item, str) for item in value):
        return value
    if _are_tokens(value):
        return [value]
    if all(isinstance(item, list) and item and _are_tokens(item) for item in value):
        return value
    return None


def make_items(call: Call, contents: Sequence[Content]) -> Items:
    """Give every distinct item its key: that of the same request with this item alone as `input`."""
    assert call.endpoint is not None
    if any(path[0] == "input" for path in call.directives.ignore):
        raise InvalidDirective(
            "x-agentcache-ignore: embeddings are cached per item of input, which therefore cannot be left out.",
            param="x-agentcache-ignore",
        )
    shared = key_material(
        call.dialect,
        call.endpoint,
        call.body,
        namespace=call.namespace,
        bucket=call.directives.bucket,
        headers=call.caller.key_headers,
        path=tuple(sorted(call.path_params.items())),
        # What a policy says of `input` is about requests that are cached whole.
        ignored=tuple(path for path in call.ignored if path[0] != "input"),
    )
    distinct: list[Item] = []
    positions: list[int] = []
    indexes: dict[bytes, int] = {}
    for content in contents:
        material = replace(shared, body={**shared.body, "input": content})
        key = cache_key(call.principal.tenant, material)
        index = indexes.setdefault(key, len(distinct))
        if index == len(distinct):
            distinct.append(Item(content, material, key))
        positions.append(index)
    return Items(tuple(distinct), tuple(positions))


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Share `total` out in proportion to `weights`, in whole numbers that add up to it; the same every time.

    Providers report tokens for a batch only. For token arrays the shares are exact, for texts they are an estimate;
    their sum is what the provider said in either case.
    """
    whole = sum(weights)
    found: list[int] = []
    reached = given = 0
    for weight in weights:
        reached += weight
        upto = total * reached // whole
        found.append(upto - given)
        given = upto
    return found


def _are_tokens(value: list[Any]) -> bool:
    return all(type(item) is int for item in value)
