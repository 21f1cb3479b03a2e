"""A prompt analysed once: what two prompts are compared by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from agentcache.engine.semantic.asking import WORDS_OF, kind_of
from agentcache.engine.semantic.framing import framed
from agentcache.engine.semantic.lexicon import base_form, lexicon, rarity
from agentcache.engine.semantic.literals import find_literals
from agentcache.engine.semantic.normalising import expand_contractions, fold, plain, strip_politeness
from agentcache.engine.semantic.spelling import respelt
from agentcache.engine.semantic.subjects import asked_for, persons_of, rates_of, speaks_of_past
from agentcache.engine.semantic.words import (
    ALIKE_DIRECTIONS,
    ANCHORS,
    FUTURE,
    NUMBER_WORDS,
    PAST,
    PRESENT,
    STOP,
    STRICT_NEGATIONS,
    UNANCHORED,
    UNITS,
)  # fmt: skip

_TOKEN: Final = re.compile(
    r"[^\W\d_]+(?:[-'][^\W\d_]+)*(?:\+\+|#)?|\d+(?:[.,:/]\d+)*(?:st|nd|rd|th)?|[%$€£¥₹°]|[,;:.?!]|[^\s\w]", re.UNICODE
)
_THOUSANDS: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MULTIPLES: Final = {"k": 1e3, "m": 1e6, "bn": 1e9, "b": 1e9}
#: What has to be there for a pattern to be worth trying; the pattern; what becomes of it.
_SPELLINGS: Final = (
    ("-", re.compile(r"(?<=\w)-(?=\w)"), " "),
    ("'s", re.compile(r"'s\b"), ""),
    ("%", re.compile(r"\s?%"), " percent"),
    ("$", re.compile(r"\$\s?(\d[\d,.]*\d|\d)"), r"\1 dollars"),
    ("€", re.compile(r"€\s?(\d[\d,.]*\d|\d)|(\d)\s?€"), r"\1\2 euros"),
    ("", re.compile(r"\b(are|me|have) some (?:of the )?", re.IGNORECASE), r"\1 "),
)
_PHRASES: Final = (
    (re.compile(r"\bat least\b|\bno (?:less|fewer) than\b|\bminimum of\b", re.IGNORECASE), "atleast"),
    (re.compile(r"\bat most\b|\bno more than\b|\bmaximum of\b", re.IGNORECASE), "atmost"),
    (re.compile(r"\bmore than\b(?= \$?\d)", re.IGNORECASE), "morethan"),
    (re.compile(r"\b(?:less|fewer) than\b(?= \$?\d)", re.IGNORECASE), "lessthan"),
    (re.compile(r"(\b(?:all|every|any|each|no|none)\b(?: \w+){0,3}) but\b", re.IGNORECASE), r"\1 except"),
    (re.compile(r"\bin favou?r of\b", re.IGNORECASE), "for"),
    (re.compile(r"\b(?:false|untrue|wrong|incorrect) that\b", re.IGNORECASE), "not true that"),
    (re.compile(r"\bin order to\b", re.IGNORECASE), "to"),
    (re.compile(r"\bas well as\b|\balong with\b|&", re.IGNORECASE), " and "),
    (re.compile(r"\bversus\b|\bvs\b\.?", re.IGNORECASE), " and "),
    (re.compile(r"\b(?:turn(?:ed|ing)?|switch(?:ed|ing)?) on\b", re.IGNORECASE), "enable"),
    (re.compile(r"\b(?:turn(?:ed|ing)?|switch(?:ed|ing)?) off\b", re.IGNORECASE), "disable"),
    (
        re.compile(
            r"\bset(?:ting)? up (?=(?:an? |the |my )?(?:meeting|call|appointment|interview|reminder)\b)", re.IGNORECASE
        ),
        "schedule ",
    ),
    (re.compile(r"\bset(?:ting)? up\b", re.IGNORECASE), "install"),
    (re.compile(r"\bget(?:ting)? rid of\b", re.IGNORECASE), "remove"),
    (re.compile(r"\bgive(?:n)? up\b", re.IGNORECASE), "quit"),
    (re.compile(r"\blook(?:ing)? for\b", re.IGNORECASE), "seek"),
    (re.compile(r"\bwork(?:ing)? out(?= (?:\d|what|how))", re.IGNORECASE), "calculate"),
    (re.compile(r"\bfigure out\b|\bwork out\b", re.IGNORECASE), "solve"),
    (re.compile(r"\b(?:compared|in comparison|relative) (?:with|to)\b", re.IGNORECASE), "than"),
)
#: Most prompts hold none of these pieces, one of which is there wherever one of the phrases is.
_PHRASE_HINTS: Final = (
    "at least", "at most", "no less", "no more", "no fewer", "imum of", "than ", " but", "in order to", "in favo", "false that", "true that",
    "wrong that", "correct that", "as well as", "along with", "&", "versus", "vs", "turn o", "turned o", "turning o", "switch o",
    "switched o", "switching o", "set up", "setting up", "get rid", "getting rid", "give up", "given up", "look for", "looking for",
    "figure out", "work out", "working out", "compared with", "compared to", "comparison with", "comparison to", "relative to", "relative with",
)  # fmt: skip


_PREVENTION: Final = re.compile(
    r"\b(?:keep|stop|prevent|block|hinder|discourage)(?:s|ped|ed|ing|ping)?\b[^.?!]{1,40}?\bfrom (?:\w+ing|enable|disable)\b"
    r"|\b(?:stop|avoid)(?:s|ped|ed)? \w+ing\b"
)


_PREVENTION_HINTS: Final = ("stop", "avoid", "prevent", "keep", "block", "hinder", "discourage")
_ORDINAL: Final = re.compile(r"^(\d+)(?:st|nd|rd|th)$", re.IGNORECASE)
_HELD: Final = frozenset({"than", "before", "after", "since", "until", "instead"})


#: Of what `analyse` returns. Raise it with every change of that: analyses are kept beside stored questions.
ANALYSIS: Final = 2


@dataclass(frozen=True, slots=True)
class Number:
    """A number as compared: its value in digits and, if one follows or precedes, its unit."""

    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt, analysed. Tuples keep the order of the prompt."""

    raw: str
    normal: str
    #: The normal form in the one frame of its way of asking.
    framed: str
    #: Lower-case words, contractions expanded, without the polite frame.
    words: tuple[str, ...]
    #: Base forms of the words that carry content, coordinated neighbours ("b and a") in alphabetical order.
    content: tuple[str, ...]
    #: Per content word: the nearest function word before it, or "".
    before: tuple[str, ...]
    #: Per content word: the function word that governs its phrase, or "".
    anchors: tuple[str, ...]
    #: Per content word: whether it directly follows the one before it.
    follows: tuple[bool, ...]
    numbers: tuple[Number, ...]
    #: Base forms of words that stand capitalised where English would not have them so.
    names: frozenset[str]
    #: (kind, text) of code, addresses, paths and quoted text.
    literals: frozenset[tuple[str, str]]
    function_words: frozenset[str]
    negations: int
    #: How many deeds are to be kept from happening ("stop it from running").
    preventions: int
    question: str
    tense: str
    #: Degrees of adjectives: `er`, `est`, `as`.
    degrees: frozenset[str]
    #: Base forms that stand for less of their opposite ("less expensive": cheap).
    lessened: frozenset[str]
    is_passive: bool
    trigrams: frozenset[str]
    #: How many times content words stand in a coordination ("a and b", "a or b").
    coordinations: int
    #: Of whom it speaks, in order.
    persons: tuple[str, ...]
    #: How often something is: units of time.
    rates: frozenset[str]
    #: Whether it speaks of what is over.
    is_past: bool
    #: Whether it asks to whom it is done, and else what stands in the place of the verb, if it asks who does it.
    asks_object: bool
    asks_who: str


@lru_cache(maxsize=512)
def analyse(text: str) -> Text:
    """Return the analysis of a prompt, in about 0.1 ms for 20 words."""
    text = strip_politeness(text)
    found = find_literals(text)
    normal = fold(text, found)
    literals = frozenset((one.kind, one.text) for one in found)
    quoted_out = text
    for one in reversed(found):
        if one.kind in {"url", "email"}:
            quoted_out = f"{quoted_out[: one.start]} {quoted_out[one.end :]}"
    prose = expand_contractions(plain(quoted_out))
    for hint, pattern, word in _SPELLINGS:
        if hint in prose:
            prose = pattern.sub(word, prose)
    if any(map(prose.lower().__contains__, _PHRASE_HINTS)):
        for pattern, word in _PHRASES:
            prose = pattern.sub(word, prose)
    lower = prose.lower()
    tokens = [
        _ORDINAL.sub(r"\1", token) if token[0].isdigit() else respelt(token) if token.islower() else token
        for token in _TOKEN.findall(prose)
    ]
    words = tuple(token.lower() for token in tokens if token[0].isalnum())
    degrees = _degrees(words)
    lessened: frozenset[str] = frozenset()
    if "less" in words:
        tokens, lessened = _without_less(tokens)
        words = tuple(token.lower() for token in tokens if token[0].isalnum())
    question = kind_of(lower.strip())
    letters = _letters(tokens)
    content, before, anchors, follows, coordinations = _content(tokens, WORDS_OF.get(question, frozenset()), letters)
    function_words = frozenset(word for word in words if word not in content)
    asks_object, asks_who = asked_for(normal)
    return Text(
        raw=text, normal=normal, framed=framed(normal), words=words, content=tuple(content), before=tuple(before),
        anchors=tuple(anchors), follows=tuple(follows),
        numbers=tuple(_numbers(tokens)), names=_names(tokens, letters), literals=literals, function_words=function_words,
        negations=sum(word in STRICT_NEGATIONS for word in words),
        preventions=len(_PREVENTION.findall(lower)) if any(map(lower.__contains__, _PREVENTION_HINTS)) else 0, question=question, tense=_tense(words),
        degrees=degrees, lessened=lessened,
        is_passive=_is_passive(words), trigrams=trigrams_of(words), coordinations=coordinations,
        persons=tuple(persons_of(words)), rates=rates_of(words), is_past=speaks_of_past(words), asks_object=asks_object, asks_who=asks_who,
    )  # fmt: skip


def _content(
    tokens: list[str], asking: frozenset[str], letters: set[int]
) -> tuple[list[str], list[str], list[str], list[bool], int]:
    """Return content words, the places `letters` among them; the function word before each, its anchor, whether it directly follows another; the number of coordinations."""
    content: list[str] = []
    before: list[str] = []
    anchors: list[str] = []
    follows: list[bool] = []
    last = anchor = ""
    coordinations = 0
    joined = -1
    is_next = False
    for number, token in enumerate(tokens):
        lower = token.lower()
        if not token[0].isalnum():
            anchor, is_next = "", False
            if token in {",", "/"} and content:
                joined = len(content) if token == "/" or joined < 0 else joined
            continue
        if (lower in STOP and number not in letters) or lower in NUMBER_WORDS:
            if lower not in NUMBER_WORDS or lower in ANCHORS:
                anchor, is_next = _anchor_after(anchor, lower, is_next), False
            if lower in {"and", "or"} and content:
                joined = len(content)
            elif lower not in {"a", "an", "the"}:
                joined = -1
                last = ALIKE_DIRECTIONS.get(lower, lower) or last
            if lower not in NUMBER_WORDS:
                continue
        word = NUMBER_WORDS.get(lower) or base_form(lower)
        if word in asking:
            is_next = False
            continue
        place = len(content)
        if joined == place and content:
            coordinations += 1
            # "b and a" is "a and b": order says nothing there.
            place -= content[-1] > word
            last = before[-1]
        content.insert(place, word)
        before.insert(place, last)
        anchors.append(anchor)
        follows.append(is_next)
        joined = -1
        last = ""
        is_next = True
    return content, before, anchors, follows, coordinations


def _anchor_after(anchor: str, word: str, is_after_content: bool) -> str:
    """Return what governs the phrase that a function word begins or goes on with."""
    if word in UNANCHORED:
        # An article behind a word begins another phrase: "before running a good idea".
        return "" if is_after_content and word not in {"and", "or"} else anchor
    if word not in ANCHORS or (word == "to" and not is_after_content):
        # "To" behind another function word goes with a verb: "way to", "want to".
        return ""
    # "Than in Rome", "instead of Rome".
    return anchor if anchor in _HELD and not is_after_content else word


def _numbers(tokens: list[str]) -> list[Number]:
    found = []
    for index, token in enumerate(tokens):
        lower = token.lower()
        if lower not in NUMBER_WORDS and not token[0].isdecimal():
            continue
        value = NUMBER_WORDS.get(lower) or _value(lower)
        after = tokens[index + 1].lower() if index + 1 < len(tokens) else ""
        if after in _MULTIPLES and value.replace(".", "").isdigit():
            value = f"{float(value) * _MULTIPLES[after]:.10g}"
            after = ""
        earlier = tokens[index - 1] if index else ""
        if earlier in "$€£¥₹" and earlier:
            unit = UNITS[earlier]
        else:
            unit = UNITS.get(after) or UNITS.get(base_form(after.split("-")[0])) or ""
        found.append(Number(value, unit))
    return found


def _value(digits: str) -> str:
    """Return digits without separators of thousands; 3.10 stays apart from 3.1, they may be versions."""
    return digits.replace(",", "") if _THOUSANDS.fullmatch(digits) else digits


def _names(tokens: list[str], letters: set[int]) -> frozenset[str]:
    """Return the capitalised words; of a sentence's first word only if no ordinary word is written so."""
    found = set()
    starts = True
    known = lexicon().words
    for number, token in enumerate(tokens):
        if number in letters:
            found.add(token.lower())
        if not token[0].isalnum():
            starts = token in {".", "?", "!", ":"} or (starts and token == '"')
            continue
        if token[0].isupper() and len(token) > 1:
            lower = token.lower()
            is_odd = not starts or token[1:].isupper() or (lower not in known and base_form(lower) not in known)
            if is_odd and lower not in STOP:
                found.add(base_form(lower))
        starts = False
    return frozenset(found)


def _letters(tokens: list[str]) -> set[int]:
    """Return the places of single capital letters that name something: "sheet A", "plan B"; not of "I", nor of an article in front."""
    found = set()
    for place, (before, token) in enumerate(pairwise(tokens), start=1):
        is_letter = len(token) == 1 and token.isupper() and token != "I"
        if is_letter and before[0].isalnum() and not (len(before) > 1 and before.isupper()):
            found.add(place)
    return found


def _without_less(tokens: list[str]) -> tuple[list[str], frozenset[str]]:
    """Return the tokens with "less expensive" as "cheap", as "cheaper" is compared, and what was less."""
    found: list[str] = []
    lessened = set()
    for index, token in enumerate(tokens):
        after = base_form(tokens[index + 1].lower()) if index + 1 < len(tokens) else ""
        opposites = lexicon().opposites.get(after, set()) - {"more", "less"}
        if token.lower() != "less" or not opposites or after in STOP:
            found.append(token)
        else:
            tokens[index + 1] = min(opposites, key=lambda word: (rarity(word), word))
            lessened.add(tokens[index + 1])
    return found, frozenset(lessened)


def _tense(words: tuple[str, ...]) -> str:
    for word in words[:12]:
        if word in PAST:
            return "past"
        if word in FUTURE:
            return "future"
        if word in PRESENT:
            return "present"
    return ""


def _degrees(words: tuple[str, ...]) -> frozenset[str]:
    found = set()
    for index, word in enumerate(words):
        if word in {"than", "more", "less", "fewer"} or (word.endswith("er") and base_form(word) != word):
            found.add("er")
        elif word in {"most", "least", "best", "worst"} or (word.endswith("est") and base_form(word) != word):
            found.add("est")
        elif word == "as" and "as" in words[index + 2 : index + 6]:
            found.add("as")
    return frozenset(found)


def _is_passive(words: tuple[str, ...]) -> bool:
    for index, word in enumerate(words):
        if word == "by" and any(
            other in {"is", "are", "was", "were", "be", "been", "being"} for other in words[:index]
        ):
            return True
    return False


def trigrams_of(words: tuple[str, ...]) -> frozenset[str]:
    """Return what stands in any three places in a row of words with a space between."""
    padded = f"  {' '.join(words)} "
    return frozenset(map("".join, zip(padded, padded[1:], padded[2:], strict=False)))
