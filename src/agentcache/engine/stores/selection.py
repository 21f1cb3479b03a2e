"""Which entries a selector means, decided in Python with the same outcome as in SQL."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from agentcache.engine.entries import Selector
from agentcache.engine.sources import normal_source


class Selectable(Protocol):
    """What of an entry's metadata decides whether it is meant; see `EntryMeta`."""

    # fmt: off
    @property
    def namespace(self) -> str: ...  # noqa: D102
    @property
    def dialect(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def stored_at(self) -> float: ...  # noqa: D102
    @property
    def tags(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def sources(self) -> tuple[str, ...]: ...  # noqa: D102
    # fmt: on


def matches(selector: Selector, key: bytes, meta: Selectable) -> bool:
    """Return whether an entry falls under `selector`."""
    return (
        (not selector.keys or key in selector.keys)
        and (selector.namespace is None or selector.namespace == meta.namespace)
        and (selector.dialect is None or selector.dialect == meta.dialect)
        and (selector.model is None or selector.model == meta.model)
        and (not selector.tags or not set(selector.tags).isdisjoint(meta.tags))
        and (selector.source is None or _names(selector.source, meta.sources))
        and (selector.stored_before is None or meta.stored_at <= selector.stored_before)
        and (selector.pattern is None or matches_glob(selector.pattern, meta.path))
    )


def _names(source: str, sources: tuple[str, ...]) -> bool:
    wanted = normal_source(source)
    return any(normal_source(one) == wanted for one in sources)


def matches_glob(pattern: str, path: str) -> bool:
    """Match as SQLite's GLOB does: `*`, `?`, `[a-z]`, `[^a-z]`, case-sensitive, `/` is nothing special."""
    compiled = _compile_glob(pattern)
    return compiled is not None and compiled.fullmatch(path) is not None


def literal_beginning(pattern: str) -> str:
    """Return what every path that matches a glob begins with."""
    end = min((at for at in map(pattern.find, "*?[") if at >= 0), default=len(pattern))
    return pattern[:end]


def literals(pattern: str) -> list[str] | None:
    """Return texts that are in every path which matches a glob, in its order; None when nothing can match.

    The last one is what such paths end with; it is empty if there is nothing of that kind.
    """
    tokens = _tokens(pattern)
    if tokens is None:
        return None
    found = [""]
    for _, token in tokens:
        if token[0] in "*?[":
            found.append("")
        else:
            found[-1] += token
    return [*filter(None, found[:-1]), found[-1]]


def rests(pattern: str, prefix: str) -> set[str]:
    """Return the globs that match, all of them together, what behind `prefix` makes a path that `pattern` matches."""
    tokens = _tokens(pattern)
    if tokens is None:
        return set()
    places = {0}
    for char in prefix:
        reached: set[int] = set()
        for first in places:
            for place in range(first, len(tokens)):
                token = tokens[place][1]
                if token == "*":
                    reached.add(place)
                    continue
                if matches_glob(token, char):
                    reached.add(place + 1)
                break
        # What stands right behind a star, it means too.
        places = {place for place in reached if not (place - 1 in reached and tokens[place - 1][1] == "*")}
    return {pattern[tokens[place][0] :] if place < len(tokens) else "" for place in places}


def _tokens(pattern: str) -> list[tuple[int, str]] | None:
    """Return a glob's stars, question marks, brackets and other characters, and where each begins; None when nothing can match."""
    tokens: list[tuple[int, str]] = []
    index = 0
    while index < len(pattern):
        start, index = index, index + 1
        if pattern[start] == "[":
            bracket = _translate_bracket(pattern, index)
            if bracket is None:
                return None
            index = bracket[1]
        tokens.append((start, pattern[start:index]))
    return tokens


def means_everything_below(pattern: str, prefix: str) -> bool:
    """Return whether a glob surely matches every path that begins with `prefix`."""
    # With a star at its end, what it matches may go on in any way. (A star in an open bracket: matches nothing at all.)
    return pattern.endswith("*") and matches_glob(pattern, prefix)


@lru_cache(maxsize=256)
def _compile_glob(pattern: str) -> re.Pattern[str] | None:
    """Translate a glob, or return None for one that can match nothing (an unclosed bracket)."""
    pieces = [""]
    index = 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "."
        elif char == "[":
            bracket = _translate_bracket(pattern, index)
            if bracket is None:
                return None
            piece, index = bracket
            pieces[-1] += piece
        else:
            pieces[-1] += re.escape(char)
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    # The leftmost place of each middle piece is as good as any, so it is never reconsidered: linear time.
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1] if piece)
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", re.DOTALL)


def _translate_bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """Translate the set that opens before `start`; return it and where it ends."""
    index = start
    negated = pattern.startswith("^", index)
    index += negated
    ranges: list[tuple[str, str]] = []
    previous = ""
    first = True
    while index < len(pattern):
        char = pattern[index]
        if char == "]" and not first:
            return _as_set(ranges, negated), index + 1
        if char == "-" and previous and index + 1 < len(pattern) and pattern[index + 1] != "]":
            ranges.append((previous, pattern[index + 1]))
            previous = ""
            index += 2
        else:
            ranges.append((char, char))
            previous = "" if first and char == "]" else char
            index += 1
        first = False
    return None


def _as_set(ranges: list[tuple[str, str]], negated: bool) -> str:
    members = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not members:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{members}]"
