"""Which spellings of a source URL mean the same place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.engine.sources import normal_source


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM/Path", "https://example.com/Path"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com:/a", "https://example.com/a"),
        ("https://example.com/a/./b/../c", "https://example.com/a/c"),
        ("https://example.com/a/b/..", "https://example.com/a/"),
        ("https://example.com/../../a", "https://example.com/a"),
        ("https://example.com/.", "https://example.com/"),
        ("https://example.com/...", "https://example.com/..."),
        ("https://example.com/%7euser/%41%2f%e4", "https://example.com/~user/A%2F%E4"),
        ("https://example.com/a%2e%2e/b", "https://example.com/a../b"),
        ("https://example.com/a/%2e%2e/b", "https://example.com/b"),
        ("https://example.com/a?B=%3d&a=1#part", "https://example.com/a?B=%3D&a=1"),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("https://bücher.example/ü", "https://bücher.example/ü"),
    ],
)
def test_the_normal_form(spelling: str, normal: str) -> None:
    assert normal_source(spelling) == normal
    assert normal_source(normal) == normal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.com/", "https://example.com/"),
        ("https://example.com/a", "https://example.com/a/"),
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/?a=1&b=2", "https://example.com/?b=2&a=1"),
        ("https://example.com/a%2Fb", "https://example.com/a/b"),
        ("https://example.com/", "https://www.example.com/"),
    ],
)
def test_what_a_server_may_tell_apart_stays_apart(one: str, other: str) -> None:
    assert normal_source(one) != normal_source(other)


@pytest.mark.parametrize("text", ["", "example.com", "ftp://example.com/A", "https://[::1", "https://example.com:x/A"])
def test_what_is_no_source_stays_as_it_is(text: str) -> None:
    assert normal_source(text) == text


@given(st.text(max_size=40).map(lambda text: f"https://Example.com/{text}"))
def test_a_normal_form_is_its_own(url: str) -> None:
    normal = normal_source(url)
    assert normal_source(normal) == normal
