"""`/metrics`: for administrators, or on a port of its own; sums over all workers; no label is of a caller's making."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentcache.gateway.ports import Outcome, Scope
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.leaks import scan_text
from tests.support.routes import every_upstream, settings_dialects

CHAT = "/openai/v1/chat/completions"
WORDS = ("zqxmodel", "zqxnamespace", "zqxagent", "zqxtag", "zqxpath", "zqxprompt", "sk-zqxprovider")


def ask(gateway, seed, key=None):
    headers = {
        "X-AgentCache-Key": key or gateway.key(), "Authorization": "Bearer sk-zqxprovider",
        "X-AgentCache-Namespace": f"zqxnamespace{seed}", "X-AgentCache-Agent": f"zqxagent{seed}",
        "X-AgentCache-Tags": "zqxtag",
    }  # fmt: skip
    body = {"model": f"zqxmodel{seed}", "messages": [{"role": "user", "content": "zqxprompt"}]}
    return httpx.post(gateway.url + CHAT, json=body, headers=headers, timeout=20)


def samples(text):
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def requests_total(text):
    return sum(sample.value for sample in samples(text) if sample.name == "agentcache_requests_total")


@pytest.mark.parametrize("scope", [None, *Scope])
def test_only_an_administrators_key_opens_it(tmp_path, provider, scope):
    with LightGateway(tmp_path, provider) as gateway:
        key = gateway.key("acme", scopes=frozenset({scope} - {None}))
        told = httpx.get(f"{gateway.url}/metrics", headers={"Authorization": f"Bearer {key}"})
        assert told.status_code == (200 if scope is Scope.ADMIN else 403)
        assert ("agentcache_requests" in told.text) == (scope is Scope.ADMIN)
        assert httpx.get(f"{gateway.url}/metrics").status_code == 401


def test_no_label_is_of_a_callers_making(tmp_path, provider):
    with LightGateway(tmp_path, provider, **every_upstream(provider)) as gateway:
        admin = gateway.key("acme", scopes=frozenset(Scope))
        for seed in range(20):
            assert ask(gateway, seed).status_code == 200
            httpx.get(f"{gateway.url}/openai/v1/zqxpath{seed}", headers={"X-AgentCache-Key": gateway.key()})
            httpx.post(
                f"{gateway.url}/api/cache/get", json={"provider": f"zqxmodel{seed}"}, headers={"X-API-Key": admin}
            )
            httpx.get(f"{gateway.url}/zqxpath{seed}/v1/models", headers={"X-AgentCache-Key": gateway.key()})
        gateway.events  # noqa: B018 - hands everything on
        text = httpx.get(f"{gateway.url}/metrics", headers={"X-AgentCache-Key": admin}).text
        assert list(scan_text(text, [*WORDS, gateway.key(), admin, "acme"])) == []
        known = {"dialect": {*settings_dialects(gateway.settings), "native"}, "outcome": {o.value for o in Outcome}}
        for sample in samples(text):
            assert sample.labels.keys() <= {"dialect", "outcome", "le"}, sample
            for name, allowed in known.items():
                assert sample.labels.get(name, next(iter(allowed))) in allowed, sample
        assert requests_total(text) >= 60
        assert len(samples(text)) < 400


def test_a_port_of_its_own_needs_no_key_and_sums_all_workers(two_on_sqlite):
    server = two_on_sqlite
    url = f"http://127.0.0.1:{server.settings.metrics_port}"
    before = requests_total(httpx.get(f"{url}/metrics").text)
    for seed in range(30):
        # A connection each, so that both workers get some.
        assert ask(server, seed).status_code == 200

    def counted():
        return requests_total(httpx.get(f"{url}/metrics").text) - before

    wait_until(lambda: counted() >= 30, what="all requests to be counted")
    text = httpx.get(f"{url}/metrics").text
    assert list(scan_text(text, [*WORDS, server.key(), server.server.key])) == []
    for path in ("/", "/healthz", "/openai/v1/models", "/api/cache/stats", "/metrics/x", "/admin/"):
        assert httpx.get(url + path, headers={"X-AgentCache-Key": server.key()}).status_code == 404
    assert httpx.post(f"{url}/metrics").status_code == 405
    # The main port still wants an administrator's key.
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert httpx.get(f"{server.url}/metrics", headers={"X-AgentCache-Key": server.key()}).status_code == 403
    admin = server.create_key("--scope", "admin")
    told = httpx.get(f"{server.url}/metrics", headers={"X-AgentCache-Key": admin})
    assert requests_total(told.text) >= before + 29
