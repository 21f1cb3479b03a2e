from __future__ import annotations

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentcache.engine.stores.selection import matches_glob

_connection = apsw.Connection(":memory:")
# A small alphabet full of what means something to a glob, so that patterns and paths meet often.
_text = st.text(alphabet="ab-]^[*?/.\\é\n", max_size=12)


@settings(max_examples=3000, deadline=None)
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
