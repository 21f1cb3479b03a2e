from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentcache.engine.stores.selection import literals, matches_glob, means_everything_below, rests
from tests.support.tiers import count

_connection = apsw.Connection(":memory:")
# A small alphabet full of what means something to a glob, so that patterns and paths meet often.
_text = st.text(alphabet="ab-]^[*?/.\\é\n", max_size=12)


@settings(max_examples=count(800, 3000), deadline=None)
@given(pattern=_text, path=_text)
@example(pattern="[]a]", path="]")
@example(pattern="[^]a]", path="b")
@example(pattern="[a-]", path="-")
@example(pattern="[]-a]", path="^")
@example(pattern="[", path="[")
@example(pattern="*[", path="a[")
@example(pattern="[b-a]", path="b")
def test_a_glob_means_what_it_means_to_sqlite(pattern: str, path: str) -> None:
    said = _connection.execute("SELECT ? GLOB ?", (path, pattern)).fetchone()
    assert said is not None
    assert matches_glob(pattern, path) == bool(said[0])


@pytest.mark.timeout(10)
def test_a_hostile_glob_takes_no_longer_than_its_length() -> None:
    assert not matches_glob("*a" * 200 + "b", "a" * 20_000)
    assert not matches_glob("a*" * 2000 + "b", "a" * 4000)


@settings(max_examples=count(300, 1000), deadline=None)
@given(pattern=_text, path=_text, more=_text)
@example(pattern="[*", path="[", more="")
@example(pattern="a[*]", path="a*", more="")
@example(pattern="a*b*", path="ab", more="x")
def test_what_is_known_of_a_glob_beforehand_is_true(pattern: str, path: str, more: str) -> None:
    if means_everything_below(pattern, path):
        assert matches_glob(pattern, path + more)
    if matches_glob(pattern, path):
        texts = literals(pattern)
        assert texts is not None
        assert all(text in path for text in texts)
        assert path.endswith(texts[-1])
    assert any(matches_glob(rest, more) for rest in rests(pattern, path)) == matches_glob(pattern, path + more)


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [("*/prompt-7?9", ["/prompt-7", "9"]), ("ab[cd]efg*", ["ab", "efg", ""]), ("*", [""]), ("", [""]), ("a[", None)],
)
def test_the_texts_of_a_glob(pattern: str, texts: list[str] | None) -> None:
    assert literals(pattern) == texts


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*/prompt-7*", {"*/prompt-7*", "prompt-7*"}),
        ("prod/*", {"*"}),
        ("*", {"*"}),
        ("prod/openai/gpt-[45]/*a", {"*a"}),
        ("eval/*", set()),
        ("prod/openai/gpt-5/", {""}),
        ("prod/openai/gpt-5/x[", set()),
    ],
)
def test_what_of_a_glob_is_left_behind_a_prefix(pattern: str, expected: set[str]) -> None:
    assert rests(pattern, "prod/openai/gpt-5/") == expected
