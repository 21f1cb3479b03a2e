import pytest

from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.framing import framed
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import load_verifier


@pytest.mark.parametrize(
    "text",
    [
        "How can I reset my password?",
        "What is the best way to reset my password?",
        "What do I have to do to reset my password?",
        "Can you tell me how to reset my password?",
        "I want to reset my password. How do I do that?",
        "The steps to reset my password?",
    ],
)
def test_ways_of_asking_how_become_one_and_are_served(text):
    assert framed(normalised(text)) == "how do i reset my password"
    asked, stored = analyse(text), analyse("How do I reset my password?")
    verifier = load_verifier()
    assert verifier.judge(asked, stored, pair_features(asked, stored, 0.9, 0.0)) >= verifier.safe_threshold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "Can I reset my password?"),
        ("Can I reset my password?", "Must I reset my password?"),
        ("How do I store my data?", "How do you store my data?"),
        ("What is a discount?", "Give me a discount."),
        ("Why is Rome great?", "Why was Rome great?"),
        ("When did Rome fall?", "Why did Rome fall?"),
        ("What is the cheapest way to fly to Rome?", "What is the best way to fly to Rome?"),
        ("How do I turn it on?", "How do I not turn it on?"),
    ],
)
def test_what_asks_for_something_else_stays_apart(one, other):
    assert framed(normalised(one)) != framed(normalised(other))


def test_what_is_left_is_kept_to_the_letter():
    assert framed("tell me how to open `A.txt` in word") == "how do i open `A.txt` in word"
    assert framed("how do i") == "how do i"
    assert framed("日本の首都は") == "日本の首都は"
