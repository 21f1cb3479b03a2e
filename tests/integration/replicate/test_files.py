"""Output files outlive the provider's copies, and nothing else can be fetched."""

from __future__ import annotations

import httpx
import pytest

from agentcache.engine.entries import Selector
from tests.integration.replicate.conftest import CAPTION, IMAGE, TEXT
from tests.support.running_gateway import RunningGateway


def test_files_can_be_fetched_after_the_provider_forgot_them(raw, gateway, provider):
    first = raw.create(IMAGE, num_outputs=3).json()
    contents = [httpx.get(url).content for url in first["output"]]
    provider.expire_files()
    second = raw.create(IMAGE, num_outputs=3)
    assert "hit" in second.headers["cache-status"]
    assert second.json()["output"] == first["output"]
    for url, content in zip(second.json()["output"], contents, strict=True):
        assert url.startswith(gateway.url + "/replicate/files/")
        # Without a key, as a browser does it.
        answer = httpx.get(url)
        assert (answer.status_code, answer.content) == (200, content)
        assert content.startswith(b"\x89PNG")
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith("inline; filename=")
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_head_request_says_how_long_a_file_is(raw):
    (url,) = raw.create(IMAGE).json()["output"]
    answer = httpx.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(httpx.get(url).content))
    assert httpx.post(url).status_code == 404


def test_files_deep_in_an_output_are_copied(raw, gateway, provider):
    found = raw.create(CAPTION).json()["output"]
    assert found["preview"]["image"].startswith(gateway.url)
    provider.expire_files()
    assert httpx.get(found["preview"]["image"]).status_code == 200


def test_data_urls_and_foreign_urls_stay(raw, provider):
    output = ["data:image/png;base64,AAAA", "https://example.com/a.png", "text"]
    provider.script(output=output, path=f"/v1/models/{TEXT}/predictions")
    assert raw.create().json()["output"] == output
    hit = raw.create()
    assert "hit" in hit.headers["cache-status"]
    assert hit.json()["output"] == output


def test_file_urls_follow_the_host_that_the_caller_uses(raw, gateway):
    raw.create(IMAGE)
    (url,) = raw.create(IMAGE, headers={"host": "cache.example.com"}).json()["output"]
    assert url.startswith("http://cache.example.com/replicate/files/")


def test_a_removed_entry_takes_its_files_along(raw, gateway):
    first = raw.create(IMAGE)
    (url,) = first.json()["output"]
    tenant = gateway.principals[raw.key].tenant
    key = bytes.fromhex(first.headers["x-agentcache-key"])
    assert gateway.run(gateway.parts.entries.invalidate(tenant, Selector(keys=(key,)))) == 1
    assert httpx.get(url).status_code == 404
    assert httpx.get(url.replace("127.0.0.1", "localhost")).status_code == 404


def test_an_invalidated_tag_takes_its_files_along(raw, gateway):
    (url,) = raw.create(IMAGE, headers={"x-agentcache-tags": "art"}).json()["output"]
    tenant = gateway.principals[raw.key].tenant
    assert gateway.run(gateway.parts.entries.invalidate(tenant, Selector(tags=("art",)))) == 2
    assert httpx.get(url).status_code == 404


def test_a_hit_whose_file_was_evicted_is_asked_for_again(raw, gateway, provider):
    raw.create(IMAGE)
    tenant = gateway.principals[raw.key].tenant
    rows = gateway.run(gateway.parts.entries.list_entries(tenant, Selector())).rows
    (file_key,) = [row.key for row in rows if row.meta.endpoint == "predictions.file"]
    gateway.run(gateway.parts.entries.invalidate(tenant, Selector(keys=(file_key,))))
    again = raw.create(IMAGE)
    assert "fwd=stale" in again.headers["cache-status"]
    assert httpx.get(again.json()["output"][0]).status_code == 200
    assert provider.calls_by_path[f"/v1/models/{IMAGE}/predictions"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.rpartition(".")[0][:-40] + "a" * 26 + "/out.png",
        lambda url: url.replace("/replicate/files/", "/replicate/files/x"),
        lambda url: url.rpartition("/")[0],
        lambda url: url + "/more",
        lambda url: url.split("/files/")[0] + "/files/",
    ],
)
def test_nothing_else_is_served_without_a_key(raw, change):
    (url,) = raw.create(IMAGE).json()["output"]
    assert httpx.get(change(url)).status_code == 404


def test_other_routes_still_want_a_key(gateway):
    assert httpx.get(gateway.url + "/replicate/v1/files/abc").status_code == 401
    assert httpx.get(gateway.url + "/replicate/v1/predictions/abc").status_code == 401


def test_a_file_that_cannot_be_copied_leaves_the_prediction_to_the_provider(raw, provider):
    provider.script(status=500, when=lambda call: call.path.startswith("/files/"), times=None)
    first = raw.create(IMAGE)
    assert first.json()["output"][0].startswith(provider.url)
    assert "detail=file_not_copied" in first.headers["cache-status"]
    provider.clear_scripts()
    assert "stored" in raw.create(IMAGE).headers["cache-status"]


def test_active_content_is_downloaded_and_not_shown(raw, gateway, provider):
    page = f"{provider.url}/files/page.html"
    state = provider._state.predictions
    state.keep_file(provider.url, "page.html", "text/html", b"<script>alert(1)</script>")
    provider.script(output=page, path=f"/v1/models/{TEXT}/predictions")
    answer = httpx.get(raw.create().json()["output"])
    assert answer.headers["content-disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_too_large_a_file_is_left_to_the_provider(tmp_path, provider):
    provider._state.predictions.keep_file(provider.url, "large.bin", "application/octet-stream", b"x" * 70_000)
    provider.script(output=f"{provider.url}/files/large.bin", path="/v1/predictions")
    with RunningGateway(tmp_path, provider, AGENTCACHE_ENTRY_MAX_BYTES="64KiB") as gateway:
        answer = httpx.post(
            gateway.url + "/replicate/v1/predictions",
            json={"version": "acme/writer", "input": {"seed": 1}},
            headers={"x-agentcache-key": gateway.make_key(), "authorization": "Bearer r8_x", "prefer": "wait"},
        )
    assert answer.json()["output"] == f"{provider.url}/files/large.bin"
    assert "detail=file_not_copied" in answer.headers["cache-status"]


def test_files_are_encrypted_where_entries_are(tmp_path, provider):
    with RunningGateway(tmp_path, provider, AGENTCACHE_ENCRYPT_ENTRIES="on") as gateway:
        headers = {
            "x-agentcache-key": gateway.make_key(data_key=b"d" * 32),
            "authorization": "Bearer r8_x",
            "prefer": "wait",
        }
        bodies = [
            httpx.post(
                gateway.url + "/replicate/v1/predictions",
                json={"version": "acme/flux", "input": {"seed": 1}},
                headers=headers,
            ).json()
            for _ in range(2)
        ]
        assert bodies[0]["output"] == bodies[1]["output"]
        content = httpx.get(bodies[1]["output"][0]).content
        assert content.startswith(b"\x89PNG")
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("cache.db*"))
    assert b"IDAT" not in stored
    token = bodies[1]["output"][0].split("/files/")[1].split("/")[0]
    assert token.encode() not in stored


def test_the_customer_s_token_is_not_needed_and_not_passed_on(raw, provider):
    (url,) = raw.create(IMAGE).json()["output"]
    before = provider.call_count
    assert httpx.get(url, headers={"authorization": "Bearer r8_secret"}).status_code == 200
    assert provider.call_count == before
    fetched = [call for call in provider.calls if call.path.startswith("/files/")]
    assert fetched
    assert all(call.credential == "" for call in fetched)


def test_file_urls_name_the_public_address_where_one_is_set(tmp_path, provider):
    with RunningGateway(tmp_path, provider, AGENTCACHE_PUBLIC_URL="https://cache.example.com") as gateway:
        answer = httpx.post(
            gateway.url + "/replicate/v1/predictions",
            json={"version": "acme/flux", "input": {"seed": 1}},
            headers={"x-agentcache-key": gateway.make_key(), "authorization": "Bearer r8_x", "prefer": "wait"},
        ).json()
    assert answer["output"][0].startswith("https://cache.example.com/replicate/files/")
    assert answer["urls"]["get"].startswith("https://cache.example.com/replicate/v1/predictions/")
