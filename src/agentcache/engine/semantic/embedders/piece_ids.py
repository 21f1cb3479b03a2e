"""The ids of a text's word pieces, as the model reads them: put together from those of its words, which are remembered.

The tokenizer takes a text apart at white space and around every sign, and cuts each word for itself. So most texts are of words that
were cut before, and to look these up takes a tenth of the time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: As the model was trained: what is longer is cut off. Equal to `minilm_export.TOKENS_MAX`, which needs numpy.
TOKENS_MAX: Final = 256
#: Texts and words that are kept at hand, and their length: longer ones are not looked for.
REMEMBERED: Final = 256
REMEMBERED_CHARS: Final = 2000
_WORDS: Final = 10_000
_WORD_CHARS: Final = 32
#: Texts in which nothing is left out, exchanged or spelled otherwise before they are taken apart, but for the case. No "[": so begin
#: the names of the marks, which are read as marks.
_SIMPLE: Final = re.compile(r"[\t\n\r -Z\\-~]*")
_WORD: Final = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")

#: Ids with the marks at the ends, and how many pieces the whole text has, without them.
PieceIds = tuple[list[int], int]


class PieceIdsOf:
    """Cuts texts. Safe to be called from several threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(TOKENS_MAX)
        self._tokenizer = tokenizer
        self._begin, self._end = tokenizer.encode("").ids
        self._of_word = lru_cache(_WORDS)(self._cut_word)
        self._of_text = lru_cache(REMEMBERED)(self._cut)

    def __call__(self, text: str) -> PieceIds:
        """Return the pieces of a text; quick if it was given a moment ago: a question is counted, and then embedded."""
        return (self._of_text if len(text) <= REMEMBERED_CHARS else self._cut)(text)

    def _cut(self, text: str) -> PieceIds:
        if not _SIMPLE.fullmatch(text):
            encoded = self._tokenizer.encode(text)
            # What is cut off shows as overflow, in parts that have marks of their own.
            return encoded.ids, sum(len(part.ids) - 2 for part in (encoded, *encoded.overflowing))
        ids = [self._begin]
        for word in _WORD.findall(text.lower()):
            ids += self._of_word(word) if len(word) <= _WORD_CHARS else self._cut_word(word)
        count = len(ids) - 1
        del ids[TOKENS_MAX - 1 :]
        ids.append(self._end)
        return ids, count

    def _cut_word(self, word: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return ids
