"""URLs and request heads that could mean two things are refused."""

import pytest

from agentcache.kit.egress.target import InvalidTarget, parse_target, request_head
from agentcache.kit.errors import BadRequest


@pytest.mark.parametrize(
    ("url", "origin", "authority", "path"),
    [
        ("https://api.example.com/v1/x?a=b", (True, "api.example.com", 443), "api.example.com", "/v1/x?a=b"),
        ("http://API.example.com.:8080", (False, "api.example.com", 8080), "api.example.com:8080", "/"),
        ("http://[::1]:81/a%20b", (False, "::1", 81), "[::1]:81", "/a%20b"),
        ("https://h:443/", (True, "h", 443), "h", "/"),
    ],
)
def test_urls_are_taken_apart(url, origin, authority, path):
    target = parse_target(url)
    assert (target.origin, target.authority, target.path) == (origin, authority, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//h/",
        "ftp://h/",
        "HTTPS://h",
        "http:/h",
        "http:///x",
        "http://u@h/",
        "http://h@evil/",
        "http://h:0/",
        "http://h:99999/",
        "http://h:/",
        "http://h:8o/",
        "http://h /",
        "http://h/a b",
        "http://h/\r\nx: y",
        "http://h/\n",
        "http://h/#f",
        "http://h\\x/",
        "http://h/\\",
        "http://é/",
        "http://h/é",
        "http://h?x",
        "http://[::1/",
        "http://[v1.x]/",
        "http://-h/",
        "http://%68/",
        "http://h/\x7f",
        'http://h/"',
    ],
)
def test_odd_urls_are_refused(url):
    with pytest.raises(InvalidTarget):
        parse_target(url)


def test_a_head_names_the_target_and_drops_the_headers_of_the_connection():
    headers = [
        (b"Host", b"evil"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"TE", b"trailers"),
        (b"Proxy-Authorization", b"x"),
        (b"X-A", b"1"),
        (b"x-a", b""),
    ]
    head = request_head("POST", parse_target("http://h:81/v1?q"), headers, b"content-length: 2\r\n")
    assert head == b"POST /v1?q HTTP/1.1\r\nhost: h:81\r\ncontent-length: 2\r\nX-A: 1\r\nx-a: \r\n\r\n"


@pytest.mark.parametrize(
    "header",
    [
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\nc"),
        (b"a", b"b\rc"),
        (b"a", b"\r\n"),
        (b"a", b"\0"),
        (b"a:b", b"c"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a\r\n", b"c"),
        ("é".encode(), b"c"),
    ],
)
def test_a_header_that_would_end_a_line_early_is_refused(header):
    with pytest.raises(BadRequest):
        request_head("GET", parse_target("http://h/"), [(b"x", b"y"), header], b"")


@pytest.mark.parametrize("method", ["GET /evil", "G\r\nX", "", "GÉT", "GET\0"])
def test_an_odd_method_is_refused(method):
    with pytest.raises(BadRequest):
        request_head(method, parse_target("http://h/"), [], b"")
