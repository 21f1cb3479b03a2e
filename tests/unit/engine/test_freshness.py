"""Freshness in the words of RFC 9111 and RFC 5861."""

from __future__ import annotations

import msgspec
import pytest

from agentcache.engine.entries import EntryMeta
from agentcache.engine.freshness import (
    Freshness,
    age_seconds,
    freshness,
    kept_until,
    may_serve,
    may_serve_on_error,
    may_serve_while_revalidating,
    ttl_seconds,
)

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
        (100, Freshness.STALE),
        (149.9, Freshness.STALE),
        (150, Freshness.EXPIRED),
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


def test_without_windows_an_entry_expires_with_its_lifetime() -> None:
    assert freshness(msgspec.structs.replace(META, stale_if_error_seconds=0.0), 1100.0) is Freshness.EXPIRED


@pytest.mark.parametrize(
    ("age", "max_age", "served"),
    [
        (99, None, False),
        (100, None, True),
        (129.9, None, True),
        (130, None, False),
        (110, 110, True),
        (111, 110, False),
    ],
)
def test_answering_while_it_is_asked_for_anew(age: float, max_age: int | None, served: bool) -> None:
    meta = msgspec.structs.replace(META, stale_while_revalidate_seconds=30.0)
    assert may_serve_while_revalidating(meta, 1000.0 + age, max_age=max_age) is served


@pytest.mark.parametrize(("grace", "until"), [(10.0, 1150.0), (60.0, 1160.0)])
def test_it_is_kept_for_the_longest_window(grace: float, until: float) -> None:
    assert kept_until(META, grace) == until
