"""What a prompt is analysed into."""

from __future__ import annotations

import pytest

from agentcache.engine.semantic.features import FEATURES, pair_features
from agentcache.engine.semantic.texts import analyse


@pytest.mark.parametrize(
    ("prompt", "letters"),
    [
        ("How do I copy the formatting of sheet A to sheet B?", {"a", "b"}),
        ("Is plan B better than plan A?", {"a", "b"}),
        ("A dog and I walk in the park. A cat, too", set()),
        ("WHAT IS A CAT", set()),
    ],
)
def test_a_capital_letter_names_something_and_an_article_does_not(prompt: str, letters: set[str]) -> None:
    text = analyse(prompt)
    assert {word for word in text.content if len(word) == 1} == letters
    assert letters <= text.names


def test_letters_that_changed_places_are_seen() -> None:
    there, back = (analyse(f"How do I copy the rows of sheet {one} to sheet {two}?") for one, two in ("AB", "BA"))
    assert dict(zip(FEATURES, pair_features(there, back, 0.99, 0.0), strict=True))["order_conflict"]
