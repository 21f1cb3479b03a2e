"""What a glance tells of prompts that are not looked up; what decides is tested with the vetoes."""

from __future__ import annotations

import pytest

from agentcache.engine.semantic.eligibility import seems_unfit, unfit
from agentcache.engine.semantic.texts import analyse


@pytest.mark.parametrize(
    "text",
    [
        "How do I sort a list?",
        "User: How do I reset it?",
        "",
        "?!",
        "What is the weather in Rome?",
        "Who won the match LAST night?",
        "Wie kann ich das Passwort nicht vergessen?",
        "как сортировать список",
        "User: I use a laptop.\nAssistant: Good.\nUser: How do I reset it?\nAssistant:",
    ],
)
def test_a_glance_says_what_the_analysis_will(text: str) -> None:
    for count, settings in ((9, {}), (9, {"allows_time_bound": True}), (9, {"is_multilingual": True}), (129, {})):
        refused = unfit(analyse(text), token_count=count, **settings) is not None
        assert seems_unfit(text, token_count=count, **settings) is refused


def test_a_glance_mends_no_word() -> None:
    assert unfit(analyse("What is the yesteday score?"), token_count=9) == "time-bound"
    assert not seems_unfit("What is the yesteday score?", token_count=9)
