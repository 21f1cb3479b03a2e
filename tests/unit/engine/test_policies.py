"""Policies: what matches, which one decides, and patterns that no text makes slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.policies import (
    NO_POLICIES,
    PATTERN_CHARS_MAX,
    PROMPT_CHARS_MAX,
    Facts,
    InvalidPattern,
    Match,
    Policy,
    PolicySet,
    compile_pattern,
    prompt_text,
    temperature_of,
)

BODY = {"model": "gpt-5-mini", "temperature": 0.2, "messages": [{"role": "user", "content": "The latest News, please"}]}
#: Patterns that take the standard library's engine for ever, and a text that does it.
CATASTROPHIC = [
    (r"(a+)+$", "a" * 50_000 + "!"),
    (r"(x+x+)+y", "x" * 50_000),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 50_000),
    (r"(\w+\s?)*$", "word " * 10_000 + "!"),
    (r"(.*,){20}P", "1," * 25_000),
]


def facts(**given) -> Facts:
    usual = {
        "dialect": "openai",
        "model": "gpt-5-mini",
        "namespace": "prod",
        "tags": ("news", "eu"),
        "sources": ("https://Docs.Example.com/prices",),
        "body": BODY,
    }
    return Facts(**usual | given)


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (Match(), True),
        (Match(dialects=("openai", "groq")), True),
        (Match(dialects=("anthropic",)), False),
        (Match(models=("gpt-5*",)), True),
        (Match(models=("gpt-4*", "gpt-5-mini")), True),
        (Match(models=("gpt-5",)), False),
        (Match(models=("*mini",)), True),
        (Match(models=("g.t-5-mini",)), False),
        (Match(namespaces=("prod",)), True),
        (Match(namespaces=("pro",)), False),
        (Match(tags=("eu",)), True),
        (Match(tags=("us", "n*")), True),
        (Match(tags=("new",)), False),
        (Match(source_hosts=("docs.example.com",)), True),
        (Match(source_hosts=("*.example.com",)), True),
        (Match(source_hosts=("example.com",)), False),
        (Match(source_hosts=("*.docs.example.com",)), False),
        (Match(temperature_max=0.2), True),
        (Match(temperature_min=0.2, temperature_max=0.5), True),
        (Match(temperature_min=0.3), False),
        (Match(prompt=r"(?i)\bnews\b"), True),
        (Match(prompt=r"\bnews\b"), False),
        (Match(dialects=("openai",), prompt="weather"), False),
    ],
)
def test_what_matches(match: Match, holds: bool) -> None:
    assert (PolicySet(1, (Policy("a", "A", match),)).find(facts()) is not None) is holds


def test_the_first_that_matches_decides() -> None:
    first, second = Policy("a", "A", Match(models=("gpt*",))), Policy("b", "B")
    assert PolicySet(1, (first, second)).find(facts()) is first
    assert PolicySet(1, (second, first)).find(facts()) is second
    assert PolicySet(1, (first, second)).find(facts(model="claude")) is second
    assert NO_POLICIES.find(facts()) is None


def test_a_request_that_names_no_temperature_is_in_no_range() -> None:
    assert temperature_of({"input": {"temperature": 0.5}}) == 0.5
    assert temperature_of({"temperature": True}) is temperature_of({"temperature": "0"}) is None
    assert temperature_of({"temperature": 10**400}) is None
    cold = PolicySet(1, (Policy("a", "A", Match(temperature_max=1.0)),))
    assert cold.find(facts(body={"messages": []})) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"system": "S", "messages": [{"role": "user", "content": [{"type": "text", "text": "T"}]}]}, "S\nT"),
        ({"instructions": "I", "input": [{"role": "user", "content": "C", "id": "no"}]}, "I\nC"),
        ({"input": {"prompt": "P", "seed": 1}}, "P"),
        ({"prompt": ["a", "b"]}, "a\nb"),
        ({"query": "Q", "documents": [{"text": "D"}]}, "Q\nD"),
        ({"messages": "\ud800x"}, "?x"),
        ({"model": "m"}, ""),
    ],
)
def test_the_text_that_a_model_is_asked(body, text: str) -> None:
    assert prompt_text(body) == text


def test_text_is_bounded() -> None:
    long = prompt_text({"system": "first", "messages": [{"content": "x" * 1000}] * 10_000 + [{"content": "last"}]})
    assert len(long) == PROMPT_CHARS_MAX + 1
    assert long.startswith("first\n") and long.endswith("\nlast")
    deep: dict[str, object] = {"content": "end"}
    for _ in range(5000):
        deep = {"content": [deep]}
    assert prompt_text({"messages": [deep]}) == ""


@pytest.mark.parametrize(("pattern", "text"), CATASTROPHIC)
def test_no_pattern_is_catastrophic(pattern: str, text: str) -> None:
    found = PolicySet(1, (Policy("a", "A", Match(prompt=pattern)),))
    started = time.process_time()
    found.find(facts(body={"prompt": text}))
    # Not a measurement: the engine of the standard library takes longer than anybody waits.
    assert time.process_time() - started < 10


@pytest.mark.parametrize("pattern", ["(", r"(?=x)", r"\1", "(a{1000}){1000}", "", "x" * (PATTERN_CHARS_MAX + 1)])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@given(st.text(max_size=30), st.text(max_size=60))
def test_whatever_is_written_is_refused_or_matched(pattern: str, text: str) -> None:
    try:
        found = PolicySet(1, (Policy("a", "A", Match(prompt=pattern)),)).compile()
    except InvalidPattern:
        return
    except UnicodeEncodeError:
        pytest.fail("a pattern that cannot be encoded has to be refused")
    found.find(facts(body={"prompt": text}, model=text, tags=(text,)))


def test_equal_versions_are_equal() -> None:
    one = PolicySet(3, (Policy("a", "A", Match(prompt="x")),)).compile()
    assert one == PolicySet(3, (Policy("a", "A", Match(prompt="x")),))
    assert one != PolicySet(4, one.policies)
