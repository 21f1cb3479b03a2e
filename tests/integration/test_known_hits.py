"""Hits known by their bytes say, count and refuse what the usual way would have said, counted and refused."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from agentcache.gateway.authenticate import REFRESH_SECONDS
from agentcache.gateway.ports import Scope
from agentcache.kit.networks import Networks
from tests.support.gateway import LightGateway

CHAT = "/v1/chat/completions"
EACH_HIT_ITS_OWN = {"x-agentcache-request-id", "date", "age"}
EACH_EVENT_ITS_OWN = {"id", "at_ms", "latency_us"}


@pytest.fixture
def gateway(tmp_path, provider):
    with LightGateway(tmp_path, provider) as gateway:
        yield gateway


class Line:
    """One connection, on which the same bytes mean the same bytes."""

    def __init__(self, gateway, *, in_two=False):
        self._socket = socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in_two = in_two

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def ask(self, api_key, body, path=CHAT, **headers):
        """Return status, headers and body."""
        content = json.dumps(body).encode()
        given = {"x-agentcache-key": api_key, "authorization": "Bearer sk-upstream", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in given.items())
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(content)}\r\n\r\n".encode()
        for piece in (head, content) if self._in_two else (head + content,):
            self._socket.sendall(piece)
        return self._read()

    def _read(self):
        file = self._socket.makefile("rb")
        status = int(file.readline().split()[1])
        said = {}
        while line := file.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            said[name.lower()] = value
        if "content-length" in said:
            return status, said, file.read(int(said["content-length"]))
        body = b""
        while size := int(file.readline(), 16):
            body += file.read(size)
            file.readline()
        file.readline()
        return status, said, body


@pytest.fixture
def line(gateway):
    with Line(gateway) as line:
        yield line


def chat(prompt="Which port does HTTPS use?", **more):
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}], **more}


def learn(gateway, line, api_key, *arguments, **headers):
    """Ask until the answer is known by its bytes; return it."""
    before = gateway.known_hits
    for _ in range(4):
        answer = line.ask(api_key, *arguments, **headers)
        if gateway.known_hits > before:
            return answer
    raise AssertionError("never known")


@pytest.mark.parametrize("in_two", [False, True], ids=["one piece", "two pieces"])
@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (CHAT, chat(), {}),
        (CHAT, chat(stream=True), {}),
        (CHAT, chat(stream=True, stream_options={"include_usage": True}), {}),
        (CHAT, chat(), {"x_agentcache_namespace": "prod", "x_agentcache_agent": "bot", "cache_control": "max-age=60"}),
        ("/anthropic/v1/messages", {**chat(), "max_tokens": 64}, {"anthropic_version": "2023-06-01"}),
        ("/openai/v1/moderations", {"model": "omni-moderation-latest", "input": "a text"}, {}),
    ],
    ids=["plain", "stream", "stream with usage", "directives", "anthropic", "moderation"],
)
def test_a_known_hit_is_what_the_usual_way_answers(gateway, path, body, headers, in_two):
    api_key = gateway.key()
    with Line(gateway, in_two=in_two) as line:
        line.ask(api_key, body, path, **headers)
        usual = line.ask(api_key, body, path, **headers)
        known_before = gateway.known_hits
        known = learn(gateway, line, api_key, body, path, **headers)
    assert gateway.known_hits > known_before
    assert known[0] == usual[0] == 200
    assert known[2] == usual[2]
    assert list(known[1]) == list(usual[1]), "the same headers in the same order"
    differing = {name for name in usual[1] if usual[1][name] != known[1][name]}
    assert differing <= EACH_HIT_ITS_OWN | {"cache-status"}  # its ttl counts down
    assert "hit" in known[1]["cache-status"]
    events = gateway.events
    first, last = events[1], events[-1]
    for name in set(first.__struct_fields__) - EACH_EVENT_ITS_OWN:
        assert getattr(first, name) == getattr(last, name), name
    assert first.id != last.id


@pytest.mark.parametrize("stored_as", [False, True], ids=["stored plain", "stored as a stream"])
def test_an_answer_in_the_other_form_is_known_in_that_form(gateway, line, stored_as):
    api_key = gateway.key()
    line.ask(api_key, chat(stream=stored_as))
    usual = line.ask(api_key, chat(stream=not stored_as))
    known = learn(gateway, line, api_key, chat(stream=not stored_as))
    assert known[2] == usual[2]
    assert known[1]["content-type"] == usual[1]["content-type"]
    assert learn(gateway, line, api_key, chat(stream=stored_as))[1]["content-type"] != usual[1]["content-type"]


@pytest.mark.parametrize(
    "headers",
    [{"x_agentcache_mode": "refresh"}, {"x_agentcache_mode": "off"}, {"cache_control": "no-cache"}],
    ids=lambda headers: next(iter(headers.values())),
)
def test_requests_that_do_not_read_are_never_known(gateway, line, headers):
    api_key = gateway.key()
    for _ in range(3):
        line.ask(api_key, chat(), **headers)
    assert gateway.known_hits == 0


def test_another_team_with_the_same_body_gets_its_own(gateway, line):
    ours, theirs = gateway.key("acme"), gateway.key("globex")
    mine = learn(gateway, line, ours, chat())
    status, said, body = line.ask(theirs, chat())
    assert status == 200
    assert "fwd=miss" in said["cache-status"]
    assert body != mine[2]


def test_an_acknowledged_purge_is_final(gateway, line):
    api_key = gateway.key()
    learn(gateway, line, api_key, chat())
    assert line.ask(api_key, {"namespace": "default"}, "/api/cache/purge")[0] == 200
    assert "fwd=miss" in line.ask(api_key, chat())[1]["cache-status"]


def test_what_is_stored_anew_is_served(gateway, line):
    api_key = gateway.key()
    old = learn(gateway, line, api_key, chat())
    new = line.ask(api_key, chat(), x_agentcache_mode="refresh")
    assert new[2] != old[2]
    assert line.ask(api_key, chat())[2] == new[2]


def test_an_entry_whose_lifetime_is_over_is_not_served(gateway, line):
    api_key = gateway.key()
    learn(gateway, line, api_key, chat(), x_agentcache_ttl="60")
    gateway.clock.move(61)
    assert "hit" not in line.ask(api_key, chat(), x_agentcache_ttl="60")[1]["cache-status"]


def test_an_entry_older_than_the_caller_takes_is_not_served(gateway, line):
    api_key = gateway.key()
    learn(gateway, line, api_key, chat(), cache_control="max-age=30")
    gateway.clock.move(31)
    assert "fwd=stale" in line.ask(api_key, chat(), cache_control="max-age=30")[1]["cache-status"]


def test_age_and_freshness_go_on(gateway, line):
    api_key = gateway.key()
    assert learn(gateway, line, api_key, chat(), x_agentcache_ttl="100")[1]["x-agentcache-freshness"] == "fresh"
    gateway.clock.move(80)
    said = learn(gateway, line, api_key, chat(), x_agentcache_ttl="100")[1]
    assert said["x-agentcache-freshness"] == "stale"
    assert 80 <= int(said["age"]) <= 90


def test_a_revoked_key_ends_as_soon_as_the_usual_way_ends_it(gateway, line):
    api_key = gateway.new_key()
    learn(gateway, line, api_key, chat())
    gateway.revoke(api_key)
    gateway.clock.move(5.1)
    assert line.ask(api_key, chat())[0] == 401


def test_a_verdict_that_grows_old_is_checked_by_the_usual_way(gateway, line):
    api_key = gateway.key()
    learn(gateway, line, api_key, chat())
    before = gateway.known_hits
    gateway.clock.move(REFRESH_SECONDS + 0.1)
    assert "hit" in line.ask(api_key, chat())[1]["cache-status"]
    assert gateway.known_hits == before
    learn(gateway, line, api_key, chat())


def test_a_key_that_lost_its_right_to_read_is_refused(gateway, line):
    api_key = gateway.new_key()
    learn(gateway, line, api_key, chat())
    principals = gateway.control_plane.principals
    principals[api_key] = replace(principals[api_key], scopes=frozenset({Scope.STATS_READ}))
    gateway.clock.move(5.1)
    assert line.ask(api_key, chat())[0] == 403


def test_a_team_with_another_namespace_now_gets_that_one(gateway, line):
    api_key = gateway.new_key()
    learn(gateway, line, api_key, chat())
    principals = gateway.control_plane.principals
    principals[api_key] = replace(principals[api_key], namespace="elsewhere")
    gateway.clock.move(5.1)
    assert "fwd=miss" in line.ask(api_key, chat())[1]["cache-status"]


def test_keys_that_are_bound_to_networks_always_go_the_usual_way(gateway, line):
    api_key = gateway.new_key()
    principals = gateway.control_plane.principals
    principals[api_key] = replace(principals[api_key], networks=Networks.of(["127.0.0.0/8"]))
    for _ in range(4):
        assert line.ask(api_key, chat())[0] == 200
    assert gateway.known_hits == 0


def test_what_was_asked_least_lately_is_forgotten_first(gateway, line):
    api_key = gateway.key()
    known_hits = gateway.parts.known_hits
    known_hits._bytes_max = 40_000
    for number in range(30):
        learn(gateway, line, api_key, chat(f"Question {number}"))
    assert known_hits._bytes <= 40_000
    assert known_hits._bytes == sum(known.size for known in known_hits._known.values())
    before = gateway.known_hits
    assert "hit" in line.ask(api_key, chat("Question 0"))[1]["cache-status"]
    assert gateway.known_hits == before


def test_encrypted_entries_are_never_known(tmp_path, provider):
    with LightGateway(tmp_path, provider, AGENTCACHE_ENCRYPT_ENTRIES="1") as gateway, Line(gateway) as line:
        api_key = gateway.new_key(data_key=bytes(32))
        for _ in range(4):
            assert line.ask(api_key, chat())[0] == 200
        assert gateway.known_hits == 0
