"""Which prompts stay out of the semantic tier whatever their neighbours say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agentcache.engine.semantic.lexicon import lexicon
from agentcache.engine.semantic.texts import Text
from agentcache.engine.semantic.words import STOP, TIME_BOUND

TOKENS_MAX: Final = 128
#: Reasons that a policy may lift; the others stand.
LIFTABLE: Final = frozenset({"time-bound", "not-english"})

_PHRASES: Final = re.compile(
    r"\b(?:right now|this (?:week|month|year|morning|evening|weekend)|so far|as of|at the moment|up to date|what time is it|what day is it"
    r"|(?:last|next|past) (?:week|month|weekend|night)|how old is|these days|current(?:ly)?)\b",
    re.IGNORECASE,
)
#: Where a turn of a conversation begins that somebody wrote into one text.
_TURN: Final = re.compile(
    r"^[ \t>*#\[(<|]*(?:user|human|customer|client|caller|me|you|assistant|ai|bot|chatbot|model|agent|support|system|instructions?|"
    r"response|question|answer|q|a)[ \t\])>|*]*:\**|<\|(?:im_start|start_header_id)\|>[ \t]*\w*|<\|\w+\|>|\[/?INST\]|</?s>",
    re.IGNORECASE | re.MULTILINE,
)
_LETTERS: Final = re.compile(r"[^\W\d_]")
_WORD: Final = re.compile(r"[^\W_]+")
_FOREIGN: Final = frozenset(
    """der die das und nicht ich ist wie kann eine für el los las una por qué cómo para está le les des une est comment pourquoi dans avec
    che il gli perché come quanto não uma como você het een niet van hoe och är inte jak nie się czy""".split()
) - {"die", "come", "as"}


def unfit(
    text: Text, *, token_count: int, allows_time_bound: bool = False, is_multilingual: bool = False
) -> str | None:
    """Return why a prompt is not looked up semantically, or None.

    The words are `empty`, `long` (over `TOKENS_MAX` of the embedder's tokens), `conversation`, `time-bound` and `not-english`.
    """
    return _reason(text.raw, text.words, token_count, allows_time_bound, is_multilingual)


def seems_unfit(
    prompt: str, *, token_count: int, allows_time_bound: bool = False, is_multilingual: bool = False
) -> bool:
    """Tell at a glance, in a fifth of the time that an analysis takes, whether `unfit` will refuse a prompt.

    It goes by the words as they are written, so that it can be mistaken either way; only `unfit` decides.
    """
    words = _WORD.findall(prompt.lower())
    return _reason(prompt, words, token_count, allows_time_bound, is_multilingual) is not None


def _reason(
    raw: str, words: Sequence[str], token_count: int, allows_time_bound: bool, is_multilingual: bool
) -> str | None:
    if not words:
        return "empty"
    if token_count > TOKENS_MAX:
        return "long"
    if holds_turns(raw):
        return "conversation"
    if not allows_time_bound and (not TIME_BOUND.isdisjoint(words) or _PHRASES.search(raw)):
        return "time-bound"
    if not is_multilingual and not _is_english(raw, words):
        return "not-english"
    return None


def holds_turns(raw: str) -> bool:
    """Tell whether a text is a conversation: turns before its last one decide the answer, and a likeness of the whole hides them.

    One turn that is labelled, with or without the label of the answer behind it, is a question.
    """
    said, begun = 0, 0
    for turn in _TURN.finditer(raw):
        said += bool(raw[begun : turn.start()].strip())
        begun = turn.end()
    return begun > 0 and said + bool(raw[begun:].strip()) > 1


def _is_english(raw: str, words: Sequence[str]) -> bool:
    """Tell whether a prompt reads as English: Latin letters, and some words that are frequent in English."""
    if not raw.isascii():
        letters = _LETTERS.findall(raw)
        if sum(letter.isascii() for letter in letters) < 0.9 * len(letters):
            return False
    words = [word for word in words if word[0].isalpha()]
    if not words:
        return True
    foreign = sum(word in _FOREIGN for word in words)
    english = sum(word in STOP or word in lexicon().words for word in words)
    return foreign * 4 <= len(words) and english >= 0.4 * len(words)
