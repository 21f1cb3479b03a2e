"""The exact-normalised form of a prompt: two prompts with the same form have the same answer.

Folded is what carries no meaning: Unicode compatibility forms, the case of ordinary words, white space, punctuation at the
end, contractions, a polite beginning and a polite end. Kept to the letter: code, addresses, quoted text, digits, and the
case of words that mean something else in the other case ("US" and "us").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from agentcache.engine.semantic.literals import Literal, find_literals

#: Longer prompts are compared by their whole text: what is said after so much is seldom politeness.
NORMALISED_CHARS_MAX: Final = 8_000
#: Words whose case tells two meanings apart.
_CASED: Final = frozenset(
    "us it who aids polish march may will mark china turkey apple windows word excel go swift rust java ruby python "
    "pi us ai or in hi ok me oh id pa la ma de mg nice reading mobile august job bill rich rose grace hope".split()
)
_APOSTROPHES: Final = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "`", "–": "-", "—": "-", "\u00ad": "", "\u200b": ""}
)
_CONTRACTIONS: Final = (
    (re.compile(r"\bcan't\b|\bcannot\b", re.IGNORECASE), "can not"),
    (re.compile(r"\bwon't\b", re.IGNORECASE), "will not"),
    (re.compile(r"\bshan't\b", re.IGNORECASE), "shall not"),
    (re.compile(r"\b(\w+)n't\b", re.IGNORECASE), r"\1 not"),
    (
        re.compile(
            r"\b(dont|doesnt|didnt|isnt|arent|wasnt|werent|shouldnt|couldnt|wouldnt|hasnt|havent)\b", re.IGNORECASE
        ),
        None,
    ),
    (re.compile(r"\b(i)'m\b", re.IGNORECASE), r"\1 am"),
    (re.compile(r"\b(\w+)'re\b", re.IGNORECASE), r"\1 are"),
    (re.compile(r"\b(\w+)'ve\b", re.IGNORECASE), r"\1 have"),
    (re.compile(r"\b(\w+)'ll\b", re.IGNORECASE), r"\1 will"),
    (re.compile(r"\b(what|who|where|when|how|why|that|there|here|it|he|she)'s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(r"\bwhats\b", re.IGNORECASE), "what is"),
    (re.compile(r"\blet's\b", re.IGNORECASE), "let us"),
)
#: One of these is there where there is a contraction without an apostrophe: to look for them is quicker than to try a dozen patterns.
_BARE: Final = (
    "cannot", "whats", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "shouldnt", "couldnt", "wouldnt", "hasnt",
    "havent",
)  # fmt: skip
_GREETING: Final = r"(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|greetings)(?: there| all| everyone| team)?"
_ASKING: Final = (
    r"(?:could|can|would|will) you(?: please| kindly)?(?: be so kind as to)?|(?:would|do) you mind|i would like you to|i'd like you to"
    r"|i want you to|i need you to|please can you|please could you"
)
#: What an assistant is asked to do; "can you" before any other verb is a question.
_ORDERS: Final = (
    "tell|explain|describe|write|give|show|help|translate|summari[sz]e|list|draft|create|generate|provide|compare|define|find|make|"
    "suggest|recommend|convert|calculate|compute|rewrite|fix|check|name|outline|walk|teach|solve|sort|recommend|clarify|share"
)
_PREFIX: Final = re.compile(
    rf"^(?:(?:please|kindly|just wondering|i was (?:just )?wondering|i am wondering)\b[\s,.!:;?-]+(?!if\b|whether\b)"
    rf"|{_GREETING}(?:\s*[,.!:;?-]+\s*|\s+(?=(?:please|can|could|would|will|i|what|how|why|where|when|who|which|is|are|do|does)\b))"
    rf"|(?:(?:just )?a? ?quick question|(?:just )?one (?:more|last|other) (?:thing|question)|my question is|maybe you know|(?:i am |i'm )?just curious"
    rf"|(?:can|could) you tell me|help|i was (?:just )?wondering|question|sorry|excuse me|ok|okay|so|well|um|hmm|i have a question|i need (?:some )?help"
    rf"|(?:can|could) you help me)\s*[,.!:;?]+\s*"
    rf"|(?:{_ASKING})\s+(?=(?:{_ORDERS})\b))",
    re.IGNORECASE,
)
_SUFFIX: Final = re.compile(
    r"[\s,.!;:?-]+(?:please|pls|plz|thanks(?: a lot| so much| in advance| again)?|thank you(?: very much| so much| in advance)?|thx|cheers"
    r"|many thanks|ty|any help (?:is|would be) (?:welcome|appreciated)|i(?: would|'d) (?:be grateful|appreciate it|appreciate any help))[\s.!?]*$",
    re.IGNORECASE,
)
_END: Final = re.compile(r"[\s.!?…。！？]+$")
_SPACE: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"[^\W\d_]+")
_CAPITALISED: Final = re.compile(r"(?<![A-Za-z])[a-z]*[A-Z][A-Za-z]*")
_QUOTES: Final = str.maketrans({"“": '"', "”": '"'})


def normalised(text: str) -> str:
    """Return the form under which equal prompts meet; of a prompt beyond `NORMALISED_CHARS_MAX` the text itself."""
    if len(text) > NORMALISED_CHARS_MAX:
        return text
    return fold(strip_politeness(text))


def plain(text: str) -> str:
    """Return the text in Unicode's compatible form with one kind of apostrophe and dash."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)


def expand_contractions(text: str) -> str:
    """Return the text with "don't" as "do not"."""
    if "'" in text or (
        ("nt" in text or "hats" in text or "annot" in text) and any(map(text.lower().__contains__, _BARE))
    ):
        for pattern, whole in _CONTRACTIONS:
            text = pattern.sub(whole if whole is not None else lambda match: match[1][:-2] + " not", text)
    return text


def strip_politeness(text: str) -> str:
    """Return the text without greeting, request and thanks around it; never less than one word."""
    text = text.strip()
    for _ in range(6):
        shorter = _PREFIX.sub("", text, count=1)
        if not _WORD.search(shorter) or shorter == text:
            break
        text = shorter
    for _ in range(3):
        shorter = _SUFFIX.sub("", text)
        if not _WORD.search(shorter) or shorter == text:
            break
        text = shorter
    return text


def fold(text: str, literals: Sequence[Literal] | None = None) -> str:
    """Return the text with case, white space, contractions and end punctuation folded outside its literals.

    `literals` are those of the text, where they are known.
    """
    parts = []
    position = 0
    # Of the whole text: a lone "US" between two literals is no shouting.
    is_shouted = text.isupper()
    for literal in find_literals(text) if literals is None else literals:
        parts += [
            _fold_words(text[position : literal.start], is_start=not position, is_shouted=is_shouted),
            text[literal.start : literal.end].translate(_QUOTES),
        ]
        position = literal.end
    parts.append(_END.sub("", _fold_words(text[position:], is_start=not position, is_shouted=is_shouted)))
    return "".join(parts).strip()


def _fold_words(text: str, *, is_start: bool, is_shouted: bool) -> str:
    text = _SPACE.sub(" ", expand_contractions(plain(text)))
    if is_shouted:
        return text.lower()
    first = _WORD.search(text) if is_start else None
    spared = first.start() if first and first[0].istitle() else -1
    if text.isascii():
        lower = text.lower()
        for found in _CAPITALISED.finditer(text):
            if found[0].lower() in _CASED and found.start() != spared:
                lower = f"{lower[: found.start()]}{found[0]}{lower[found.end() :]}"
        return lower

    def word(match: re.Match[str]) -> str:
        lower = match[0].lower()
        return match[0] if lower in _CASED and match.start() != spared else lower

    return _WORD.sub(word, text)
