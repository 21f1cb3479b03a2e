from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.gateway.embeddings.items import shares, split_input


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("one", ["one"]),
        ("", [""]),
        (["one", "two", "one"], ["one", "two", "one"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_every_documented_form_is_split(value, items):
    assert split_input(value) == items


@pytest.mark.parametrize(
    "value", [None, 7, [], ["one", 2], [1, "two"], [[]], [[1], "a"], [{"text": "a"}], [True], [1.5]]
)
def test_other_forms_are_left_to_the_provider(value):
    assert split_input(value) is None


@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_shares_add_up_and_are_proportional(total, weights):
    found = shares(total, weights)
    assert sum(found) == total
    assert all(
        abs(share - total * weight / sum(weights)) < 1.000001 for share, weight in zip(found, weights, strict=True)
    )


@given(st.lists(st.integers(1, 10**4), min_size=1, max_size=50))
def test_shares_of_token_arrays_are_their_lengths(lengths):
    assert shares(sum(lengths), lengths) == lengths
