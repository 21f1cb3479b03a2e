import random

import pytest

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES, pair_features
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import FORMAT, UnusableModel, Verifier, load_verifier

PAIRS = [
    ("How do I fly from London to Paris?", "How do I fly from Paris to London?"),
    ("Turn on dark mode", "Switch dark mode off, please"),
    ("How can I become less impatient?", "How can I become more patient?"),
    ("Summarize it in 3 sentences", "Summarize it in three words"),
    ("Was the car moved by Bob?", "Did Bob move the car?"),
    ("", "Is it?"),
    ("日本の首都は？", "What is the capital of Japan?"),
]


@pytest.mark.parametrize(("asked", "stored"), PAIRS)
def test_features_are_the_same_in_both_directions(asked, stored):
    there = pair_features(analyse(asked), analyse(stored), 0.9, 0.1)
    back = pair_features(analyse(stored), analyse(asked), 0.9, 0.1)
    assert there == back
    assert len(there) == len(FEATURES)


def test_more_of_a_difference_never_raises_a_score_and_a_higher_cosine_never_lowers_it():
    verifier = load_verifier()
    for asked, stored in PAIRS:
        values = pair_features(analyse(asked), analyse(stored), 0.9, 0.0)
        for index, direction in enumerate(DIRECTION_OF.values()):
            scores = [
                verifier.score([*values[:index], values[index] + step, *values[index + 1 :]]) for step in (0, 0.1, 1, 3)
            ]
            if direction:
                assert scores == sorted(scores, reverse=direction < 0)


def test_reasons_are_the_features_that_moved_the_score_most():
    asked, stored = (analyse(text) for text in PAIRS[0])
    reasons = load_verifier().reasons(pair_features(asked, stored, 0.97, 0.0), n=len(FEATURES))
    assert [abs(reason.effect) for reason in reasons] == sorted(
        (abs(reason.effect) for reason in reasons), reverse=True
    )
    assert {reason.feature for reason in reasons} <= set(FEATURES)


def a_tree(rng, depth):
    """Return a node as the model's file has it; some trees are a leaf."""
    if depth == 0 or rng.random() < 0.2:
        return rng.uniform(-1, 1)
    return [rng.randrange(len(FEATURES)), rng.choice([0, 0.5, 1]), a_tree(rng, depth - 1), a_tree(rng, depth - 1)]


@pytest.mark.parametrize("depth", [0, 4, 6, 7], ids=["leaves", "in-32-bits", "in-64-bits", "walked"])
def test_many_rows_are_scored_as_each_is_alone_to_the_last_bit(depth):
    rng = random.Random(7)
    trees = [*(a_tree(rng, depth) for _ in range(20)), a_tree(random.Random(3), depth)]
    document = {
        "format": FORMAT, "features": list(FEATURES), "version": "test", "trees": trees, "neutral": [0] * len(FEATURES),
        "thresholds": {"safe": 0.9, "balanced": 0.5},
    }  # fmt: skip
    verifier = Verifier(document)
    values = [0, 0.5, 0.5000001, 1, -1, 7]
    rows = [[rng.choice(values) for _ in FEATURES] for _ in range(30)]
    assert verifier.scores(rows) == [verifier.score(row) for row in rows]
    assert verifier.scores([]) == []


def test_the_shipped_model_scores_many_as_each_alone():
    rows = [pair_features(analyse(asked), analyse(stored), 0.9, 0.1) for asked, stored in PAIRS]
    assert load_verifier().scores(rows) == [load_verifier().score(row) for row in rows]


def test_a_model_for_other_features_is_refused():
    with pytest.raises(UnusableModel):
        Verifier({"format": FORMAT, "features": ["cosine"], "trees": []})
