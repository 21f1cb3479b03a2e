"""Vectors of single words: how near two words are of which the word lists know nothing.

`lexicon/vectors.txt` names the words, `lexicon/vectors.int8` holds a row for each. Both are made by `training/words.py` with
the built-in embedder, which is given each word alone; with any other embedder they serve as well, for they only compare words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]

DIMENSIONS: Final = 48


class WordVectors:
    """The vectors in memory, about 3 MB and the words."""

    def __init__(self) -> None:
        import numpy as np

        folder = files(__package__) / "lexicon"
        self._place_of = {word: place for place, word in enumerate(words_with_vectors())}
        rows = np.frombuffer((folder / "vectors.int8").read_bytes(), np.int8).reshape(-1, DIMENSIONS).astype(np.float32)
        rows /= np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        # The last row is that of a word that is not known.
        self._rows = np.concatenate([rows, np.zeros((1, DIMENSIONS), np.float32)])

    def of(self, word: str) -> Floats:
        """Return the vector of a base form, of length 1; zeros for a word that is not known."""
        return self._rows[self._place_of.get(word, -1)]  # type: ignore[no-any-return]  # numpy says Any

    def rows(self, words: Sequence[str]) -> Floats:
        """Return `of` each word, one a row."""
        return self._rows[[self._place_of.get(word, -1) for word in words]]


@cache
def words_with_vectors() -> dict[str, None]:
    """Return the words in the order of their rows."""
    text = (files(__package__) / "lexicon" / "vectors.txt").read_text(encoding="utf-8")
    return dict.fromkeys(text.split())


@cache
def word_vectors() -> WordVectors | None:
    """Return the vectors, read at the first call (some 50 ms with numpy); None without numpy, where nothing is embedded either."""
    return WordVectors() if find_spec("numpy") else None


@lru_cache(maxsize=4096)
def rows_of(words: tuple[str, ...]) -> Floats:
    """Return the vectors of words, one a row. Only where `word_vectors` are there."""
    vectors = word_vectors()
    assert vectors is not None
    return vectors.rows(words)


@lru_cache(maxsize=20_000)
def nearness_of(first: str, second: str) -> float:
    """Return the cosine of two words' vectors; 0 without vectors."""
    vectors = word_vectors()
    return 0.0 if vectors is None else float(vectors.of(first) @ vectors.of(second))
