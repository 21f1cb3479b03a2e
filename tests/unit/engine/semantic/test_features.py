import pytest

from agentcache.engine.semantic.asking import distance, kind_of
from agentcache.engine.semantic.features import FEATURES, pair_features
from agentcache.engine.semantic.texts import analyse


def feature(name: str, asked: str, stored: str) -> float:
    return pair_features(analyse(asked), analyse(stored), 0.9, 0.0)[FEATURES.index(name)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("what causes anemia?", "why"), ("which things cause anemia?", "why"), ("what usually causes rain?", "why"),
        ("what does anemia cause?", "effect"), ("tell me what anemia causes.", "effect"), ("what can stress lead to?", "effect"),
    ],
)  # fmt: skip
def test_what_something_causes_is_another_question_than_what_causes_it(text, kind):
    assert kind_of(text) == kind
    assert distance("why", "effect") == 1


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ("How do I keep a container from restarting?", "How do I restart a container?", 1),
        ("How do I stop the app from turning off caching?", "How do I turn off caching in the app?", 1),
        ("How do I stop my dog from barking?", "How can I keep my dog from barking?", 0),
        ("How do I stop the engine?", "How do I turn the engine off?", 0),
    ],
)
def test_a_deed_that_is_to_be_kept_from_happening_is_counted(one, other, difference):
    assert feature("preventions", one, other) == difference


@pytest.mark.parametrize(
    ("one", "other", "is_unexplained"),
    [
        ("How does inflation affect trade?", "How does trade affect inflation?", True),
        ("In winter, how do I water my plants?", "How do I water my plants in winter?", False),
        ("Fly from Rome to Oslo", "Fly to Oslo from Rome", False),
    ],
)
def test_another_order_is_explained_by_the_preposition_that_went_along(one, other, is_unexplained):
    assert bool(feature("unexplained_order", one, other)) is is_unexplained
