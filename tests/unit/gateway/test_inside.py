"""What a request that the server makes may cost at the very most, before it is made."""

import json

import pytest

from agentcache.demo.fake_provider import FakeProvider
from agentcache.gateway.inside import Inside, InsideRequest, NotPrewarmable, endpoint_of
from agentcache.gateway.ports import Principal, Scope
from tests.support.entries import make_tenant
from tests.support.gateway import LightGateway

#: USD per million tokens of gpt-4o-mini, in and out, as nanos per token.
IN, OUT, CONTEXT = 150, 600, 128_000
AROUND = 64


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with FakeProvider() as provider, LightGateway(tmp_path_factory.mktemp("inside"), provider) as gateway:
        yield gateway


def stand(gateway, body, output_tokens=0):
    raw = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], **body}).encode()
    principal = Principal(make_tenant("acme"), "", frozenset({Scope.CACHE_READ, Scope.CACHE_WRITE}))
    request = InsideRequest("openai", "/v1/chat/completions", (), raw)
    inside = Inside(gateway.parts)
    return raw, gateway.run(inside.stand(principal, request, "sk-kept", output_tokens=output_tokens))


@pytest.mark.parametrize(
    ("body", "said", "output"),
    [
        ({"max_tokens": 10}, 0, 10),
        ({"max_completion_tokens": 10, "max_tokens": 5}, 0, 10),
        ({"max_tokens": 10, "n": 3}, 0, 30),
        ({}, 0, CONTEXT),
        ({"n": 2}, 500, 1_000),
    ],
)
def test_each_byte_is_a_token_and_each_answer_as_long_as_it_may_be(gateway, body, said, output):
    raw, standing = stand(gateway, body, said)
    assert standing.most_usd_nanos == (len(raw) + AROUND) * IN + output * OUT
    assert 0 < standing.likely_usd_nanos <= standing.most_usd_nanos
    assert not standing.is_unbounded


def test_what_is_no_text_may_fill_the_model(gateway):
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    _, standing = stand(gateway, {"max_tokens": 10, "messages": [{"role": "user", "content": picture}]})
    assert standing.most_usd_nanos == CONTEXT * IN + 10 * OUT


def test_without_a_price_nothing_is_promised(gateway):
    _, standing = stand(gateway, {"model": "nobody-knows"})
    assert (standing.most_usd_nanos, standing.likely_usd_nanos, standing.is_unbounded) == (None, None, True)


def test_what_the_cache_stays_out_of_is_said(gateway):
    _, standing = stand(gateway, {"tools": [{"type": "web_search"}], "store": True, "web_search_options": {}})
    assert standing.uncacheable
    assert standing.key == ""


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/files", "/v1/nothing"])
def test_what_cannot_be_fetched_ahead(gateway, path):
    with pytest.raises(NotPrewarmable):
        endpoint_of(gateway.parts.dialects["openai"], path)
