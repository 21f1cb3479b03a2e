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
        ("After they had a fight, who won?", "Who won after a fight of theirs?", 0),
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


@pytest.mark.parametrize(
    ("one", "other", "is_turned"),
    [
        ("Which birds eat snakes?", "Which birds do snakes eat?", True),
        ("Who beat Brazil?", "Whom did Brazil beat?", True),
        ("What attracts snakes?", "Tell me what snakes attract", True),
        ("What kind of bird eats snakes?", "What do snakes eat?", True),
        ("Which birds eat snakes?", "Tell me which birds eat snakes", False),
        ("What does the moon pull?", "What should the moon pull?", False),
    ],
)
def test_who_does_it_is_another_question_than_to_whom_it_is_done(one, other, is_turned):
    assert feature("asked_turned", one, other) == is_turned


@pytest.mark.parametrize(
    ("one", "other", "is_turned"),
    [
        ("the effect of tea on sleep", "What effect does sleep have on tea?", True),
        ("the effect of tea on sleep", "What effect does tea have on sleep?", False),
        ("Next to Turin, is Bonn bigger?", "Is Bonn bigger than Turin?", False),
        ("Compared with Turin, is Bonn bigger?", "Is Turin bigger than Bonn?", True),
    ],
)
def test_what_something_is_done_to_is_an_aim(one, other, is_turned):
    assert (feature("aims_exchanged", one, other) > 0) is is_turned


def test_another_deed_in_front_is_weighed():
    assert feature("deeds_more", "Rename the branch `main`", "Delete the branch `main`") > 0.5
    assert feature("deeds_more", "Delete the branch `main`", "The branch `main`: how do I delete it?") == 0


def test_raise_and_decrease_are_opposites_by_way_of_increase():
    assert feature("opposites_of_a_kind", "Raise the memory limit", "Decrease the memory limit") == 1
    assert feature("opposites_of_a_kind", "Increase the memory limit", "Raise the memory limit") == 0


@pytest.mark.parametrize(
    ("one", "other", "polarity"),
    [
        ("Is tea less expensive?", "Is tea cheaper?", 0),
        ("Is tea less expensive?", "Is tea more expensive?", 1),
        ("Are cats less smart?", "Do cats have more intelligence?", 1),
        ("Can I return an opened box?", "Can I return an unopened box?", 1),
    ],
)
def test_less_of_a_quality_is_more_of_its_opposite(one, other, polarity):
    assert feature("polarity", one, other) == polarity


def test_a_share_that_is_asked_for_is_no_share_that_is_given():
    assert feature("question_changed", "What is 9 percent of 70?", "9 is what percent of 70?") == 1.5
    assert feature("question_changed", "What is 9 percent of 70?", "How much is 9% of 70?") == 0


@pytest.mark.parametrize("asked", ["To whom was Ada born?", "Whom was Ada born to?"])
def test_whom_asks_for_somebody(asked):
    assert feature("question_changed", asked, "In which year was Ada born?") == 1.5


def test_who_does_it_to_the_speaker_is_told():
    assert feature("case_changed", "How do I teach my son?", "How does my son teach me?") == 1
    assert feature("case_changed", "How do I teach my son?", "Tell me how I teach my son.") == 0


def test_rare_words_a_letter_apart_are_two_things():
    assert feature("overlap_synonyms", "Is methanol poisonous?", "Is ethanol poisonous?") < 0.7
    assert feature("overlap_synonyms", "Is methanol poisonous?", "Is methaonl poisonous?") > 0.7


def test_an_ordinal_is_the_number_of_a_day():
    assert feature("numbers_changed", "Call me on the 14th of July", "Call me on July 14") == 0
    assert feature("numbers_changed", "Call me on the 14th of July", "Call me on July 15") == 1
