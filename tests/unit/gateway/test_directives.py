"""Directives: each value understood, everything else a 400 that names it."""

from __future__ import annotations

from typing import Any

import pytest

from agentcache.gateway.directives import DEFAULT, InvalidDirective, parse_directives


def test_nothing_asked_is_the_default() -> None:
    assert parse_directives({"content-type": "application/json"}) == DEFAULT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache-control": "no-cache"}, {"reads": False, "writes": True, "forward_reason": "request"}),
        ({"cache-control": "no-store"}, {"reads": False, "writes": False, "forward_reason": "bypass"}),
        ({"cache-control": "Max-Age=30"}, {"max_age": 30, "reads": True}),
        ({"cache-control": 'max-age="30", only-if-cached'}, {"max_age": 30, "only_if_cached": True}),
        ({"cache-control": "stale-if-error=600"}, {"stale_if_error": 600}),
        ({"cache-control": ""}, {"reads": True}),
        ({"x-agentcache-mode": "off"}, {"reads": False, "writes": False, "is_bypass": True}),
        ({"x-agentcache-mode": "read-only"}, {"reads": True, "writes": False}),
        ({"x-agentcache-mode": "write-only"}, {"reads": False, "writes": True}),
        ({"x-agentcache-mode": "Refresh"}, {"reads": False, "writes": True, "forward_reason": "request"}),
        ({"x-agentcache-mode": "read-only", "cache-control": "no-cache"}, {"reads": False, "writes": False}),
        ({"x-agentcache-ttl": "90"}, {"lifetime_seconds": 90.0}),
        ({"x-agentcache-ttl": "15m"}, {"lifetime_seconds": 900.0}),
        ({"x-agentcache-ttl": "30d"}, {"lifetime_seconds": 2592000.0}),
        ({"x-agentcache-namespace": "prod:eu"}, {"namespace": "prod:eu"}),
        ({"x-agentcache-tags": "b, a,b"}, {"tags": ("a", "b")}),
        ({"x-agentcache-sources": "https://a.example/x?y=1"}, {"sources": ("https://a.example/x?y=1",)}),
        ({"x-agentcache-bucket": "7"}, {"bucket": "7"}),
        (
            {"x-agentcache-ignore": "metadata.id, messages[0].name"},
            {"ignore": (("messages", 0, "name"), ("metadata", "id"))},
        ),
        ({"x-agentcache-agent": "planner 2"}, {"agent": "planner 2"}),
    ],
)
def test_understood(headers: dict[str, str], expected: dict[str, Any]) -> None:
    directives = parse_directives(headers)
    assert {name: getattr(directives, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-agentcache-nonsense", "1"),
        ("x-agentcache-semantic", "loose"),
        ("x-agentcache-semantic", "1.5"),
        ("x-agentcache-similarity", "0.9"),
        ("cache-control", "immutable"),
        ("cache-control", "max-age"),
        ("cache-control", "max-age=-1"),
        ("cache-control", "max-age=1.5"),
        ("cache-control", "max-age=99999999999"),
        ("cache-control", "no-store=1"),
        ("x-agentcache-mode", "maybe"),
        ("x-agentcache-mode", ""),
        ("x-agentcache-ttl", "0"),
        ("x-agentcache-ttl", "-5"),
        ("x-agentcache-ttl", "1e9"),
        ("x-agentcache-ttl", "5w"),
        ("x-agentcache-ttl", "99999d"),
        ("x-agentcache-namespace", ""),
        ("x-agentcache-namespace", "a b"),
        ("x-agentcache-namespace", "é"),
        ("x-agentcache-namespace", "a" * 129),
        ("x-agentcache-tags", "a,,b"),
        ("x-agentcache-tags", ",".join(str(n) for n in range(33))),
        ("x-agentcache-tags", "a" * 129),
        ("x-agentcache-sources", "ftp://a.example/"),
        ("x-agentcache-sources", "a.example"),
        ("x-agentcache-sources", "https://user:secret@a.example/"),
        ("x-agentcache-sources", "https://[broken/"),
        ("x-agentcache-bucket", "a/b"),
        ("x-agentcache-ignore", "a..b"),
        ("x-agentcache-agent", "a\tb"),
    ],
)
def test_refused_by_name(header: str, value: str) -> None:
    with pytest.raises(InvalidDirective) as caught:
        parse_directives({header: value})
    assert caught.value.param == header
    assert header in caught.value.message
    assert caught.value.status == 400


def test_only_if_cached_needs_a_mode_that_reads() -> None:
    with pytest.raises(InvalidDirective):
        parse_directives({"cache-control": "only-if-cached", "x-agentcache-mode": "refresh"})
