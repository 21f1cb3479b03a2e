"""Traces: nothing when off; when on, a span per request, look-up, write and upstream call, and no word of anybody's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agentcache.gateway import tracing
from agentcache.gateway.tracing import NoTracing, OTLPTracing, TracingUnavailable, open_tracing, route_of
from agentcache.providers.registry import build_dialects
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.leaks import scan_text

QUESTION = {"model": "zqx-model", "messages": [{"role": "user", "content": "zqx-prompt"}]}
SECRETS = ("zqx-model", "zqx-prompt", "sk-zqx-credential", "zqx-tenant", "canary:")


class Collector:
    """An OTLP/HTTP collector on a real socket."""

    def __init__(self, status=200):
        self.status = status
        self.bodies = []
        self.paths = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                collector.paths.append((self.path, self.headers["Content-Type"]))
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def spans(self):
        found = []
        for body in self.bodies:
            request = ExportTraceServiceRequest.FromString(body)
            found += [s for resource in request.resource_spans for scope in resource.scope_spans for s in scope.spans]
        return found

    def named(self, name):
        return [span for span in self.spans if span.name == name]


def attributes(span):
    return {
        pair.key: pair.value.string_value or pair.value.int_value or pair.value.bool_value
        or [value.string_value for value in pair.value.array_value.values]
        for pair in span.attributes
    }  # fmt: skip


class TracedGateway(LightGateway):
    """The gateway with tracing around it, wired as the server wires it."""

    async def _open(self, stack):
        await super()._open(stack)
        traced = open_tracing(self.settings.otel_endpoint)
        stack.push_async_callback(traced.close)
        gateway = self._gateway
        parts = traced.parts(gateway._parts)
        gateway._parts = gateway._native._parts = gateway._health._parts = self.parts = parts
        self._gateway = traced.application(gateway, parts.dialects)


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def gateway(tmp_path, provider, collector):
    with TracedGateway(tmp_path, provider, AGENTCACHE_OTEL_ENDPOINT=collector.url) as running:
        yield running


def ask(gateway, body=QUESTION, path="/openai/v1/chat/completions", **headers):
    given = {"X-AgentCache-Key": gateway.key("zqx-tenant"), "Authorization": "Bearer sk-zqx-credential-canary-a"}
    return httpx.post(gateway.url + path, json=body, headers=given | headers, timeout=20)


def test_off_is_nothing_at_all(tmp_path, provider):
    off = open_tracing(None)
    assert isinstance(off, NoTracing)
    application, parts = object(), object()
    assert off.application(application, {}) is application
    assert off.parts(parts) is parts
    asyncio.run(off.close())
    # Nor are the packages needed.
    program = "import sys; sys.modules['opentelemetry'] = None; import agentcache.asgi, agentcache.gateway.tracing"
    assert subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


def test_a_miss_and_a_hit_are_told(gateway, collector):
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    miss, hit = ask(gateway, traceparent=parent), ask(gateway, QUESTION | {"stream": True})
    assert (miss.status_code, hit.status_code) == (200, 200)
    wait_until(lambda: len(collector.spans) >= 6, what="spans")
    first, second = collector.named("POST /openai/v1/chat/completions")
    assert first.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert attributes(first)["agentcache.cache_status"][0] == "fwd=miss"
    assert attributes(second)["agentcache.cache_status"][0] == "hit"
    assert attributes(first)["http.response.status_code"] == 200
    assert attributes(first)["agentcache.request_id"] == miss.headers["x-agentcache-request-id"]
    (upstream,) = collector.named("upstream")
    assert (upstream.trace_id, attributes(upstream)["http.response.status_code"]) == (first.trace_id, 200)
    assert attributes(upstream)["server.address"] == "127.0.0.1"
    assert upstream.end_time_unix_nano >= upstream.start_time_unix_nano
    looked_up = collector.named("cache.get")
    assert {span.parent_span_id for span in looked_up} == {first.span_id, second.span_id}
    assert attributes(collector.named("cache.put")[0])["agentcache.put"] == "stored"
    assert collector.paths[0] == ("/v1/traces", "application/x-protobuf")


def test_nothing_that_was_said_is_in_a_span(gateway, collector, provider):
    ask(gateway)
    ask(gateway)
    ask(gateway, path="/openai/v1/zqx-model/zqx-prompt")
    ask(gateway, path="/openai/v1/chat/completions?q=zqx-prompt", Authorization="")
    ask(gateway, {"provider": "openai", "prompt": "zqx-prompt", "value": "zqx-prompt"}, path="/api/cache/set")
    ask(gateway, {"provider": "zqx-model"}, path="/api/cache/get")
    provider.script(status=500)
    ask(gateway, QUESTION | {"seed": 1})
    provider.script(rst_after_bytes=10)
    ask(gateway, QUESTION | {"seed": 2})
    httpx.get(gateway.url + "/healthz")
    httpx.get(gateway.url + "/readyz")
    gateway.stop()
    exported = b"".join(collector.bodies)
    key = gateway.key("zqx-tenant")
    assert list(scan_text(exported, [*SECRETS, key, key[-12:]])) == []
    names = {span.name for span in collector.spans}
    assert {"POST /openai/*", "POST /api/cache/set", "POST /api/cache/get"} <= names
    assert not any("health" in name or "ready" in name for name in names)
    failed = [span for span in collector.spans if span.status.code == 2]
    assert failed
    # A start and an end for each: none was left open by the calls that failed.
    assert all(span.end_time_unix_nano for span in collector.spans)


def test_a_collector_that_is_gone_costs_nobody_an_answer(tmp_path, provider, capsys):
    with (
        Collector(status=503) as collector,
        TracedGateway(tmp_path, provider, AGENTCACHE_OTEL_ENDPOINT=collector.url) as gateway,
    ):
        assert [ask(gateway, QUESTION | {"seed": seed}).status_code for seed in range(5)] == [200] * 5
        wait_until(lambda: len(collector.bodies) > 0, what="an export")
        assert ask(gateway).status_code == 200
    with TracedGateway(tmp_path, provider, AGENTCACHE_OTEL_ENDPOINT=collector.url) as gateway:
        assert ask(gateway).status_code == 200


@pytest.mark.parametrize("endpoint", ["/v1/traces", "/"])
def test_the_path_of_an_endpoint_is_said_once(collector, endpoint):
    traced = OTLPTracing(collector.url + endpoint)
    traced._tracer.start_span("x").end()
    asyncio.run(traced.close())
    assert [path for path, _ in collector.paths] == ["/v1/traces"]


def test_a_missing_extra_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with pytest.raises(TracingUnavailable) as caught:
        open_tracing("http://127.0.0.1:4318")
    assert "pip install 'agentcache-server[otel]'" in caught.value.message
    assert caught.value.param == "AGENTCACHE_OTEL_ENDPOINT"
    # As an operator sees it: one line, and nothing is started or written.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.sdk'] = None\n")
    environ = {
        "PYTHONPATH": ":".join([str(tmp_path), *sys.path]),
        "AGENTCACHE_OTEL_ENDPOINT": "http://127.0.0.1:4318",
        "AGENTCACHE_DATA_DIR": str(tmp_path / "data"),
    }
    command = [sys.executable, "-m", "agentcache", "serve", "--port", "0"]
    finished = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode != 0
    said = " ".join((finished.stderr + finished.stdout).split())
    assert "AGENTCACHE_OTEL_ENDPOINT is set, but the packages that send traces are not installed" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/chat/completions", "/openai/v1/chat/completions"),
        ("POST", "/api/v1/embeddings", "/openai/v1/embeddings"),
        ("GET", "/openai/v1/models/secret", "/openai/*"),
        ("POST", "/replicate/v1/models/who/what/predictions", "/replicate/v1/models/{owner}/{name}/predictions"),
        ("DELETE", "/api/cache/entries/abc", "/api/cache/entries/{key}"),
        ("GET", "/api/openapi.json", "/api/openapi.json"),
        ("GET", "/api/cache/secret", "/*"),
    ],
)
def test_routes_have_few_names(method, path, route):
    assert route_of(build_dialects({}), method, path) == route
