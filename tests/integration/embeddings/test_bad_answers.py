"""What no client could use is passed on as it came, and never stored."""

from __future__ import annotations

import base64
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.support.running_gateway import RunningGateway


class OddProvider:
    """Answers each POST with what `answer(input)` returns."""

    def __init__(self):
        self.inputs = []
        self.answer = good
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                odd.inputs.append(body["input"])
                answer = odd.answer(body["input"])
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                for name, value in odd.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.headers = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def item(index, vector=(0.5, 0.25)):
    return {"object": "embedding", "index": index, "embedding": list(vector)}


def good(items):
    return {"object": "list", "data": [item(n, (float(len(text)), 1.0)) for n, text in enumerate(items)], "model": "m"}


def packed(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


BAD = {
    "too few": lambda items: {"data": [item(0)], "model": "m"},
    "too many": lambda items: {"data": [item(n) for n in range(len(items) + 1)], "model": "m"},
    "an index twice": lambda items: {"data": [item(0) for _ in items], "model": "m"},
    "an index too high": lambda items: {"data": [item(n + 1) for n in range(len(items))], "model": "m"},
    "a negative index": lambda items: {"data": [item(n - 1) for n in range(len(items))], "model": "m"},
    "no index": lambda items: {"data": [{"embedding": [0.5]} for _ in items], "model": "m"},
    "lengths that differ": lambda items: {"data": [item(n, [0.5] * (n + 1)) for n in range(len(items))], "model": "m"},
    "not a number": lambda items: {
        "data": [{"index": n, "embedding": packed(float("nan"))} for n in range(len(items))]
    },
    "infinity": lambda items: {"data": [{"index": n, "embedding": packed(float("inf"))} for n in range(len(items))]},
    "a null in a vector": lambda items: {"data": [item(n, [None]) for n in range(len(items))], "model": "m"},
    "an empty vector": lambda items: {"data": [item(n, []) for n in range(len(items))], "model": "m"},
    "an error in a 200": lambda items: {"error": {"message": "overloaded"}},
    "no JSON": lambda items: b"<html>",
    "no object": lambda items: b"[]",
}


@pytest.fixture(scope="module")
def odd():
    with OddProvider() as server:
        yield server


@pytest.fixture(scope="module")
def odd_gateway(tmp_path_factory, _provider, odd):
    folder = tmp_path_factory.mktemp("odd")
    with RunningGateway(folder, _provider, AGENTCACHE_UPSTREAM_ODD=odd.url) as gateway:
        yield gateway


@pytest.fixture
def ask(odd_gateway, odd, request):
    key = odd_gateway.make_key(request.node.name)
    odd.inputs.clear()
    odd.answer, odd.headers = good, {}

    def send(items):
        headers = {"x-agentcache-key": key, "authorization": "Bearer sk-test"}
        body = {"model": "m", "input": items}
        return httpx.post(f"{odd_gateway.url}/odd/v1/embeddings", json=body, headers=headers, timeout=20)

    return send


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_passed_on_and_not_stored(ask, odd, name):
    odd.answer = BAD[name]
    given = [f"{name} a", f"{name} b"]
    answer = ask(given)
    assert answer.status_code == 200
    expected = odd.answer(given)
    assert answer.content == (expected if isinstance(expected, bytes) else json.dumps(expected).encode())
    assert "stored" not in answer.headers["cache-status"]
    odd.answer = good
    assert "fwd=miss" in ask(given).headers["cache-status"]
    assert odd.inputs == [given, given]


def test_a_bad_answer_for_a_part_leaves_the_whole_to_the_provider(ask, odd):
    ask(["known"])
    answers = iter([b"nonsense", {"whole": True}])
    odd.answer = lambda items: next(answers)
    assert ask(["known", "new"]).json() == {"whole": True}
    assert odd.inputs == [["known"], ["new"], ["known", "new"]]


def test_an_answer_in_another_order_is_put_right(ask, odd):
    odd.answer = lambda items: {"data": [item(1, [2.0]), item(0, [1.0])], "model": "m"}
    assert [part["embedding"] for part in ask(["a", "b"]).json()["data"]] == [[1.0], [2.0]]
    assert [part["embedding"] for part in ask(["b", "a"]).json()["data"]] == [[2.0], [1.0]]
    assert len(odd.inputs) == 1


def test_members_that_only_this_provider_has_are_kept(ask, odd):
    odd.answer = lambda items: {"id": "e-1", "data": [{**item(0), "kind": "dense"}], "model": "m-2", "usage": None}
    first, second = ask("a"), ask("a")
    assert first.json() == second.json() == {"id": "e-1", "data": [{**item(0), "kind": "dense"}], "model": "m-2"}


def test_an_answer_with_a_cookie_is_not_stored(ask, odd):
    odd.headers = {"set-cookie": "session=1"}
    first = ask("a")
    assert "set-cookie" not in first.headers
    assert "detail=set_cookie" in first.headers["cache-status"]
    ask("a")
    assert len(odd.inputs) == 2


def test_doubles_survive(ask, odd):
    odd.answer = lambda items: {"data": [item(0, [0.1234567890123456, -1e-300])], "model": "m"}
    assert ask("a").json()["data"][0]["embedding"] == [0.1234567890123456, -1e-300]
    assert ask("a").json()["data"][0]["embedding"] == [0.1234567890123456, -1e-300]
    assert len(odd.inputs) == 1
