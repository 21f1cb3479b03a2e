import pytest

from agentcache.engine.semantic.features import FEATURES, pair_features
from agentcache.engine.semantic.spelling import respelt
from agentcache.engine.semantic.texts import analyse


def feature(name: str, asked: str, stored: str) -> float:
    return pair_features(analyse(asked), analyse(stored), 0.9, 0.0)[FEATURES.index(name)]


@pytest.mark.parametrize(
    ("one", "other", "is_turned"),
    [
        ("What is 5 divided by 20?", "Compute 20 divided by 5.", True),
        ("Convert a set to a stack", "How do I transform a stack into a set?", True),
        ("Did Ada inspire Marie?", "Was Ada inspired by Marie?", True),
        ("Compared with Porto, is Prague bigger?", "Is Porto bigger than Prague?", True),
        ("Is Porto shorter than Prague?", "Is Porto longer than Prague?", True),
        ("Is Porto shorter than Prague?", "Is Prague longer than Porto?", False),
        ("Fly from Rome to Oslo", "Fly to Oslo from Rome", False),
        ("Did Ada inspire Marie?", "Was Marie inspired by Ada?", False),
        ("Is stretching before running a good idea?", "Is running after stretching a good idea?", False),
    ],
)
def test_things_are_turned_where_no_preposition_and_no_opposite_explains_it(one, other, is_turned):
    # How alike the two are: a verb and a name are hardly.
    assert (feature("turned", one, other) > 0.2) is is_turned


@pytest.mark.parametrize(
    ("one", "other", "changed"),
    [
        ("What happened in Italy in 1969?", "What happened in Italy since 1969?", 1),
        ("Who won on Monday?", "Who won before Monday?", 1),
        ("Who won on Monday?", "On Monday, who won?", 0),
    ],
)
def test_a_time_placed_otherwise_is_counted(one, other, changed):
    assert feature("times_changed", one, other) == changed


@pytest.mark.parametrize(
    ("name", "one", "other", "value"),
    [
        ("narrowed", "Ask for a refund", "Ask for a partial refund", 1),
        ("narrowed", "Ask for a full refund", "Ask for a partial refund", 0),
        ("narrowed_both", "Ask for a full refund", "Ask for a partial refund", 1),
        ("rates_changed", "What is the monthly rent?", "How much rent do I pay a year?", 2),
        ("rates_changed", "What is the monthly rent?", "How much rent do I pay?", 1),
        ("rates_changed", "What is the monthly rent?", "How much rent do I pay per month?", 0),
        ("past_state", "Is Anna a nurse?", "Did Anna use to be a nurse?", 1),
        ("past_state", "How do I get used to noise?", "How do I get accustomed to noise?", 0),
        ("people", "Would he pay her?", "Would she pay him?", 1),
    ],
)
def test_small_words_that_change_much(name, one, other, value):
    assert feature(name, one, other) == value


@pytest.mark.parametrize(
    ("written", "meant"),
    [("langauge", "language"), ("possile", "possible"), ("kubernetes", "kubernetes"), ("redis", "redis"), ("sotring", "sotring")],
)  # fmt: skip
def test_a_word_is_mended_only_where_one_word_can_be_meant(written, meant):
    assert respelt(written) == meant
