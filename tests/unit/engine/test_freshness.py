"""Freshness in the words of RFC 9111 and RFC 5861."""

from __future__ import annotations

import pytest

from agentcache.engine.entries import EntryMeta
from agentcache.engine.freshness import Freshness, age_seconds, freshness, may_serve, may_serve_on_error, ttl_seconds

META = EntryMeta(
    dialect="openai", endpoint="chat", stored_at=1000.0, lifetime_seconds=100.0, stale_if_error_seconds=50.0
)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0, Freshness.FRESH),
        (74.9, Freshness.FRESH),
        (75, Freshness.STALE),
        (99.9, Freshness.STALE),
        (100, Freshness.EXPIRED),
        (1e9, Freshness.EXPIRED),
    ],
)
def test_state_by_age(age: float, state: Freshness) -> None:
    assert freshness(META, 1000.0 + age) is state


def test_a_clock_that_went_back_gives_no_negative_age() -> None:
    assert age_seconds(META, 900.0) == 0
    assert freshness(META, 900.0) is Freshness.FRESH


@pytest.mark.parametrize(
    ("age", "max_age", "served"), [(50, None, True), (100, None, False), (50, 50, True), (51, 50, False), (0, 0, True)]
)
def test_serving_without_asking(age: float, max_age: int | None, served: bool) -> None:
    assert may_serve(META, 1000.0 + age, max_age=max_age) is served


@pytest.mark.parametrize(
    ("age", "window", "served"),
    [(149, None, True), (150, None, False), (149, 10, False), (190, 100, True), (1, 0, True)],
)
def test_standing_in_for_a_failing_provider(age: float, window: int | None, served: bool) -> None:
    assert may_serve_on_error(META, 1000.0 + age, stale_if_error=window) is served


@pytest.mark.parametrize(
    ("age", "max_age", "window", "served"),
    [(20, 30, 0, True), (40, 30, 0, False), (40, 30, 20, True), (60, 30, 20, False), (119, 500, 20, True)],
)
def test_standing_in_begins_where_the_caller_takes_it_no_more(
    age: float, max_age: int, window: int, served: bool
) -> None:
    assert may_serve_on_error(META, 1000.0 + age, stale_if_error=window, max_age=max_age) is served


def test_ttl_is_negative_after_the_lifetime() -> None:
    assert ttl_seconds(META, 1130.0) == -30
