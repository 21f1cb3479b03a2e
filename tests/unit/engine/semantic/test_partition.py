"""Partitions: only the last user turn's text may differ, and requests that are no questions take no part."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentcache.engine.entries import Tenant
from agentcache.engine.keys import KeyMaterial
from agentcache.engine.semantic.partition import NoQuestion, Question, normal_digest, partition_of, question_of

TENANT = Tenant("t", b"s" * 32)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def chat(*turns: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(turns), **members}


def taken_apart(body: dict[str, Any], endpoint: str = "chat.completions") -> Question:
    found = question_of(endpoint, body, body)
    assert isinstance(found, Question)
    return found


def partition(body: dict[str, Any], tenant: Tenant = TENANT, **material: Any) -> bytes:
    fields: dict[str, Any] = {
        "dialect": "openai", "endpoint": "chat.completions", "origin": "https://a", "namespace": "n", "bucket": "",
        "headers": (), "path": (), **material,
    }  # fmt: skip
    rest = taken_apart(body, fields["endpoint"]).rest
    return partition_of(tenant, KeyMaterial(body=body, **fields), rest)


ASKED = chat(user("How do I log in?"))


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat.completions", ASKED),
        ("chat.completions", chat({"role": "system", "content": "Be brief."}, user([{"type": "text", "text": "Hi"}]))),
        ("messages", {"model": "m", "max_tokens": 9, "system": "s", "messages": [user("Hi")]}),
        ("messages", chat(user("a"), {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}]}, user("b"))),
        ("responses", {"model": "m", "input": "Hi"}),
        ("responses", {"model": "m", "input": [{"type": "message", **user([{"type": "input_text", "text": "Hi"}])}]}),
        ("completions", {"model": "m", "prompt": "Hi", "temperature": 0, "n": 1}),
    ],
)  # fmt: skip
def test_takes_requests_of_every_form_apart(endpoint: str, body: dict[str, Any]) -> None:
    found = taken_apart(body, endpoint)
    assert found.text in ("Hi", "b", "How do I log in?")
    # Another text in its place makes the same rest; nothing else was touched.
    other = taken_apart(json.loads(json.dumps(body).replace(f'"{found.text}"', '"Something else"')), endpoint)
    assert other.text == "Something else"
    assert other.rest == found.rest


@pytest.mark.parametrize(
    ("endpoint", "body", "reason"),
    [
        ("embeddings", {"model": "m", "input": "Hi"}, "endpoint"),
        ("chat.completions", chat(user("Hi"), temperature=0.7), "temperature"),
        ("chat.completions", chat(user("Hi"), n=2), "several_answers"),
        ("completions", {"model": "m", "prompt": "Hi", "best_of": 3}, "several_answers"),
        ("completions", {"model": "m", "prompt": "Hi", "echo": True}, "echo"),
        ("completions", {"model": "m", "prompt": ["Hi", "Ho"]}, "no_question"),
        ("completions", {"model": "m", "prompt": "def f(", "suffix": "return"}, "suffix"),
        ("chat.completions", chat(user("Hi"), logprobs=True), "logprobs"),
        ("chat.completions", chat(user("Hi"), modalities=["text", "audio"]), "not_text"),
        ("chat.completions", chat(user([{"type": "image_url", "image_url": {"url": "u"}}])), "not_text"),
        ("chat.completions", chat(user([{"type": "image_url"}, {"type": "text", "text": "Hi"}])), "not_text"),
        ("chat.completions", chat(user("Hi"), {"role": "assistant", "content": "Ho"}), "no_question"),
        ("chat.completions", chat(), "no_question"),
        ("chat.completions", chat(user("  ")), "no_question"),
        ("chat.completions", chat(user("x" * 4001)), "too_long"),
        ("chat.completions", {"model": "m", "messages": "Hi"}, "no_question"),
        ("chat.completions", {"model": "m", "messages": ["Hi"]}, "no_question"),
        ("chat.completions", chat(user([])), "no_question"),
        ("chat.completions", chat(user(["Hi"])), "not_text"),
        ("chat.completions", chat({"role": "tool", "content": "42"}, user("Hi")), "tool_results"),
        ("chat.completions", chat({"role": "assistant", "tool_calls": [{"id": "1"}]}, user("Hi")), "tool_results"),
        ("messages", chat(user([{"type": "tool_result", "content": "42"}, {"type": "text", "text": "Hi"}])), "tool_results"),
        ("messages", chat(user([{"type": "document"}, {"type": "text", "text": "Hi"}])), "not_text"),
        ("responses", {"model": "m", "input": [{"type": "function_call_output"}, user("Hi")]}, "tool_results"),
        ("responses", {"model": "m", "input": [{"type": "item_reference", "id": "i"}, user("Hi")]}, "not_text"),
        ("responses", {"model": "m", "prompt": {"id": "p", "version": "1"}}, "no_question"),
    ],
)  # fmt: skip
def test_what_is_no_question_says_why(endpoint: str, body: dict[str, Any], reason: str) -> None:
    assert question_of(endpoint, body, body) == NoQuestion(reason)


def test_a_policy_lets_a_temperature_take_part_and_it_must_be_equal() -> None:
    body = chat(user("Hi"), temperature=0.7)
    found = question_of("chat.completions", body, body, allows_temperature=True)
    assert isinstance(found, Question)
    assert found.rest["temperature"] == 0.7


def test_what_is_left_out_of_the_key_still_tells_what_is_unfit() -> None:
    keyed = chat(user("Hi"))
    assert question_of("chat.completions", {**keyed, "temperature": 1}, keyed) == NoQuestion("temperature")


def test_only_the_last_user_turn_may_differ() -> None:
    same = [partition(ASKED), partition(chat(user("How can I sign in?")))]
    others = [
        partition(chat({"role": "system", "content": "Be brief."}, *ASKED["messages"])),
        partition(chat(user("Earlier"), {"role": "assistant", "content": "Yes"}, *ASKED["messages"])),
        partition(chat(user("Earlier"), {"role": "assistant", "content": "No"}, *ASKED["messages"])),
        partition(chat({"role": "user", "name": "ann", "content": "How do I log in?"})),
        partition({**ASKED, "model": "other"}),
        partition({**ASKED, "max_tokens": 5}),
        partition({**ASKED, "tools": [{"type": "function", "function": {"name": "f"}}]}),
        partition({**ASKED, "response_format": {"type": "json_object"}}),
        partition(chat(user([{"type": "text", "text": "A document"}, {"type": "text", "text": "How do I log in?"}]))),
        partition(ASKED, namespace="other"),
        partition(ASKED, bucket="2"),
        partition(ASKED, origin="https://b"),
        partition(ASKED, dialect="groq"),
        partition(ASKED, headers=(("openai-organization", "o"),)),
        partition(ASKED, ignored=(("user_id",),)),
        partition(ASKED, Tenant("u", b"u" * 32)),
    ]
    assert len(set(same)) == 1
    assert len({same[0], *others}) == 1 + len(others)


def test_no_text_imitates_the_mark() -> None:
    imitated = chat(user('{"question": 1}'), {"role": "assistant", "content": "x"}, user("a"))
    assert partition(imitated) != partition(chat(user("a"), {"role": "assistant", "content": "x"}, user("a")))


def test_digests_of_questions_are_the_tenants_own() -> None:
    assert normal_digest(TENANT, "hi") == normal_digest(TENANT, "hi")
    assert normal_digest(TENANT, "hi") != normal_digest(Tenant("t", b"u" * 32), "hi")
    assert len(normal_digest(TENANT, "\ud800")) == 32
