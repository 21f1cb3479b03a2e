import math
import random

import pytest

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES, LIKENESS, pair_features
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import FORMAT, PLACED_FEATURES, UnusableModel, Verifier, load_verifier

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
        for index, (name, direction) in enumerate(DIRECTION_OF.items()):
            scores = [
                verifier.score([*values[:index], values[index] + step, *values[index + 1 :]]) for step in (0, 0.1, 1, 3)
            ]
            if direction and name not in LIKENESS:
                assert scores == sorted(scores, reverse=direction < 0)


def test_nothing_asks_for_the_lead_over_the_next_candidate_which_pairs_in_training_do_not_have():
    alone, ahead = (pair_features(*map(analyse, PAIRS[0]), 0.9, margin) for margin in (0.0, 0.3))
    assert load_verifier().score(alone) == load_verifier().score(ahead)


def test_what_likeness_is_differs_from_what_a_difference_is():
    assert {DIRECTION_OF[name] for name in LIKENESS} == {1}
    assert "cosine" not in LIKENESS


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


def networks(rng):
    """Return two networks without a hidden layer as the model's file has them."""
    nets = [[([[rng.gauss(0, 1)] for _ in FEATURES], [rng.gauss(0, 1)])] for _ in range(2)]
    return {"share": 0.5, "mean": [0.0] * len(FEATURES), "scale": [1.0] * len(FEATURES), "nets": nets}


@pytest.mark.parametrize("depth", [0, 4, 6, 7], ids=["leaves", "in-32-bits", "in-64-bits", "walked"])
def test_many_rows_are_scored_as_each_is_alone_to_the_last_bit(depth):
    rng = random.Random(7)
    trees = [*(a_tree(rng, depth) for _ in range(20)), a_tree(random.Random(3), depth)]
    document = {
        "format": FORMAT, "features": list(FEATURES), "version": "test", "trees": trees, "neutral": [0] * len(FEATURES),
        "thresholds": {"safe": 0.9, "balanced": 0.5}, "cosine": {"weight": 10.0, "pivot": 0.9, "ceiling": 1.0}, "networks": networks(rng),
    }  # fmt: skip
    verifier = Verifier(document)
    values = [0, 0.5, 0.5000001, 1, -1, 7]
    rows = [[rng.choice(values) for _ in FEATURES] for _ in range(30)]
    assert verifier.scores(rows) == [verifier.score(row) for row in rows]
    assert verifier.scores([]) == []


def test_the_shipped_model_scores_many_as_each_alone():
    rows = [pair_features(analyse(asked), analyse(stored), 0.9, 0.1) for asked, stored in PAIRS]
    assert load_verifier().scores(rows) == [load_verifier().score(row) for row in rows]


def flat(count):
    """Return a network that says nothing, of half the weight."""
    return {"share": 0.5, "mean": [0.0] * count, "scale": [1.0] * count, "nets": [[([[0.0]] * count, [0.0])]]}


def test_rows_with_pieces_go_to_the_trees_for_them_and_the_others_do_not():
    document = {
        "format": FORMAT, "features": list(FEATURES), "version": "test", "trees": [1.0], "neutral": [0] * len(FEATURES),
        "thresholds": {"safe": 0.9, "balanced": 0.5}, "cosine": {"weight": 0.0, "pivot": 0.9, "ceiling": 0.95},
        "placed": {
            "features": list(PLACED_FEATURES), "neutral": [0] * len(PLACED_FEATURES), "shift": -1.0,
            "trees": [[PLACED_FEATURES.index("pieces_worst"), 0.5, 6.0, -6.0]],
        },
        "networks": flat(len(FEATURES)),
    }  # fmt: skip
    verifier = Verifier(document)
    base, alike, lost = [0.0] * len(FEATURES), [0.0] * len(PLACED_FEATURES), [1.0] * len(PLACED_FEATURES)
    expected = [1 / (1 + math.exp(-odds)) for odds in (0.5, 2.0, 0.5, -4.0)]
    assert verifier.scores([base, alike, base, lost]) == pytest.approx(expected)
    assert [verifier.score(row) for row in (base, alike, base, lost)] == pytest.approx(expected)
    assert verifier.reasons(lost, n=1)[0].feature == "pieces_worst"
    assert verifier.reasons(lost, n=1)[0].effect == pytest.approx(-6)


def test_the_cosine_counts_beside_the_trees_up_to_its_ceiling():
    document = {
        "format": FORMAT, "features": list(FEATURES), "version": "test", "trees": [0.0], "neutral": [0] * len(FEATURES),
        "thresholds": {"safe": 0.9, "balanced": 0.5}, "cosine": {"weight": 10.0, "pivot": 0.9, "ceiling": 0.95},
        "networks": flat(len(FEATURES)),
    }  # fmt: skip
    verifier = Verifier(document)
    rows = [[cosine if name == "cosine" else 0.0 for name in FEATURES] for cosine in (0.8, 0.9, 0.95, 0.99)]
    assert verifier.scores(rows) == pytest.approx([1 / (1 + math.exp(-odds)) for odds in (-1.0, 0.0, 0.5, 0.5)])
    assert verifier.reasons(rows[3], n=1)[0].effect == pytest.approx(9.5), "against a cosine of 0"


def test_a_model_for_other_features_is_refused():
    with pytest.raises(UnusableModel):
        Verifier({"format": FORMAT, "features": ["cosine"], "trees": []})
