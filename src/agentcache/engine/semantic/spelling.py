"""Mend words with one mistake of typing, where it is plain which word was meant."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

from agentcache.engine.semantic.lexicon import base_form, lexicon, rarity
from agentcache.engine.semantic.word_vectors import words_with_vectors
from agentcache.engine.semantic.words import STOP

#: Shorter words have too many neighbours, and are too often names ("redis").
_CHARS_MIN: Final = 6
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@lru_cache(maxsize=20_000)
def respelt(word: str) -> str:
    """Return the one frequent word that a lower-case word is a letter away from, if it is no word itself; else the word."""
    if len(word) < 4 or word in STOP or not word.isalpha() or _is_known(word):
        return word
    function_word = _misspelt_stop_words().get(word)
    if function_word:
        return function_word
    if len(word) < _CHARS_MIN:
        return word
    meant = {other for other in _mended(word) if _is_frequent(other)}
    return meant.pop() if len(meant) == 1 else word


@cache
def _misspelt_stop_words() -> dict[str, str]:
    """Return stop words by what they are with a letter left out or two exchanged."""
    found = {}
    for word in sorted({*STOP, "please", "thanks"}):
        if len(word) > 3:
            for at in range(len(word)):
                found[word[:at] + word[at + 1 :]] = word
                found[word[:at] + word[at : at + 2][::-1] + word[at + 2 :]] = word
    return {wrong: right for wrong, right in found.items() if wrong not in STOP}


def _is_known(word: str) -> bool:
    base = base_form(word)
    return (
        word in lexicon().words
        or base in lexicon().words
        or word in words_with_vectors()
        or base in words_with_vectors()
    )


def _is_frequent(word: str) -> bool:
    return rarity(word) < 1 or (base_form(word) != word and rarity(base_form(word)) < 1)


def _mended(word: str) -> Iterator[str]:
    """Yield the word with a letter put in, two exchanged, or one of a double left out: a letter less would be another word too often."""
    for at in range(len(word) + 1):
        head, tail = word[:at], word[at:]
        yield from (head + letter + tail for letter in _LETTERS)
        yield head + tail[:2][::-1] + tail[2:]
        if head[-1:] == tail[:1]:
            yield head + tail[1:]
