"""What a prompt says of who and whom, how often and when, read off its words once.

"Which things eat roses" asks who does it, "which things do roses eat" to whom it is done.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from agentcache.engine.semantic.lexicon import base_form
from agentcache.engine.semantic.words import PEOPLE, STOP

_OBJECT: Final = re.compile(r"\b(?:who|whom|what|(?:what|which)(?: \w+){0,2}) (?:does|do|did) ")
_SUBJECT: Final = re.compile(
    r"\b(?:(?:what|which) (?:kind|type|sort)s? of \w+|(?:what|which) things?|who|what|which \w+) (?P<verb>[a-z]+)\b"
)
_HINT: Final = re.compile(r"\bwh(?:o|at|ich)")
_RATE_ADVERBS: Final = {
    "hourly": "hour", "daily": "day", "nightly": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year",
    "annual": "year", "annually": "year", "biweekly": "fortnight", "fortnightly": "fortnight",
}  # fmt: skip
_RATE_UNITS: Final = frozenset("second minute hour day night week month quarter year".split())
_RATE_WORDS: Final = frozenset("per a an each every".split())
_PAST_STATE: Final = re.compile(
    r"(?<!get )(?<!getting )(?<!got )(?<!am )(?<!is )(?<!are )(?<!be )\b(?:used|use) to\b(?! (?:store|make|do|describe|build))"
    r"|\b(?:formerly|former|previously|no longer|anymore|any more|in the past|at one time)\b"
    r"|\b(?:was|were|been) (?:\w+ ){0,3}?once\b|\bonce (?:was|were|been)\b"
)
#: One of these is part of whatever that matches.
_PAST_HINTS: Final = (
    "used to", "use to", "former", "previously", "no longer", "anymore", "any more", "in the past", "at one time", "once",
)  # fmt: skip


def asked_for(normal: str) -> tuple[bool, str]:
    """Return whether a question asks for the object by "do"; else what stands in the verb's place, or ""."""
    lower = normal.lower()
    if not _HINT.search(lower):
        return False, ""
    if _OBJECT.search(lower):
        return True, ""
    verbs = (base_form(found["verb"]) for found in _SUBJECT.finditer(lower) if found["verb"] not in STOP)
    return False, next(verbs, "")


def rates_of(words: tuple[str, ...]) -> frozenset[str]:
    """Return how often something is, by the units: "weekly", "a week"."""
    found = {_RATE_ADVERBS[word] for word in words if word in _RATE_ADVERBS}
    if not _RATE_UNITS.isdisjoint(words):
        found |= {word for before, word in pairwise(words) if word in _RATE_UNITS and before in _RATE_WORDS}
    return frozenset(found)


def speaks_of_past(words: tuple[str, ...]) -> bool:
    """Tell whether words speak of what is over: "used to be", "former", "no longer"."""
    text = " ".join(words)
    return any(map(text.__contains__, _PAST_HINTS)) and bool(_PAST_STATE.search(text))


def persons_of(words: tuple[str, ...]) -> list[str]:
    """Return of whom words speak: "mine" and "I" are one person."""
    return [PEOPLE[word] for word in words if word in PEOPLE]
