"""Rewrite any prompt so that it still means the same, or no longer does, by rules that need no knowledge of its subject."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Final

from agentcache.engine.semantic.framing import framed
from agentcache.engine.semantic.lexicon import KIND, base_form, lexicon, rarity, relation
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.words import STOP
from training.pairs import Pair
from training.phrases import (
    CONDITIONS,
    DETAILS,
    FRAMES,
    FRONTED,
    INTENSIFIERS,
    OTHER_VERBS,
    PAST_STATES,
    PERSONS,
    PREFIXES,
    PREVENTIONS,
    QUALIFIERS,
    QUESTION_SWAPS,
    SAFE_SYNONYMS,
    SUFFIXES,
    TENSES,
)  # fmt: skip

Rewrite = Callable[[str, random.Random], str | None]

_WORD: Final = re.compile(r"[A-Za-z]+")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?![\w.]*\w)")
_NEGATABLE: Final = re.compile(
    r"\b(do|does|did|is|are|was|were|can|could|should|would|will|has|have|must)(\s+(?:I|you|we|they|he|she|it|the \w+|my \w+|[A-Z]\w+))?\b"
)
_END: Final = re.compile(r"[?.!]+$")
#: Of these nothing is lost with the first words; "why", "who" or "was" would be.
_SEARCHED: Final = re.compile(
    r"(?:How (?:do|can|to)|What (?:is|are)|Explain|Describe|List|Give me|Write)\b", re.IGNORECASE
)
_TOLD_BY_LITTLE: Final = re.compile(
    r"\b(?:not|no|to|from|before|after|without|if|than|when|while|should|must|would|will|did|was|were|had)\b|n't",
    re.IGNORECASE,
)
_TAIL: Final = re.compile(
    r"\s+(?:in|on|for|with|without|from|at|during|after|before|while|if|when|using|under|by) [^,.?!]{3,60}([?.!]*)$"
)
_AT_A_TIME: Final = re.compile(
    r"\b(?:in (?=(?:1[89]|20)\d\d\b|(?:January|February|March|April|June|July|August|September|October|November|December)\b)"
    r"|on (?=(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)|at (?=\d)|within (?=\d))"
)
_HOW_TO: Final = re.compile(r"^(?:How (?:do|can|should) (?:I|you|we|one)|How to) (?P<verb>[a-z]+)\b")
_PAIRED: Final = re.compile(r"\b([a-z]+|[A-Z][a-z]+) (and|or) ([a-z]+|[A-Z][a-z]+)\b")
_IF: Final = re.compile(r"^(If|When|Because|Although|After|Before|While|Since) ([^,]{6,120}), ([^,]{6,120}?)([.?!]*)$")
_IF_LAST: Final = re.compile(r"^([^,]{6,120}?) (if|when|because|although|after|before|while) ([^,]{6,120}?)([.?!]*)$")


def _lower_first(text: str) -> str:
    return text if text[:2].isupper() or text.startswith(("I ", "I'")) else text[:1].lower() + text[1:]


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


# What means the same.


def polite(text: str, rng: random.Random) -> str | None:
    """Add a greeting or thanks."""
    if rng.random() < 0.5:
        return rng.choice(PREFIXES) + _lower_first(text)
    return f"{_END.sub('', text)}{rng.choice(SUFFIXES)}"


def sloppy(text: str, rng: random.Random) -> str | None:
    """Type it in lower case, without an end, or with one typing mistake."""
    pick = rng.random()
    if pick < 0.35:
        return text.lower()
    if pick < 0.5:
        return _END.sub("", text)
    words = [match for match in _WORD.finditer(text) if len(match[0]) > 5]
    if not words:
        return text.lower()
    word = rng.choice(words)
    at = word.start() + rng.randint(1, len(word[0]) - 3)
    if pick < 0.75:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :]


def synonym(text: str, rng: random.Random) -> str | None:
    """Exchange words for synonyms that fit nearly anywhere."""
    found = [match for match in _WORD.finditer(text) if match[0].lower() in SAFE_SYNONYMS]
    if not found:
        return None
    for match in sorted(rng.sample(found, min(len(found), rng.randint(1, 3))), key=lambda match: -match.start()):
        other = rng.choice(SAFE_SYNONYMS[match[0].lower()])
        text = text[: match.start()] + (_upper_first(other) if match[0][0].isupper() else other) + text[match.end() :]
    return text


def reframed(text: str, rng: random.Random) -> str | None:
    """Ask the same in another frame: "How do I", "What is the way to"."""
    for pattern, others in rng.sample(FRAMES, len(FRAMES)):
        match = pattern.match(text)
        if match:
            rest = _END.sub("", match["rest"])
            frame = rng.choice(others)
            return frame.format(rest=rest)
    return None


def keywords(text: str, rng: random.Random) -> str | None:
    """Leave out what says nothing, as in a search box; from what asks otherwise than "how" and "what is", nothing is."""
    if len(text) > 140 or not _SEARCHED.match(text) or _TOLD_BY_LITTLE.search(text):
        return None
    words = [word for word in text.split() if word.lower().strip("?,.") not in STOP]
    return _END.sub("", " ".join(words)).lower() if len(words) > 2 else None


def intensified(text: str, rng: random.Random) -> str | None:
    """Put in a word that changes nothing."""
    match = _NEGATABLE.search(text)
    if match and match[2] and match[2].strip() in {"I", "you", "we", "they", "he", "she", "it"}:
        return f"{text[: match.end()]} {rng.choice(INTENSIFIERS)}{text[match.end() :]}"
    return None


def clauses_moved(text: str, rng: random.Random) -> str | None:
    """Turn "If A, B" into "B if A", "In X, how" into "How in X", or back."""
    match = _IF.match(text)
    if match:
        return _upper_first(f"{match[3]} {match[1].lower()} {match[2]}{match[4]}")
    match = _IF_LAST.match(text)
    if match:
        return f"{_upper_first(match[2])} {match[3]}, {_lower_first(match[1])}{match[4]}"
    match = FRONTED.match(text)
    if match:
        return f"{_upper_first(match['tail'])}, {_lower_first(match['head'])}{match['end']}"
    return None


def pair_turned(text: str, rng: random.Random) -> str | None:
    """Turn "a and b" into "b and a"."""
    found = [match for match in _PAIRED.finditer(text) if match[1].lower() not in STOP and match[3].lower() not in STOP
             and relation_known(match[1]) and relation_known(match[3])]  # fmt: skip
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}{match[3]} {match[2]} {match[1]}{text[match.end() :]}"


# What means something else.


def negated(text: str, rng: random.Random) -> str | None:
    """Put in a negation, or take one out."""
    without = re.sub(r"\b(?:not|never) |n't\b", "", text, count=1)
    if without != text:
        return without
    match = _NEGATABLE.search(text)
    if match:
        return f"{text[: match.end()]} {rng.choice(['not', 'not', 'not', 'never'])}{text[match.end() :]}"
    if re.match(r"[A-Z][a-z]+ ", text):
        return f"{rng.choice(['Do not', 'Never', 'Avoid to'])} {_lower_first(text)}"
    return None


def opposed(text: str, rng: random.Random) -> str | None:
    """Exchange a word for its opposite."""
    opposites = lexicon().opposites
    found = [
        match
        for match in _WORD.finditer(text)
        if opposites.get(match[0].lower()) or opposites.get(base_form(match[0].lower()))
    ]
    found = [match for match in found if match[0].lower() not in {"in", "out", "for", "on", "up", "a"}]
    if not found:
        return None
    match = rng.choice(found)
    word = match[0].lower()
    other = rng.choice(sorted(opposites.get(word) or opposites[base_form(word)]))
    return text[: match.start()] + (_upper_first(other) if match[0][0].isupper() else other) + text[match.end() :]


def renumbered(text: str, rng: random.Random) -> str | None:
    """Change one number."""
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    match = rng.choice(found)
    value = int(match[0])
    other = rng.choice([value + 1, max(0, value - 1), value * 2, value + 10, value * 10])
    return f"{text[: match.start()]}{other if other != value else value + 2}{text[match.end() :]}"


def of_another_kind(text: str, rng: random.Random) -> str | None:
    """Exchange a thing for another of its kind."""
    kinds = lexicon().kinds
    found = [
        match
        for match in _WORD.finditer(text)
        if match[0].lower() not in STOP and kinds.get(base_form(match[0].lower()))
    ]
    if not found:
        return None
    match = rng.choice(found)
    word = base_form(match[0].lower())
    others = [
        other
        for other in _members(rng.choice(sorted(kinds[word])))
        if relation(word, other) == KIND and rarity(other) < 1
    ]
    if not others:
        return None
    other = rng.choice(others)
    if match[0].lower() != word and match[0].endswith("s"):
        other += "s"
    return text[: match.start()] + (_upper_first(other) if match[0][0].isupper() else other) + text[match.end() :]


def words_exchanged(text: str, rng: random.Random) -> str | None:
    """Let two things take each other's place."""
    found = [match for match in _WORD.finditer(text) if match[0].lower() not in STOP and relation_known(match[0])]
    names = [match for match in found if match[0][0].isupper() and match.start()]
    if len(names) >= 2:
        found = names
    if len(found) < 2:
        return None
    one, other = sorted(rng.sample(found, 2), key=lambda match: match.start())
    between = text[one.end() : other.start()].strip().lower()
    if base_form(one[0].lower()) == base_form(other[0].lower()) or between in {
        "and",
        "or",
        "and the",
        "or the",
        "",
        ",",
        "vs",
        "with",
    }:
        return None
    if relation(base_form(one[0].lower()), base_form(other[0].lower())) == "synonym":
        return None
    exchanged = f"{text[: one.start()]}{other[0]}{text[one.end() : other.start()]}{one[0]}{text[other.end() :]}"
    return _upper_first(exchanged) if text[:1].isupper() else exchanged


def conditioned(text: str, rng: random.Random) -> str | None:
    """Add a condition, or leave one out."""
    tail = _TAIL.search(text)
    if tail and rng.random() < 0.4:
        return text[: tail.start()] + tail[1]
    end = _END.search(text)
    return f"{_END.sub('', text)} {rng.choice(CONDITIONS)}{end[0] if end else ''}"


def detailed(text: str, rng: random.Random) -> str | None:
    """Ask for another form, length or language of the answer."""
    return f"{_END.sub('', text)}{rng.choice(['. ', ', '])}{rng.choice(DETAILS)}"


def qualified(text: str, rng: random.Random) -> str | None:
    """Narrow or widen a thing: "the largest card", "only cards", "a used card"."""
    found = [
        match
        for match in _WORD.finditer(text)
        if match[0].lower() not in STOP and relation_known(match[0]) and match.start()
    ]
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}{rng.choice(QUALIFIERS)} {text[match.start() :]}"


def asked_otherwise(text: str, rng: random.Random) -> str | None:
    """Ask for another thing: why instead of how."""
    for pattern, others in rng.sample(QUESTION_SWAPS, len(QUESTION_SWAPS)):
        if pattern.match(text):
            return pattern.sub(rng.choice(others), text, count=1)
    return None


def at_another_time(text: str, rng: random.Random) -> str | None:
    """Change tense, or what must be into what may be."""
    for pattern, others in rng.sample(TENSES, len(TENSES)):
        if pattern.search(text):
            return pattern.sub(rng.choice(others), text, count=1)
    return None


def other_deed(text: str, rng: random.Random) -> str | None:
    """Exchange what is to be done."""
    match = re.match(
        r"^((?:How (?:do|can|should) (?:I|you|we)|Can I|Should I|I (?:want|need|would like) to|How to) |)([A-Za-z]+)\b",
        text,
    )
    if not match or match[2].lower() in STOP:
        return None
    verb = rng.choice(OTHER_VERBS)
    if relation(verb, match[2].lower()):
        return None
    return f"{match[1]}{verb if match[1] else _upper_first(verb)}{text[match.end() :]}"


def placed_otherwise(text: str, rng: random.Random) -> str | None:
    """Place it before, after, since or until a time instead of in it."""
    found = list(_AT_A_TIME.finditer(text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}{rng.choice(['before', 'after', 'since', 'until'])} {text[match.end() :]}"


def of_the_past(text: str, rng: random.Random) -> str | None:
    """Ask for what used to be."""
    for pattern, others in rng.sample(PAST_STATES, len(PAST_STATES)):
        if pattern.search(text):
            return pattern.sub(rng.choice(others), text, count=1)
    return None


def of_somebody_else(text: str, rng: random.Random) -> str | None:
    """Speak of her instead of him."""
    found = [match for match in _WORD.finditer(text) if match[0].lower() in PERSONS]
    if not found:
        return None
    for match in sorted(rng.sample(found, rng.randint(1, len(found))), key=lambda match: -match.start()):
        other = rng.choice(PERSONS[match[0].lower()])
        text = text[: match.start()] + (_upper_first(other) if match[0][0].isupper() else other) + text[match.end() :]
    return text


def prevented(text: str, rng: random.Random) -> str | None:
    """Ask how it is kept from happening."""
    match = _HOW_TO.match(text)
    if not match or match["verb"].lower() in STOP:
        return None
    verb = match["verb"]
    gerund = f"{verb[:-1] if verb.endswith('e') and not verb.endswith('ee') else verb}ing"
    return f"{rng.choice(PREVENTIONS)} {gerund}{text[match.end() :]}"


SAME: Final[tuple[Rewrite, ...]] = (
    polite,
    sloppy,
    synonym,
    synonym,
    reframed,
    reframed,
    keywords,
    intensified,
    clauses_moved,
    pair_turned,
)
TRAPS: Final[dict[str, Rewrite]] = {
    "negation": negated, "antonym": opposed, "number": renumbered, "entity": of_another_kind, "role": words_exchanged,
    "condition": conditioned, "form": detailed, "scope": qualified, "question": asked_otherwise, "tense": at_another_time,
    "other": other_deed, "time": placed_otherwise, "past": of_the_past, "person": of_somebody_else, "prevention": prevented,
}  # fmt: skip


def relation_known(word: str) -> bool:
    """Tell whether a word is a noun that the lists know."""
    return bool(lexicon().kinds.get(base_form(word.lower())))


_MEMBERS: dict[int, list[str]] = {}


def _members(kind: int) -> list[str]:
    if not _MEMBERS:
        for word, kinds in lexicon().kinds.items():
            for one in kinds:
                _MEMBERS.setdefault(one, []).append(word)
    return _MEMBERS[kind]


def same_as(text: str, rng: random.Random) -> str:
    """Return the text rewritten once to three times; the text itself if no rule fits."""
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        text = rng.choice(SAME)(text, rng) or text
    return text


def perturbed(
    text: str, rng: random.Random, *, group: str, source: str, same: int, traps: int, weight: float
) -> Iterator[Pair]:
    """Yield so many rewritten prompts that mean the same and so many that do not, each paired with the prompt."""
    for _ in range(same):
        other = same_as(text, rng)
        if other != text:
            yield _pair(text, other, True, "rewritten", group, source, weight, rng)
    for kind in rng.sample(sorted(TRAPS), min(traps, len(TRAPS))):
        base = same_as(text, rng) if kind != "role" and rng.random() < 0.35 else text
        other = TRAPS[kind](base, rng)
        if other and framed(normalised(other)) != framed(normalised(text)):
            yield _pair(text, other, False, kind, group, source, weight, rng)


def _pair(
    text: str, other: str, is_same: bool, kind: str, group: str, source: str, weight: float, rng: random.Random
) -> Pair:
    stored, asked = (text, other) if rng.random() < 0.5 else (other, text)
    return Pair(stored, asked, is_same, kind, group, source, weight)
