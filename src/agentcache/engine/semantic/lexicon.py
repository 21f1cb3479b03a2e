"""What single words mean to each other: how rare they are, their base forms, synonyms, opposites, and things of one kind.

The lists in `lexicon/` are made by `training/lexicon.py` from WordNet 3.0 (its licence stands in `lexicon/LICENSE.txt`);
`own.txt` adds what it lacks: software, units, everyday requests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from agentcache.engine.semantic.word_vectors import words_with_vectors

#: Relations of two words, the strongest first.
SAME: Final = "same"
SYNONYM: Final = "synonym"
ANTONYM: Final = "antonym"
KIND: Final = "kind"
UNRELATED: Final = ""

#: End like an adjective's degree, and are none.
_NO_DEGREES: Final = frozenset(
    """forest former latter number honest modest request interest invest arrest harvest guest quest corner teacher reader
    writer helper buyer seller lender sender leader opener starter closer winter center inner outer under over paper tester""".split()
)
_DOUBLED: Final = frozenset("bdfgklmnprtvz")


def _lines(name: str) -> list[str]:
    return (files(__package__) / "lexicon" / name).read_text(encoding="utf-8").splitlines()


class Lexicon:
    """The word lists in memory, about 6 MB."""

    def __init__(self) -> None:
        frequent = _lines("frequent.txt")
        #: The most frequent word is 0, beyond the list 1: near enough to an inverse document frequency.
        scale = math.log(len(frequent) + 1)
        self.rarity = {word: math.log(1 + rank) / scale for rank, word in enumerate(frequent)}
        self.base_forms = dict(line.split() for line in _lines("irregular.txt"))
        self.groups: dict[str, set[int]] = defaultdict(set)
        self.kinds: dict[str, set[int]] = defaultdict(set)
        self.opposites: dict[str, set[str]] = defaultdict(set)
        #: Kinds of our own list: their members are alternatives even where WordNet knows a sense in which they are one.
        self.strict_kinds: dict[str, set[int]] = defaultdict(set)
        chosen = _lines("relations.txt")
        for number, line in enumerate([*chosen, *_lines("own.txt")]):
            sort, *words = line.split()
            if sort == "k" and number >= len(chosen):
                for word in words:
                    self.strict_kinds[word].add(number)
            if sort == "a":
                self.opposites[words[0]].add(words[1])
                self.opposites[words[1]].add(words[0])
            else:
                for word in words:
                    (self.groups if sort == "s" else self.kinds)[word].add(number)
        #: The words of each group of synonyms.
        self.members: dict[int, set[str]] = defaultdict(set)
        for word, groups in self.groups.items():
            for group in groups:
                self.members[group].add(word)
        self.words = self.rarity.keys() | self.groups.keys() | self.kinds.keys() | self.opposites.keys()


@cache
def lexicon() -> Lexicon:
    """Return the word lists, read at the first call (about 40 ms)."""
    return Lexicon()


@lru_cache(maxsize=20_000)
def rarity(word: str) -> float:
    """Return how rare a base form is, from 0 (the most frequent word) to 1 (not among the 9,000 most frequent)."""
    return lexicon().rarity.get(word, 1.0)


@lru_cache(maxsize=20_000)
def base_form(word: str) -> str:
    """Return the singular of a noun or the infinitive of a verb, as far as the lists know; otherwise the word."""
    lists = lexicon()
    found = lists.base_forms.get(word)
    if found:
        return found
    known = lists.words
    for suffix, repaired in (
        ("ies", "y"),
        ("sses", "ss"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("xes", "x"),
        ("zes", "ze"),
        ("oes", "o"),
    ):
        if word.endswith(suffix) and len(word) > len(suffix) + 1:
            return word[: -len(suffix)] + repaired
    for suffix in ("iest", "ier", "est", "er"):
        stem = word[: -len(suffix)] + ("y" if suffix[0] == "i" else "")
        if word.endswith(suffix) and len(stem) > 2 and word not in _NO_DEGREES:
            for positive in (stem, stem + "e"):
                if positive in lists.opposites and rarity(positive) < 1:
                    return positive
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    for suffix in ("ied", "ing", "ed"):
        if not word.endswith(suffix) or len(word) < len(suffix) + 3:
            continue
        stem = word[: -len(suffix)]
        if suffix == "ied":
            return stem + "y"
        if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] in _DOUBLED and stem[:-1] in known:
            return stem[:-1]
        if stem + "e" in known and (stem not in known or rarity(stem + "e") < rarity(stem)):
            return stem + "e"
        if stem in known:
            return stem
    return word


@lru_cache(maxsize=50_000)
def relation(first: str, second: str) -> str:
    """Return how two base forms relate: one of the constants above."""
    if first == second:
        return SAME
    lists = lexicon()
    if second in lists.opposites.get(first, ()) or _is_prefixed_opposite(first, second):
        return ANTONYM
    if lists.strict_kinds.get(first, set()) & lists.strict_kinds.get(second, set()):
        return KIND
    if lists.groups.get(first, set()) & lists.groups.get(second, set()):
        return SYNONYM
    if lists.kinds.get(first, set()) & lists.kinds.get(second, set()):
        return KIND
    return SYNONYM if _is_misspelt(first, second) else UNRELATED


@lru_cache(maxsize=20_000)
def opposites_by_synonym(word: str) -> frozenset[str]:
    """Return the words of which a synonym is an opposite of this one, or the other way round: of "raise" "decrease", by "increase".

    Opposites and synonyms themselves are none.
    """
    lists = lexicon()
    found = set[str]()
    for synonym in _synonyms(word):
        found |= lists.opposites.get(synonym, set())
    for opposite in lists.opposites.get(word, ()):
        found |= _synonyms(opposite)
    return frozenset(other for other in found if relation(word, other) not in {SAME, ANTONYM, SYNONYM})


def _synonyms(word: str) -> set[str]:
    """Return the words of all groups that a word is in, itself among them."""
    lists = lexicon()
    return set[str]().union(*(lists.members[group] for group in lists.groups.get(word, ())))


def _is_misspelt(first: str, second: str) -> bool:
    """Tell whether one is no known word and the other one letter away from it; of two that are none, whether two letters are exchanged."""
    shorter = min(len(first), len(second))
    known = sum(word in lexicon().words for word in (first, second))
    if known == 2 or shorter < (5 if known else 7) or abs(len(first) - len(second)) > 1:
        return False
    if not (first.isalpha() and second.isalpha()) or (first in words_with_vectors() and second in words_with_vectors()):
        return False
    start = next((at for at, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), None)
    if start is None:
        return bool(known)
    one, other = first[start:], second[start:]
    if one[:2] == other[1::-1] and one[2:] == other[2:]:
        return True
    # "Ethanol" and "methanol" are two things, though the lists know neither.
    return bool(known) and (one[1:] == other[1:] or one[1:] == other or one == other[1:])


def _is_prefixed_opposite(first: str, second: str) -> bool:
    longer, shorter = (first, second) if len(first) > len(second) else (second, first)
    if len(shorter) <= 3 or shorter[:3] not in longer:
        return False
    prefix, rest = longer[: longer.index(shorter[:3])], longer[longer.index(shorter[:3]) :]
    return prefix in _OPPOSITE_PREFIXES and shorter in {rest, base_form(rest)}


_OPPOSITE_PREFIXES: Final = frozenset(
    {"un", "in", "im", "il", "ir", "dis", "non", "non-", "de", "anti", "anti-", "mis"}
)
