from __future__ import annotations

from dataclasses import replace

import pytest

from agentcache.gateway.predictions.outputs import file_name, find_file_urls, names_file, replace_urls
from agentcache.providers.replicate import DIALECT

LOCAL = replace(DIALECT, upstream="http://127.0.0.1:9000/replicate")


@pytest.mark.parametrize(
    "url",
    [
        "https://replicate.delivery/pbxt/abc/out.png",
        "https://pbxt.replicate.delivery/abc/out-0.png?x=1",
        "https://replicate.delivery:443/abc/out.png",
        "https://api.replicate.com/v1/files/abc",
    ],
)
def test_files_of_the_provider_are_known(url):
    assert names_file(url, DIALECT)


@pytest.mark.parametrize(
    "text",
    [
        "out.png",
        "http://replicate.delivery/out.png",
        "https://replicate.delivery:8443/out.png",
        "https://replicate.delivery@evil.example/out.png",
        "https://evil.example/replicate.delivery",
        "https://notreplicate.delivery/out.png",
        "https://replicate.delivery.evil.example/out.png",
        "https://user:secret@replicate.delivery/out.png",
        "https://169.254.169.254/latest",
        "http://127.0.0.1:9000/files/out.png",
        "https://replicate.delivery:99999/out.png",
        "https://[::1/out.png",
        "ftp://replicate.delivery/out.png",
        "data:image/png;base64,AAAA",
        "https://replicate.delivery/" + "a" * 3000,
    ],
)
def test_everything_else_stays_where_it_is(text):
    assert not names_file(text, DIALECT)


def test_files_of_a_configured_upstream_are_known_on_its_own_port_only():
    assert names_file("http://127.0.0.1:9000/files/out.png", LOCAL)
    assert not names_file("http://127.0.0.1:9001/files/out.png", LOCAL)
    assert not names_file("https://127.0.0.1:9000/files/out.png", LOCAL)
    assert names_file("https://replicate.delivery/out.png", LOCAL)


def test_urls_are_found_and_replaced_at_any_depth():
    first, second = "https://replicate.delivery/a.png", "https://replicate.delivery/b.png"
    output = {"images": [first, {"preview": second}], "again": first, "text": f"see {first}", "n": 1, "none": None}
    assert find_file_urls(output, DIALECT) == [first, second]
    assert replace_urls(output, {first: "A", second: "B"}) == {
        "images": ["A", {"preview": "B"}], "again": "A", "text": f"see {first}", "n": 1, "none": None,
    }  # fmt: skip
    assert output["again"] == first


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://replicate.delivery/pbxt/x/out-0.png", "out-0.png"),
        ("https://replicate.delivery/x/a%20b%22%0d%0a.png?n=1", "a-b-.png"),
        ("https://replicate.delivery/x/", "output"),
        ("https://replicate.delivery/x/..%2f..%2fetc%2fpasswd", "etc-passwd"),
        ("https://replicate.delivery/.htaccess", "htaccess"),
        ("https://replicate.delivery/" + "n" * 300 + ".png", "n" * 96 + ".png"),
    ],
)
def test_a_file_s_name_is_harmless(url, name):
    assert file_name(url) == name
