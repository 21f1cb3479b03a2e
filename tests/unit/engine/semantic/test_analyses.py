"""Analyses kept beside stored questions."""

from __future__ import annotations

import hashlib

import pytest

from agentcache.engine.semantic import analyses
from agentcache.engine.semantic.analyses import pack_analysis, recall
from agentcache.engine.semantic.texts import ANALYSIS, analyse

QUESTIONS = (
    "",
    "Please, could you tell me how to get from Rome to Oslo?",
    "Isn't it less expensive to fly on the 3rd than to take 2 trains for $1,200.50 in 2019?",
    "If I don't turn on the heating, is at most 5 km or 3 miles safe before 8 am?",
    "Was der Präsident sagte — “hello”, `print(1)` at https://example.org/a?b=1 or a@b.example",
    "Which of Alice, Bob and Carol is the tallest, and who was hired by the former chief of the bank?",
    "Keep it from running; 10k € a year is more than 27 percent of 311, isn't it?",
    "日本の首都はどこですか",
)
#: Of all that `analyse` says of `QUESTIONS`. When it changes, raise `ANALYSIS` in `texts.py`, and write the new one here.
SAID = (2, "229c7ff15cecb934")


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_was_kept_is_the_analysis(question: str) -> None:
    analysis = pack_analysis(analyse(question))
    recall.cache_clear()
    assert recall(question, analysis) == analyse(question)


def test_it_is_read_and_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = pack_analysis(analyse("How do I sort a list?"))
    monkeypatch.setattr(analyses, "analyse", lambda _: pytest.fail("made again"))
    assert recall("How do I sort a list?", analysis).content == ("sort", "list")


@pytest.mark.parametrize("damage", ["none", "half", "other version", "other shape"])
def test_what_is_none_of_this_release_is_made_anew(damage: str) -> None:
    question = f"How do I sort a list of {damage}?"
    whole = pack_analysis(analyse("What is the capital of France?"))
    kept = {
        "none": b"",
        "half": whole[: len(whole) // 2],
        "other version": whole.replace(bytes([0x92, ANALYSIS]), bytes([0x92, ANALYSIS + 1]), 1),
        "other shape": bytes([0x92, ANALYSIS, 0x91, 0xA1]) + b"x",
    }[damage]
    assert recall(question, kept) == analyse(question)


def test_a_change_of_the_analysis_has_a_version_of_its_own() -> None:
    said = hashlib.sha256()
    for question in QUESTIONS:
        text = analyse(question)
        for name in text.__slots__:
            value = getattr(text, name)
            said.update(repr(sorted(value) if isinstance(value, frozenset) else value).encode())
    assert (ANALYSIS, said.hexdigest()[:16]) == SAID
