"""S11: nothing in a request moves a call, or the credential on it, to another host than the operator's."""

from __future__ import annotations

import itertools

import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.raw_http import RawClient
from tests.support.reliability import record

QUESTION = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which port?"}]}
#: Members and headers by which gateways of this world let a caller choose the upstream.
MEMBERS = [
    "api_base", "base_url", "baseURL", "custom_host", "host", "api_host", "endpoint", "url", "upstream", "target",
    "api_type", "azure_endpoint", "organization_url", "proxy", "openai_api_base", "provider", "router_settings",
    "litellm_params", "extra_headers", "metadata",
]  # fmt: skip
HEADERS = [
    "X-Custom-Host", "X-Portkey-Custom-Host", "Helicone-Target-URL", "Helicone-OpenAI-Api-Base", "X-Target-URL",
    "X-Upstream", "X-Base-URL", "X-Api-Base", "X-Forwarded-Host", "X-Host", "X-Original-Host", "X-Original-URL",
    "X-Rewrite-URL", "X-Forwarded-Server", "Forwarded", "X-HTTP-Host-Override", "Destination", "Location",
]  # fmt: skip


@pytest.fixture
def attacker():
    with FakeProvider() as listening:
        yield listening


def credentials(gateway):
    return [("X-AgentCache-Key", gateway.key()), ("Authorization", "Bearer sk-stolen")]


async def test_no_member_and_no_header_moves_a_call(gateway, provider, attacker):
    sent = 0
    async with RawClient(gateway.url) as client:
        for member in MEMBERS:
            for value in (attacker.url, attacker.url + "/v1", {"api_base": attacker.url, "base_url": attacker.url}):
                body = {**QUESTION, member: value}
                answer = await client.request("POST", "/openai/v1/chat/completions", credentials(gateway), body)
                assert answer.status < 500, answer.body
                sent += 1
        for header, value in itertools.product(HEADERS, (attacker.url, attacker.url[7:], f"host={attacker.url[7:]}")):
            headers = [*credentials(gateway), (header, value), ("X-AgentCache-Mode", "refresh")]
            for path in ("/openai/v1/chat/completions", "/acme_ai/v1/chat/completions"):
                answer = await client.request("POST", path, headers, QUESTION)
                assert answer.status == 200, answer.body
                sent += 1
    assert provider.call_count >= sent - len(MEMBERS)
    assert {call.headers["host"] for call in provider.calls} == {provider.url[7:]}
    assert attacker.call_count == 0
    record("S11 members and headers", sent=sent, keys_at_attacker=attacker.call_count)


async def test_no_host_and_no_target_moves_a_call(gateway, provider, attacker):
    away = attacker.url[7:]
    hosts = [away, f"{away}:80", f"127.0.0.1@{away}", f"{away}/", f"{away}#", "", f"127.0.0.1, {away}"]
    targets = [
        f"http://{away}/openai/v1/chat/completions", f"http://x@{away}/openai/v1/chat/completions",
        f"//{away}/openai/v1/chat/completions", f"/openai@{away}/v1/chat/completions",
        f"/openai/@{away}/v1/chat/completions", f"/openai/v1/@{away}/chat/completions", f"/@{away}/v1/models",
        f"/openai/%40{away}/v1/models", f"/openai//{away}/v1/models", f"/openai/http://{away}/v1/models",
        f"/openai/..%2f@{away}/v1/models", f"/openai\\@{away}/v1/models", f"/openai:{away}/v1/models",
        f"/openai/v1/models?@{away}/", f"/openai/v1/models#@{away}/", f"/openai/v1/models?host={away}",
        f"/openai/:80@{away}/v1/models", f"/openai/.{away}/v1/models", f"/openai/%0d%0aHost:%20{away}/v1/models",
        f"/openai/v1/%0d%0aHost:%20{away}/models", f"/http://{away}/v1/models", f"/{away}/v1/models",
        f"/openai.{away}/v1/models", f"/openai%2e{away}/v1/models", f"/openai/v1/..;@{away}/models",
    ]  # fmt: skip
    sent = 0
    for target, host in itertools.product(targets, [None, *hosts]):
        for method, body in (("POST", QUESTION), ("GET", b"")):
            async with RawClient(gateway.url) as client:
                try:
                    answer = await client.request(method, target, credentials(gateway), body, host=host)
                except (ConnectionError, ValueError):
                    continue  # what is no HTTP is hung up on
                assert answer.status < 500, (target, host, answer.body)
                sent += 1
    assert sent > 200
    assert attacker.call_count == 0
    assert {call.headers["host"] for call in provider.calls} <= {provider.url[7:]}
    record("S11 hosts and targets", sent=sent, keys_at_attacker=attacker.call_count)


async def test_no_provider_name_of_our_own_api_moves_a_call(gateway, provider, attacker):
    names = [
        f"openai@{attacker.url[7:]}",
        f"openai/{attacker.url[7:]}",
        attacker.url,
        "openai/",
        "@",
        "openai@",
        "..",
        "",
    ]
    async with RawClient(gateway.url) as client:
        for name in names:
            for path in ("get", "set", "explain"):
                body = {"provider": name, **QUESTION} | ({"value": "v"} if path == "set" else {})
                answer = await client.request("POST", f"/api/cache/{path}", credentials(gateway), body)
                assert answer.status == 400, answer.body
                assert answer.json()["param"] == "provider"
    assert attacker.call_count == provider.call_count == 0


async def test_a_redirect_is_shown_and_not_followed(gateway, provider, attacker):
    async with RawClient(gateway.url) as client:
        for status in (301, 302, 303, 307, 308):
            for path in ("/openai/v1/chat/completions", "/openai/v1/embeddings"):
                provider.script(status=status, headers=(("Location", f"{attacker.url}/v1/chat/completions"),))
                body = {**QUESTION, "input": "x", "seed": status}
                answer = await client.request("POST", path, credentials(gateway), body)
                assert answer.status == status
                assert not answer.hit
    assert attacker.call_count == 0


async def test_an_output_file_elsewhere_is_not_fetched(gateway, provider, attacker):
    async with RawClient(gateway.url) as client:
        for number, output in enumerate(
            [
                f"{attacker.url}/files/a.png",
                [f"{attacker.url}/files/a.png"],
                {"image": f"{provider.url}@{attacker.url[7:]}/a"},
            ]
        ):
            provider.script(output=output, prediction_seconds=0.0)
            body = {"version": "ab" * 32, "input": {"prompt": "p", "seed": number}}
            headers = [*credentials(gateway), ("Prefer", "wait")]
            answer = await client.request("POST", "/replicate/v1/predictions", headers, body)
            assert answer.status in (201, 202), answer.body
            polled = await client.request("GET", f"/replicate/v1/predictions/{answer.json()['id']}", headers)
            assert polled.json()["status"] == "succeeded"
    assert attacker.call_count == 0
