"""Scripts make the fake provider misbehave exactly as asked, seen from a bare socket."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import zlib

import httpx2
import pytest

from agentcache.demo.fake_provider import FakeProvider, Script
from agentcache.demo.fake_provider.script import parse_script
from tests.support.guarded import GuardedProcess

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


class Exchange:
    """One request over a bare socket: the raw answer, and whether it ended with `fin`, `rst` or not at all (`open`).

    `timeout` is the longest silence, in seconds, once `after` events have come; before, a busy machine may take its time.
    """

    def __init__(self, provider, body, *, path="/v1/chat/completions", timeout=60.0, after=0, limit=1 << 30, **script):
        content = json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: x", "authorization: Bearer k", f"content-length: {len(content)}"]
        lines += ["anthropic-version: 2023-06-01"] if path.endswith("messages") else []
        lines += [f"x-fake-script: {json.dumps(script)}"] if script else []
        self.raw, self.ending = b"", "open"
        with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            with contextlib.suppress(TimeoutError):
                while len(self.raw) < limit and not self.is_whole:
                    connection.settimeout(timeout if self.events >= after else 60)
                    if not self._read(connection):
                        break

    def _read(self, connection):
        try:
            piece = connection.recv(1 << 20)
        except ConnectionResetError:
            self.ending = "rst"
            return False
        if not piece:
            self.ending = "fin"
        self.raw += piece
        return bool(piece)

    @property
    def head(self):
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self):
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def is_whole(self):
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.head)
        return len(self.body) >= int(length[1]) if length and self.body else self.raw.endswith(b"0\r\n\r\n")

    @property
    def events(self):
        return self.body.count(b"data: ")


class TestCuts:
    @pytest.mark.parametrize("end", ["fin", "rst"])
    def test_after_chunks(self, provider, end):
        seen = Exchange(provider, {**CHAT, "stream": True}, **{f"{end}_after_chunks": 3})
        assert (seen.ending, seen.events, b"[DONE]" in seen.body) == (end, 3, False)

    @pytest.mark.parametrize("end", ["fin", "rst"])
    def test_after_the_headers(self, provider, end):
        seen = Exchange(provider, CHAT, **{f"{end}_after_chunks": 0})
        assert (seen.ending, seen.body) == (end, b"")
        assert b"200 OK" in seen.head

    @pytest.mark.parametrize("end", ["fin", "rst"])
    def test_after_bytes(self, provider, end):
        plain = Exchange(provider, CHAT, **{f"{end}_after_bytes": 40})
        assert (plain.ending, len(plain.body)) == (end, 40)
        streamed = Exchange(provider, {**CHAT, "stream": True}, **{f"{end}_after_bytes": 300})
        assert streamed.ending == end
        assert b"[DONE]" not in streamed.body

    def test_stall_lasts_until_the_client_leaves(self, provider):
        seen = Exchange(provider, {**CHAT, "stream": True}, stall_after=2, timeout=0.2, after=2)
        assert (seen.ending, seen.events) == ("open", 2)
        _wait_until(lambda: provider.in_flight == 0)

    def test_never_answer(self, provider):
        assert Exchange(provider, CHAT, wire="never-answer", timeout=0.1).raw == b""
        _wait_until(lambda: provider.in_flight == 0)


class TestBrokenHTTP:
    def test_garbage(self, provider):
        seen = Exchange(provider, CHAT, wire="garbage")
        assert not seen.raw.startswith(b"HTTP/")

    def test_chunks(self, provider):
        bad = Exchange(provider, {**CHAT, "stream": True}, wire="bad-chunk-length")
        assert b"\r\nzz\r\n" in bad.body
        short = Exchange(provider, CHAT, wire="truncated-chunk")
        announced = int(short.body.split(b"\r\n", 1)[0], 16)
        assert (short.ending, announced - len(short.body.split(b"\r\n", 1)[1])) == ("fin", 100)

    @pytest.mark.parametrize(("wire", "factor"), [("content-length-long", "more"), ("content-length-short", "less")])
    def test_lengths(self, provider, wire, factor):
        seen = Exchange(provider, CHAT, wire=wire)
        announced = int(seen.head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert (announced > len(seen.body)) == (factor == "more")
        assert announced != len(seen.body)

    def test_two_framings(self, provider):
        head = Exchange(provider, CHAT, wire="cl-and-te").head.lower()
        assert b"content-length" in head
        assert b"transfer-encoding: chunked" in head

    def test_huge_header_and_interim_answers(self, provider):
        assert len(Exchange(provider, {**CHAT, "stream": True}, wire="huge-header").head) > 1_000_000
        flood = Exchange(provider, {**CHAT, "stream": True}, wire="continue-flood")
        assert flood.raw.count(b"100 Continue") == 10_000
        assert flood.raw.endswith(b"0\r\n\r\n")

    def test_endless(self, provider):
        seen = Exchange(provider, CHAT, wire="endless", limit=5_000_000)
        assert len(seen.raw) >= 5_000_000
        _wait_until(lambda: provider.in_flight == 0)

    def test_encodings(self, provider):
        def post(wire):
            headers = {"x-fake-script": json.dumps({"wire": wire}), "authorization": "Bearer k"}
            with httpx2.stream("POST", f"{provider.url}/v1/chat/completions", json=CHAT, headers=headers) as reply:
                assert reply.headers["content-encoding"] == "gzip"
                return b"".join(reply.iter_raw())

        assert json.loads(gzip.decompress(post("gzip")))["choices"]
        with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
            gzip.decompress(post("gzip-error"))
        bomb = post("gzip-bomb")
        assert len(bomb) < 100_000
        assert len(gzip.decompress(bomb)) == 64 * 1024 * 1024

    @pytest.mark.parametrize("stream", [False, True])
    def test_invalid_utf8_is_the_only_fault(self, provider, stream):
        seen = Exchange(provider, {**CHAT, "stream": stream}, wire="invalid-utf8")
        with pytest.raises(UnicodeDecodeError):
            seen.body.decode()
        text = seen.body.decode(errors="replace")
        if not stream:
            assert "\ufffd" in json.loads(text)["choices"][0]["message"]["content"]

    def test_not_json(self, provider):
        seen = Exchange(provider, CHAT, wire="not-json")
        assert b"text/html" in seen.head


class TestBadEndings:
    @pytest.mark.parametrize(("body", "path"), [(CHAT, "/v1/chat/completions"), (MESSAGE, "/v1/messages")])
    def test_streams(self, provider, body, path):
        body = {**body, "stream": True}
        terminal = b"[DONE]" if body["model"] == "m" else b"message_stop"
        assert terminal in Exchange(provider, body, path=path).body
        unfinished = Exchange(provider, body, path=path, no_terminal=True)
        assert terminal not in unfinished.body
        assert unfinished.raw.endswith(b"0\r\n\r\n")
        failed = Exchange(provider, body, path=path, error_after=4)
        assert (failed.events, terminal in failed.body, b'"error"' in failed.body) == (5, False, True)
        reasonless = Exchange(provider, body, path=path, no_finish_reason=True)
        assert b'"stop"' not in reasonless.body
        assert b'"end_turn"' not in reasonless.body

    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    @pytest.mark.parametrize("stream", [False, True])
    def test_finish_reasons(self, provider, reason, stream):
        seen = Exchange(provider, {**CHAT, "stream": stream}, finish_reason=reason)
        assert f'"finish_reason":"{reason}"'.encode() in seen.body

    @pytest.mark.parametrize("stream", [False, True])
    def test_broken_tool_arguments(self, provider, stream):
        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        body = {**CHAT, "tools": tools, "stream": stream}
        headers = {"authorization": "Bearer k", "x-fake-script": '{"bad_tool_json": true}'}
        reply = httpx2.post(f"{provider.url}/v1/chat/completions", json=body, headers=headers)
        if stream:
            events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
            calls = [call for e in events for call in e["choices"][0]["delta"].get("tool_calls", [])]
            arguments = "".join(call["function"]["arguments"] for call in calls)
        else:
            arguments = reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        with pytest.raises(json.JSONDecodeError):
            json.loads(arguments)

    @pytest.mark.parametrize(
        ("path", "script", "member"),
        [
            ("/openai/v1/chat/completions", {"status": 429, "retry_after": "3600"}, "code"),
            (
                "/openai/v1/chat/completions",
                {"status": 429, "code": "insufficient_quota", "retry_after": "soon"},
                "code",
            ),
            ("/openai/v1/chat/completions", {"status": 500}, "type"),
            ("/anthropic/v1/messages", {"status": 529}, "type"),
            ("/anthropic/v1/messages", {"status": 503}, "type"),
            ("/together/v1/chat/completions", {"status": 502}, "type"),
        ],
    )
    def test_errors(self, provider, path, script, member):
        headers = {"authorization": "Bearer k", "x-fake-script": json.dumps(script)}
        reply = httpx2.post(provider.url + path, json=CHAT, headers=headers)
        assert reply.status_code == script["status"]
        assert reply.headers.get("retry-after", "") == script.get("retry_after", "")
        assert reply.json()["error"][member] == script.get("code", reply.json()["error"][member])

    def test_replicate_errors(self, provider):
        headers = {"authorization": "Bearer k", "x-fake-script": '{"status": 429}'}
        reply = httpx2.post(f"{provider.url}/replicate/v1/predictions", json={}, headers=headers)
        assert "throttled" in reply.json()["detail"]


class TestSteering:
    def post(self, provider, **headers):
        given = {"authorization": "Bearer sk-canary-acme", **headers}
        return httpx2.post(f"{provider.url}/v1/chat/completions", json=CHAT, headers=given, timeout=10)

    def test_queue_is_used_in_order_and_only_where_it_matches(self, provider):
        provider.script(status=500, times=2)
        provider.script(Script(status=503), times=None, when=lambda call: call.tenant == "acme")
        provider.script(status=404, path="/v1/messages")
        assert [self.post(provider).status_code for _ in range(4)] == [500, 500, 503, 503]
        assert self.post(provider, authorization="Bearer sk-else").status_code == 200
        assert self.post(provider, **{"x-fake-script": '{"status": 418}'}).status_code == 418
        provider.clear_scripts()
        assert self.post(provider).status_code == 200

    def test_mistakes_in_scripts_are_told(self, provider):
        reply = self.post(provider, **{"x-fake-script": '{"statsu": 500}'})
        assert (reply.status_code, "statsu" in reply.json()["error"]["message"]) == (400, True)
        with pytest.raises(ValueError, match="wire"):
            parse_script('{"wire": "no-such-thing"}')
        with pytest.raises(Exception, match="delay"):
            provider.script(delay="long")

    def test_hold_and_release(self, provider):
        provider.script(hold=True, times=5)
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.post(provider))) for _ in range(5)]
        for thread in threads:
            thread.start()
        provider.wait_for_calls(5)
        assert replies == []
        provider.release()
        for thread in threads:
            thread.join()
        assert [reply.status_code for reply in replies] == [200] * 5
        with pytest.raises(TimeoutError):
            provider.wait_for_calls(6, timeout=0.01)

    def test_hold_in_the_middle_of_a_stream(self, provider):
        provider.script(hold_after=2)
        with httpx2.stream("POST", f"{provider.url}/v1/chat/completions", json={**CHAT, "stream": True},
                           headers={"authorization": "Bearer k"}) as reply:  # fmt: skip
            lines = (line for line in reply.iter_lines() if line)
            assert [next(lines)[:5] for _ in range(2)] == ["data:", "data:"]
            assert provider.in_flight == 1
            provider.release()
            assert list(lines)[-1] == "data: [DONE]"

    def test_delays_are_waited_for(self, provider):
        assert Exchange(provider, CHAT, delay=5.0, timeout=0.1).raw == b""
        slow = Exchange(provider, {**CHAT, "stream": True}, chunk_delay=0.05, limit=800)
        assert 0 < slow.events < 10

    def test_echo_and_own_text_and_headers(self, provider):
        echoed = self.post(provider, **{"x-fake-script": '{"echo_headers": true}', "cookie": "a=b"})
        assert json.loads(echoed.json()["choices"][0]["message"]["content"])["cookie"] == "a=b"
        script = {"text": "Exactly this.", "set_cookie": "s=1", "headers": [["x-a", "1"], ["x-a", "2"]]}
        told = self.post(provider, **{"x-fake-script": json.dumps(script)})
        assert told.json()["choices"][0]["message"]["content"] == "Exactly this."
        assert (told.headers["set-cookie"], told.headers.get_list("x-a")) == ("s=1", ["1", "2"])

    def test_calls_are_recorded(self, provider):
        self.post(provider)
        self.post(provider, authorization="Bearer sk-canary-globex")
        httpx2.get(f"{provider.url}/replicate/v1/account", headers={"authorization": "Token r8_x"})
        assert [call.tenant for call in provider.calls] == ["acme", "globex", ""]
        assert provider.calls[0].json == CHAT
        assert provider.calls[0].header_pairs[0][0] == "host"
        assert provider.calls[2].credential == "r8_x"
        assert provider.calls_by_path == {"/v1/chat/completions": 2, "/v1/account": 1}
        assert provider.calls_by_tenant == {"acme": 1, "globex": 1}
        assert (provider.call_count, provider.calls_by_credential["sk-canary-acme"]) == (3, 1)

    def test_unknown_paths_and_broken_bodies(self, provider):
        headers = {"authorization": "Bearer k", "content-type": "application/json"}
        assert httpx2.get(f"{provider.url}/v1/nothing", headers=headers).status_code == 404
        assert httpx2.post(f"{provider.url}/v1/chat/completions", content=b"{", headers=headers).status_code == 400
        assert httpx2.post(f"{provider.url}/v1/chat/completions", content=b"[]", headers=headers).status_code == 400

    def test_pipelined_requests_are_answered_in_order(self, provider):
        provider.script(delay=0.05)
        content = json.dumps(CHAT).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {len(content)}"
        with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as connection:
            connection.sendall((head.encode() + b"\r\n\r\n" + content) * 3)
            raw = b""
            while raw.count(b'"total_tokens"') < 3:
                raw += connection.recv(65536)
        assert raw.index(b"#1") < raw.index(b"#2") < raw.index(b"#3")

    def test_expect_continue_and_bad_http(self, provider):
        with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as connection:
            connection.sendall(
                b"POST /v1/moderations HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
        with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")


class TestLife:
    def test_a_taken_port_is_an_error(self, provider):
        with pytest.raises(OSError, match="use"):
            FakeProvider(port=provider.port).start()

    def test_stop_closes_connections_and_frees_the_port(self):
        provider = FakeProvider(latency=0.01, chunk_delay=0.001).start()
        with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as connection:
            provider.stop()
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(10) == b""
        provider.stop()
        with FakeProvider(port=provider.port) as again:
            assert again.port == provider.port

    def test_latency_is_only_a_default(self):
        with FakeProvider(latency=30.0) as provider:
            seen = Exchange(provider, {**CHAT, "stream": True}, delay=0.001)
            assert b"[DONE]" in seen.body


def _wait_until(condition):
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("did not come true within 5 s")


class TestProgram:
    def test_runs_on_its_own_and_ends_on_a_signal(self, tmp_path):
        log = tmp_path / "log"
        command = [sys.executable, "-m", "agentcache.demo.fake_provider", "--port", "0", "--latency-ms", "1"]
        process = GuardedProcess(command, log=log, ending="TERM")
        try:
            _wait_until(lambda: "\n" in log.read_text())
            url = log.read_text().split()[-1]
            assert httpx2.get(f"{url}/v1/models", headers={"authorization": "Bearer k"}).status_code == 200
            process.send(signal.SIGTERM)
            process.wait_gone()
            assert "Traceback" not in log.read_text()
        finally:
            process.stop()

    def test_a_taken_port_is_told_in_one_line(self, provider):
        command = [sys.executable, "-m", "agentcache.demo.fake_provider", "--port", str(provider.port)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert str(provider.port) in ran.stderr
