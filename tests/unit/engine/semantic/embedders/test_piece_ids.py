"""Word pieces put together from words are those that the tokenizer makes of the whole text."""

from __future__ import annotations

from random import Random

import pytest
from tokenizers import Tokenizer

from agentcache.engine.semantic.embedders.minilm_files import read_checked
from agentcache.engine.semantic.embedders.piece_ids import TOKENS_MAX, PieceIdsOf
from tests.support.semantic_models import models_folder


@pytest.fixture(scope="module")
def tokens() -> bytes:
    return read_checked(models_folder())[1]


@pytest.fixture(scope="module")
def piece_ids_of(tokens: bytes) -> PieceIdsOf:
    return PieceIdsOf(Tokenizer.from_buffer(tokens))


@pytest.fixture(scope="module")
def tokenizer(tokens: bytes) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(tokens)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "HOW do I\treset\r\n  my pass-word_2 (v3.10)?",
        "[MASK] is no word, [ mask ] is",
        "left\x0bout \x1f and \x7f, and \x00",
        "Ärger in Łódź: naïve café, 日本語 and e\u0301, zero\u200bwidth\u00a0space",
        "x" * 33 + " " + "y" * 120 + " pneumonoultramicroscopicsilicovolcanoconiosis",
        "",
        " ",
    ],
)
def test_pieces_are_those_of_the_tokenizer(piece_ids_of: PieceIdsOf, tokenizer: Tokenizer, text: str) -> None:
    expected = tokenizer.encode(text).ids
    for _ in range(2):
        assert piece_ids_of(text) == (expected, len(expected) - 2)


def test_pieces_of_random_text_are_those_of_the_tokenizer(piece_ids_of: PieceIdsOf, tokenizer: Tokenizer) -> None:
    random = Random(5)
    signs = [chr(code) for code in range(128)]
    for _ in range(300):
        text = "".join(random.choices(signs, k=random.randrange(60)))
        assert piece_ids_of(text)[0] == tokenizer.encode(text).ids, text


@pytest.mark.parametrize("words", [TOKENS_MAX - 2, TOKENS_MAX - 1, 3 * TOKENS_MAX])
@pytest.mark.parametrize("word", ["word ", "wörd "])
def test_what_is_cut_off_is_counted(piece_ids_of: PieceIdsOf, tokenizer: Tokenizer, word: str, words: int) -> None:
    *ids, end = tokenizer.encode(word * words).ids
    assert piece_ids_of(word * words) == ([*ids[: TOKENS_MAX - 1], end], len(ids) - 1)
