"""Whether a question asks who does it or to whom it is done: "which things eat roses", "which things do roses eat"."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from agentcache.engine.semantic.lexicon import base_form
from agentcache.engine.semantic.texts import Text
from agentcache.engine.semantic.words import STOP

_OBJECT: Final = re.compile(r"\b(?:who|whom|what|(?:what|which)(?: \w+){0,2}) (?:does|do|did) ")
_SUBJECT: Final = re.compile(
    r"\b(?:(?:what|which) (?:kind|type|sort)s? of \w+|(?:what|which) things?|who|what|which \w+) (?P<verb>[a-z]+)\b"
)
_HINT: Final = re.compile(r"\bwh(?:o|at|ich)")


@lru_cache(maxsize=4096)
def _asked(normal: str) -> tuple[bool, str]:
    """Return whether a question asks for the object by "do"; else what stands in the verb's place, or ""."""
    lower = normal.lower()
    if not _HINT.search(lower):
        return False, ""
    if _OBJECT.search(lower):
        return True, ""
    verbs = (base_form(found["verb"]) for found in _SUBJECT.finditer(lower) if found["verb"] not in STOP)
    return False, next(verbs, "")


def asked_turned(first: Text, second: Text) -> float:
    """Return 1 where one prompt asks who does what the other one asks to whom it is done, else 0."""
    ours, theirs = _asked(first.normal), _asked(second.normal)
    if ours[0] == theirs[0]:
        # "What roses attract", "what attracts roses".
        return float(ours[1] != theirs[1] and ours[1] in second.content and theirs[1] in first.content)
    verb, other = (theirs[1], first) if ours[0] else (ours[1], second)
    return float(bool(verb) and verb in other.content)
