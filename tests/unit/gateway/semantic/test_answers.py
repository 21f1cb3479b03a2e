"""What answers say, and when two say the same."""

from __future__ import annotations

from typing import Any

import pytest

from agentcache.engine.semantic.verifier import load_verifier
from agentcache.gateway.semantic.answers import answer_text, compare_at_once, compare_by_meaning


def chat(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", **message}}]}


@pytest.mark.parametrize(
    ("endpoint", "answer", "text"),
    [
        ("chat.completions", chat(content="Yes."), "Yes."),
        ("chat.completions", chat(content=None, tool_calls=[{"id": "1"}]), None),
        ("chat.completions", chat(content="Let me see", tool_calls=[{"id": "1"}]), None),
        ("chat.completions", chat(content=None, refusal="No."), None),
        ("chat.completions", {"choices": [*chat(content="a")["choices"], *chat(content="b")["choices"]]}, None),
        ("chat.completions", chat(content="  "), None),
        ("chat.completions", {}, None),
        ("completions", {"choices": [{"text": "Yes."}]}, "Yes."),
        ("completions", {"choices": []}, None),
        ("messages", {"content": [{"type": "thinking"}, {"type": "text", "text": "Yes."}]}, "Yes."),
        ("messages", {"content": [{"type": "text", "text": "I look"}, {"type": "tool_use"}]}, None),
        (
            "responses",
            {
                "output": [
                    {"type": "reasoning"},
                    {"type": "message", "content": [{"type": "output_text", "text": "Yes."}]},
                ]
            },
            "Yes.",
        ),
        ("responses", {"output": [{"type": "function_call"}]}, None),
        ("responses", {"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, None),
        ("embeddings", {"data": []}, None),
    ],
)
def test_reads_what_is_text_alone(endpoint: str, answer: dict[str, Any], text: str | None) -> None:
    assert answer_text(endpoint, answer) == text


def test_equal_forms_agree_and_yes_disagrees_with_no() -> None:
    assert compare_at_once("It is port 8787.", "it's port 8787") == (True, "normalised")
    assert compare_at_once("Yes, you can.", "No, you can't.") == (False, "normalised")
    assert compare_at_once("Yes, you can.", "You can.") == (None, "")


def test_likeness_decides_at_its_ends_and_says_so_between() -> None:
    verifier = load_verifier()
    long, other = (
        "You open the settings and follow the link there. " * 6,
        "In the settings there is a link to follow. " * 6,
    )
    assert compare_by_meaning(long, other, 0.95, verifier) == (True, "embedding")
    assert compare_by_meaning(long, other, 0.80, verifier) == (None, "embedding")
    assert compare_by_meaning(long, other, 0.50, verifier) == (False, "embedding")


def test_in_short_answers_a_digit_or_a_not_decides() -> None:
    verifier = load_verifier()
    assert compare_by_meaning("It takes 5 days.", "It takes 7 days.", 0.98, verifier)[0] is False
    assert compare_by_meaning("Refunds are possible.", "Refunds are not possible.", 0.97, verifier)[0] is not True
