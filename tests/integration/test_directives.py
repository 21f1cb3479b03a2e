"""Every directive of a request, observed at a running gateway: what comes back, what is asked, what is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentcache.gateway.vocabulary import DIRECTIVE_HEADERS
from tests.support.honest import CHAT, chat

MESSAGE = {"model": "priced-1", "max_tokens": 64, "messages": [{"role": "user", "content": "Which port?"}]}
PREDICTION = {"input": {"prompt": "Which port?", "seed": 1}}
ROUTES = {
    "openai": (CHAT, chat("Which port?")),
    "anthropic": ("/anthropic/v1/messages", MESSAGE),
    "replicate": ("/replicate/v1/models/acme/writer/predictions", PREDICTION),
    "together": ("/together/v1/chat/completions", chat("Which port?")),
}


def purge(honest, **selector):
    response = honest.send(selector, path="/api/cache/purge", provider_key="")
    assert response.status_code == 200, response.text
    return response.json()["invalidated"]


# -- X-AgentCache-Mode


def test_mode_on_is_the_default(honest):
    first = honest.ask(x_agentcache_mode="on")
    assert (first.status["fwd"], first.status.get("stored")) == ("miss", True)
    assert honest.ask().text == honest.ask(x_agentcache_mode="on").text == first.text
    assert honest.provider.call_count == 1


def test_mode_off_neither_reads_nor_writes(honest):
    kept = honest.ask()
    off = honest.ask(x_agentcache_mode="off")
    assert off.status == {"fwd": "bypass", "fwd-status": 200, "detail": "requested"}
    assert off.text != kept.text
    assert honest.ask().text == kept.text
    other = chat("never kept")
    honest.ask(other, x_agentcache_mode="off")
    assert not honest.is_stored(other)


def test_mode_read_only_reads_and_stores_nothing(honest):
    for _ in range(2):
        asked = honest.ask(x_agentcache_mode="read-only")
        assert (asked.status["fwd"], asked.status["detail"]) == ("miss", "not_asked")
    kept = honest.ask()
    assert honest.ask(x_agentcache_mode="read-only").text == kept.text
    assert honest.provider.call_count == 3


@pytest.mark.parametrize("mode", ["write-only", "refresh", "WRITE-ONLY"])
def test_modes_that_ask_anew_replace_what_is_stored(honest, mode):
    first = honest.ask()
    second = honest.ask(x_agentcache_mode=mode)
    assert (second.status["fwd"], second.status["stored"]) == ("request", True)
    assert second.text != first.text
    assert honest.ask().text == second.text


# -- Cache-Control


def test_no_cache_asks_the_provider_and_stores(honest):
    first = honest.ask()
    second = honest.ask(cache_control="no-cache")
    assert (second.status["fwd"], second.status["stored"]) == ("request", True)
    assert honest.ask().text == second.text != first.text


def test_no_cache_with_read_only_is_a_bypass(honest):
    asked = honest.ask(cache_control="no-cache", x_agentcache_mode="read-only")
    assert asked.status["fwd"] == "bypass"
    assert not honest.is_stored()


def test_no_store_neither_reads_nor_writes(honest):
    first = honest.ask()
    assert honest.ask(cache_control="no-store").status["fwd"] == "bypass"
    assert honest.ask().text == first.text
    other = chat("never kept")
    honest.ask(other, cache_control="no-store")
    assert not honest.is_stored(other)


def test_max_age_accepts_what_is_young_enough_and_renews_the_rest(honest):
    first = honest.ask()
    honest.gateway.clock.move(100)
    assert honest.ask(cache_control="max-age=105").text == first.text
    renewed = honest.ask(cache_control="max-age=99")
    assert (renewed.status["fwd"], renewed.status["stored"]) == ("stale", True)
    assert honest.ask(cache_control="max-age=99").text == renewed.text


def test_only_if_cached_never_asks(honest):
    refused = honest.send(chat("Which port?"), cache_control="only-if-cached")
    assert (refused.status_code, refused.headers["x-agentcache-error"]) == (504, "not_cached")
    assert refused.headers["x-should-retry"] == "false"
    event = honest.event_of(refused)
    assert (event.outcome, event.status, event.cost_usd_nanos) == ("error", 504, 0)
    assert honest.provider.call_count == 0
    first = honest.ask()
    assert honest.ask(cache_control="only-if-cached", provider_key="").text == first.text


@pytest.mark.parametrize(
    "trouble", [{"status": 500}, {"status": 429}, {"status": 503}, {"status": 529}, {"wire": "garbage"}]
)
def test_stale_if_error_serves_the_expired_entry_of_a_failing_provider(honest, trouble):
    first = honest.ask(x_agentcache_ttl="10")
    honest.gateway.clock.move(15)
    honest.provider.script(**trouble, times=None)
    asked = honest.ask(cache_control="stale-if-error=60")
    assert asked.text == first.text
    assert asked.status["detail"] == "stale-if-error"
    assert asked.status["ttl"] in (-4, -5, -6)
    assert int(asked.response.headers["age"]) >= 15
    assert asked.response.headers["x-agentcache-freshness"] == "expired"
    assert asked.event.saved_usd_nanos == first.event.cost_usd_nanos
    # Too old for this caller, and without the directive: the provider's failure is the answer.
    for control in ("stale-if-error=2", ""):
        response = honest.send(chat("Which port?"), cache_control=control)
        assert response.status_code == trouble.get("status", 502)
        assert honest.event_of(response).outcome == "error"


def test_stale_if_error_does_not_hide_what_the_caller_did_wrong(honest):
    honest.ask(x_agentcache_ttl="1")
    honest.gateway.clock.move(2)
    honest.provider.script(status=401)
    asked = honest.ask(expect=401, cache_control="stale-if-error=60")
    assert asked.status["fwd"] == "stale"


def test_stale_if_error_serves_streams_too(honest):
    honest.ask(chat("Which port?", stream=True), x_agentcache_ttl="1")
    honest.gateway.clock.move(2)
    honest.provider.script(status=500, times=None)
    asked = honest.ask(chat("Which port?", stream=True), cache_control="stale-if-error=60")
    assert asked.response.content.endswith(b"data: [DONE]\n\n")


def test_cache_control_directives_combine(honest):
    first = honest.ask()
    asked = honest.ask(cache_control='max-age="60", only-if-cached , stale-if-error=5')
    assert asked.text == first.text


# -- X-AgentCache-TTL and freshness


@pytest.mark.parametrize(("given", "seconds"), [("1", 1), ("90s", 90), ("15m", 900), ("12h", 43200), ("30d", 2592000)])
def test_ttl_sets_the_lifetime(honest, given, seconds):
    assert honest.ask(x_agentcache_ttl=given).status["ttl"] == seconds
    hit = honest.ask()
    assert hit.status["ttl"] in (seconds, seconds - 1)


def test_without_a_ttl_the_default_is_in_force(honest):
    assert honest.ask().status["ttl"] == honest.gateway.settings.default_ttl_seconds


def test_freshness_turns_stale_at_three_quarters_and_expires_at_the_end(honest):
    first = honest.ask(x_agentcache_ttl="1000")
    for move, freshness in ((740, "fresh"), (15, "stale"), (230, "stale")):
        honest.gateway.clock.move(move)
        asked = honest.ask()
        assert asked.response.headers["x-agentcache-freshness"] == freshness
        assert asked.text == first.text
        assert int(asked.response.headers["age"]) + asked.status["ttl"] in (999, 1000)
    honest.gateway.clock.move(20)
    renewed = honest.ask()
    assert (renewed.status["fwd"], renewed.status["ttl"]) == ("stale", honest.gateway.settings.default_ttl_seconds)


# -- X-AgentCache-Namespace, -Bucket, -Ignore, -Agent


def test_namespaces_are_apart_and_a_key_may_have_its_own(honest):
    default = honest.ask()
    other = honest.ask(x_agentcache_namespace="eval:2026.1")
    assert other.status["fwd"] == "miss"
    assert honest.ask(x_agentcache_namespace="eval:2026.1").text == other.text
    assert honest.ask(x_agentcache_namespace="default").text == default.text
    key = honest.gateway.key(honest.team, namespace="eval:2026.1")
    asked = honest.ask(key=key)
    assert asked.text == other.text
    assert (default.event.namespace, other.event.namespace, asked.event.namespace) == (
        "default", "eval:2026.1", "eval:2026.1",
    )  # fmt: skip


def test_buckets_keep_samples_apart_and_are_not_sent_upstream(honest):
    texts = {honest.ask(x_agentcache_bucket=bucket).text for bucket in ("1", "2", "3")}
    assert len(texts) == 3
    assert {honest.ask(x_agentcache_bucket=bucket).text for bucket in ("1", "2", "3")} == texts
    assert not any("bucket" in name or "agentcache" in name for call in honest.provider.calls for name in call.headers)
    assert len({call.body for call in honest.provider.calls}) == 1


def test_ignored_members_do_not_tell_requests_apart(honest):
    def asked(number):
        body = chat("Which port?", seed=1, extra={"trace": {"id": number}, "kind": "a"})
        return honest.ask(body, x_agentcache_ignore="extra.trace.id, $.seed")

    first = asked(1)
    assert asked(2).text == first.text
    assert honest.provider.calls[0].json["extra"] == {"trace": {"id": 1}, "kind": "a"}
    # Whoever did not ask to ignore them is not answered from there.
    body = chat("Which port?", seed=1, extra={"trace": {"id": 1}, "kind": "a"})
    assert honest.ask(body).status["fwd"] == "miss"
    several = [{"role": "user", "content": "a", "name": n} for n in ("x", "y")]
    first = honest.ask(chat("", messages=several), x_agentcache_ignore="messages[*].name")
    renamed = [{**message, "name": "z"} for message in several]
    assert honest.ask(chat("", messages=renamed), x_agentcache_ignore="messages[*].name").text == first.text


def test_the_agent_is_in_the_usage_event(honest):
    for _ in range(2):
        assert honest.ask(x_agentcache_agent="support bot/2").event.agent == "support bot/2"
    assert honest.provider.call_count == 1


# -- X-AgentCache-Tags, -Sources


@pytest.mark.parametrize("form", ["plain", "stream"])
def test_tags_and_sources_are_kept_to_invalidate_by(honest, form):
    sources = "https://example.com/pricing, https://example.com/faq"
    bodies = [chat(f"{number}", stream=form == "stream") for number in range(3)]
    honest.ask(bodies[0], x_agentcache_tags="docs, v2", x_agentcache_sources=sources)
    honest.ask(bodies[1], x_agentcache_tags="v2")
    honest.ask(bodies[2], x_agentcache_sources="https://example.com/faq")
    listed = honest.send(path="/api/cache/entries?tag=docs", method="GET", provider_key="").json()["entries"]
    assert [(entry["tags"], entry["sources"]) for entry in listed] == [(["docs", "v2"], sorted(sources.split(", ")))]
    assert purge(honest, tags=["docs"]) == 1
    assert [honest.is_stored(body) for body in bodies] == [False, True, True]
    assert purge(honest, source="https://example.com/faq") == 1
    assert [honest.is_stored(body) for body in bodies] == [False, True, False]
    assert purge(honest, tags=["v2", "other"]) == 1
    assert not honest.is_stored(bodies[1])


# -- X-AgentCache-Semantic: what it does is tried in tests/integration/semantic


@pytest.mark.parametrize("wanted", ["off", "safe", "balanced", "shadow", "0.9"])
def test_who_asks_for_near_answers_where_there_are_none_gets_exact_ones(honest, wanted):
    assert honest.ask(x_agentcache_semantic=wanted).status["fwd"] == "miss"
    assert "hit" in honest.ask(x_agentcache_semantic=wanted).status
    assert "hit" in honest.ask().status, "it is no part of the key"


# -- what is refused

MALFORMED = [
    ("cache-control", "no-cash"),
    ("cache-control", "max-age"),
    ("cache-control", "max-age=-1"),
    ("cache-control", "max-age=1.5"),
    ("cache-control", "no-cache=1"),
    ("cache-control", "private"),
    ("cache-control", "only-if-cached, no-cache"),
    ("x-agentcache-mode", "maybe"),
    ("x-agentcache-mode", ""),
    ("x-agentcache-ttl", "0"),
    ("x-agentcache-ttl", "-5"),
    ("x-agentcache-ttl", "1.5h"),
    ("x-agentcache-ttl", "99999999999"),
    ("x-agentcache-namespace", "two words"),
    ("x-agentcache-namespace", "n" * 129),
    ("x-agentcache-bucket", "b" * 65),
    ("x-agentcache-bucket", ""),
    ("x-agentcache-tags", "a,,b"),
    ("x-agentcache-tags", ",".join(map(str, range(33)))),
    ("x-agentcache-tags", "t" * 129),
    ("x-agentcache-sources", "example.com/page"),
    ("x-agentcache-sources", "ftp://example.com/page"),
    ("x-agentcache-sources", "https://user:secret@example.com/"),
    ("x-agentcache-ignore", "messages["),
    ("x-agentcache-ignore", "a," * 33 + "a"),
    ("x-agentcache-agent", "a" * 129),
    ("x-agentcache-semantic", "on"),
    ("x-agentcache-semantic", "1.5"),
    ("x-agentcache-semantic", ""),
    ("x-agentcache-cache", "on"),
    ("x-agentcache-tag", "a"),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_what_is_unknown_or_malformed_is_refused_by_name(honest, name, value):
    response = honest.send(chat("Which port?"), **{name: value})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_directive", name)
    assert error["type"] == "invalid_request_error"
    assert name in error["message"].lower() or "only-if-cached" in error["message"]
    assert "cache-status" not in response.headers
    assert honest.provider.call_count == 0
    assert not honest.is_stored()


@pytest.mark.parametrize("dialect", ROUTES)
def test_the_refusal_has_the_dialects_own_shape(honest, dialect):
    path, body = ROUTES[dialect]
    response = honest.send(body, path=path, x_agentcache_lifetime="5")
    assert response.status_code == 400
    assert response.headers["x-should-retry"] == "false"
    answer = response.json()
    if dialect == "anthropic":
        details = {"error_code": "invalid_directive", "param": "x-agentcache-lifetime"}
        assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")
        assert answer["error"]["details"] == details
        assert "x-agentcache-lifetime" in answer["error"]["message"]
    elif dialect == "replicate":
        assert (answer["status"], answer["code"]) == (400, "invalid_directive")
        assert "x-agentcache-lifetime" in answer["detail"]
    else:
        assert answer["error"]["code"] == "invalid_directive"
        assert "x-agentcache-lifetime" in answer["error"]["message"]
    assert honest.provider.call_count == 0


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "together"])
def test_directives_mean_the_same_in_every_dialect(honest, dialect):
    path, body = ROUTES[dialect]
    assert honest.ask(body, path=path, x_agentcache_ttl="100", x_agentcache_tags="a").status["ttl"] == 100
    assert "hit" in honest.ask(body, path=path).status
    assert honest.ask(body, path=path, x_agentcache_mode="off").status["fwd"] == "bypass"
    assert honest.ask(body, path=path, cache_control="no-cache").status["fwd"] == "request"
    assert purge(honest, tags=["a"]) == 0
    assert "hit" in honest.ask(body, path=path).status


def test_every_directive_there_is_has_been_tried_here():
    text = Path(__file__).read_text()
    tried = {name.replace("_", "-") for name in re.findall(r"x_agentcache_\w+", text)}
    # The credential is tried in tests/integration/sdks/test_credentials.py.
    assert DIRECTIVE_HEADERS - tried == {"x-agentcache-key"}
