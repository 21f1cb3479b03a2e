import pytest

from agentcache.engine.semantic.alignment import ALIGNMENT, NEUTRAL, alignment
from agentcache.engine.semantic.features import FEATURES, pair_features
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.word_vectors import word_vectors


def aligned(asked: str, stored: str) -> dict[str, float]:
    values = pair_features(analyse(asked), analyse(stored), 0.9, 0.0)
    return {name: value for name, value in zip(FEATURES, values, strict=True) if name in ALIGNMENT}


@pytest.mark.parametrize(
    ("word", "synonym", "other"),
    [("fridge", "refrigerator", "dishwasher"), ("doctor", "physician", "teacher"), ("remove", "delete", "insert")],
)
def test_words_of_one_meaning_are_nearer_than_words_of_one_kind(word, synonym, other):
    vectors = word_vectors()
    assert vectors.of(word) @ vectors.of(synonym) > vectors.of(word) @ vectors.of(other) + 0.1


def test_a_word_that_is_not_known_is_near_to_none():
    vectors = word_vectors()
    assert vectors.of("zzyzzyx") @ vectors.of("doctor") == 0


def test_the_same_words_in_another_order_are_neutral():
    assert tuple(aligned("Should I nap after lunch?", "After lunch, should I nap?").values()) == pytest.approx(
        NEUTRAL, abs=1e-6
    )


def test_a_synonym_leaves_less_over_than_another_thing():
    same = aligned("How do I clean my fridge?", "How do I clean my refrigerator?")
    other = aligned("How do I clean my fridge?", "How do I clean my carpet?")
    for name in ("alike", "alike_least", "exchanged_least", "remainders"):
        assert same[name] > other[name]
    for name in ("left_over_more", "left_over_most"):
        assert same[name] < other[name]


def test_what_one_prompt_has_beyond_the_other_is_left_over_on_one_side():
    values = aligned("How do I clean my fridge?", "How do I clean my fridge without vinegar?")
    assert values["left_over_less"] == 0
    assert values["left_over_more"] > 0.3


@pytest.mark.parametrize("text", ["", "Is it?", "日本の首都は？"])
def test_prompts_without_known_words_have_values_too(text):
    assert len(alignment(analyse(text), analyse("What is the capital of Japan?"), [], [0, 1])[0]) == len(ALIGNMENT)
