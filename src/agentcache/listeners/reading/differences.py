"""What differs between two readings, for people, and within bounds."""

from __future__ import annotations

import difflib
from typing import Final

from agentcache.listeners.reading.lists import items_of
from agentcache.listeners.reading.messages import Difference

DIFF_CHARS_MAX: Final = 20_000
#: Beyond so many lines, lines are only told apart, not aligned: aligning takes time by the square.
_ALIGNED_LINES_MAX: Final = 4_000
_LINE_CHARS_MAX: Final = 500
_CONTEXT_LINES: Final = 1


def compare(before: str, after: str, *, is_list: bool) -> Difference:
    """Return what came and went between two readings."""
    if is_list:
        return _of_lists(before, after)
    old, new = before.split("\n") if before else [], after.split("\n") if after else []
    if len(old) + len(new) > _ALIGNED_LINES_MAX:
        gone, come = set(old) - set(new), set(new) - set(old)
        lines = [*(f"-{line}" for line in old if line in gone), *(f"+{line}" for line in new if line in come)]
    else:
        # The first two lines would name files.
        lines = list(difflib.unified_diff(old, new, lineterm="", n=_CONTEXT_LINES))[2:]
        lines = ["@@" if line.startswith("@@") else line for line in lines]
        lines = lines[1:] if lines[:1] == ["@@"] else lines
    return _difference(lines)


def _of_lists(before: str, after: str) -> Difference:
    old, new = items_of(before), items_of(after)
    changed = sorted(url for url in old.keys() | new.keys() if old.get(url) != new.get(url))
    lines = []
    for url in changed:
        lines += [f"-{_shown(old[url])}"] if url in old else []
        lines += [f"+{_shown(new[url])}"] if url in new else []
    return _difference(lines, changed)


def _shown(line: str) -> str:
    """An item without the digest of its content, which tells people nothing."""
    parts = line.split("\t")
    return "  ".join([parts[0], *parts[2:]] if len(parts) > 2 else parts)


def _difference(lines: list[str], items: list[str] | None = None) -> Difference:
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    shown, left = [], DIFF_CHARS_MAX
    for line in lines:
        cut = line if len(line) <= _LINE_CHARS_MAX else f"{line[:_LINE_CHARS_MAX]}…"
        left -= len(cut) + 1
        if left < 0:
            shown.append("@@")
            break
        shown.append(cut)
    return Difference("\n".join(shown), added, removed, items or [])
