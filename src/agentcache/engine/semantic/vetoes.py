"""What no similarity outweighs: literals that differ to the letter, and much that only one of two questions says."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from agentcache.engine.semantic.texts import Text

_DIGITS: Final = re.compile(r"\d+(?:\.\d+)*")
#: Literals that must be there on both sides or on none. Paths, files and names may be told in words instead.
_STRICT_KINDS: Final = frozenset({"code", "url", "email", "quoted", "path", "formula"})

#: A question that has so many words of content more than another, and to so large a part of its own no equal ones there, says
#: something else beside it, or hides it.
_SURPLUS_MIN: Final = 4
_SURPLUS_SHARE: Final = 0.6


def question_veto(asked: Text, stored: Text) -> str | None:
    """Return why the stored question's answer can not be the asked one's: as `veto`, or `surplus`."""
    return veto(asked, stored) or ("surplus" if _has_surplus(asked.content, stored.content) else None)


def _has_surplus(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(longer) - len(shorter) < _SURPLUS_MIN:
        return False
    return (Counter(longer) - Counter(shorter)).total() >= _SURPLUS_SHARE * len(longer)


def veto(asked: Text, stored: Text) -> str | None:
    """Return why the stored prompt's answer can not be the asked one's: `numbers`, `literals`, or None."""
    if asked.normal == stored.normal:
        return None
    if asked.literals != stored.literals:
        ours, theirs = ({one for one in text.literals if one[0] in _STRICT_KINDS} for text in (asked, stored))
        if {one[1].casefold() for one in ours} != {one[1].casefold() for one in theirs} and ours and theirs:
            return "literals"
        if _of(ours, "code", "url", "email") != _of(theirs, "code", "url", "email"):
            return "literals"
        names, others = ({one[1] for one in text.literals if one[0] in {"name", "file"}} for text in (asked, stored))
        if names - others and others - names:
            return "literals"
    ours_values = sorted(number.value for number in asked.numbers)
    theirs_values = sorted(number.value for number in stored.numbers)
    if ours_values != theirs_values and ours_values and theirs_values and _changed(ours_values, theirs_values):
        return "numbers"
    return None


def _of(literals: set[tuple[str, str]], *kinds: str) -> set[str]:
    return {text for kind, text in literals if kind in kinds}


def _changed(ours: list[str], theirs: list[str]) -> bool:
    """Tell whether a number of one was replaced by another in the other; one told more than once is none."""
    return bool(set(ours) - set(theirs)) and bool(set(theirs) - set(ours))
