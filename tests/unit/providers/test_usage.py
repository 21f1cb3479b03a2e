from __future__ import annotations

from typing import Any

import pytest

from agentcache.providers.anthropic_stream import message_usage
from agentcache.providers.dialect import Usage
from agentcache.providers.openai_chat import chat_usage
from agentcache.providers.openai_params import image_usage
from agentcache.providers.openai_responses import response_usage
from agentcache.providers.replicate import prediction_usage

CASES: list[tuple[Any, dict[str, Any], Usage]] = [
    (
        chat_usage,
        {
            "prompt_tokens": 100,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        },
        Usage(100, 7, 60, 10),
    ),
    (chat_usage, {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(9, 1)),
    (chat_usage, {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}, Usage(9, 1, 4)),
    (
        response_usage,
        {"input_tokens": 100, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 60}},
        Usage(100, 7, 60),
    ),
    # Anthropic counts cached tokens beside the others.
    (
        message_usage,
        {
            "input_tokens": 30,
            "output_tokens": 7,
            "cache_read_input_tokens": 60,
            "cache_creation_input_tokens": 10,
        },
        Usage(100, 7, 60, 10),
    ),
    (message_usage, {"input_tokens": 30, "output_tokens": 7, "cache_read_input_tokens": None}, Usage(30, 7)),
    (image_usage, {"input_tokens": 5, "output_tokens": 1000}, Usage(5, 1000)),
]


@pytest.mark.parametrize(("read", "usage", "expected"), CASES)
def test_usage(read: Any, usage: dict[str, Any], expected: Usage) -> None:
    assert read({"usage": usage}) == expected


@pytest.mark.parametrize("read", [chat_usage, response_usage, message_usage, image_usage])
@pytest.mark.parametrize("usage", [None, "x", [], {"prompt_tokens": "9", "input_tokens": -1, "output_tokens": True}])
def test_nonsense_counts_as_nothing(read: Any, usage: Any) -> None:
    assert read({"usage": usage}) == Usage()
    assert read({}) == Usage()


def test_prediction_usage_is_in_seconds_and_tokens_where_given() -> None:
    metrics = {"predict_time": 2.5, "input_token_count": 4, "output_token_count": 9}
    assert prediction_usage({"metrics": metrics}) == Usage(4, 9, predict_seconds=2.5)
    assert prediction_usage({"metrics": {"predict_time": None}}) == Usage()
