"""F15, F16, F17, F19: providers that never answer, stall, drip or send garbage, and callers that vanish."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.faults.scenes import (
    CHAT_PATH,
    MESSAGES_PATH,
    chat,
    client,
    entries,
    headers,
    message,
    status_of,
    upstream_in_use,
)
from tests.support.gateway import LightGateway
from tests.support.guarded import free_port, wait_until
from tests.support.reliability import record

CONNECT, FIRST_BYTE, IDLE, TOTAL = 0.5, 0.6, 0.4, 1.5
DEADLINES = {
    "AGENTCACHE_UPSTREAM_CONNECT_SECONDS": str(CONNECT),
    "AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS": str(FIRST_BYTE),
    "AGENTCACHE_UPSTREAM_IDLE_SECONDS": str(IDLE),
    "AGENTCACHE_UPSTREAM_TOTAL_SECONDS": str(TOTAL),
}
ROUTES = [("openai", CHAT_PATH, chat), ("anthropic", MESSAGES_PATH, message)]


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    with LightGateway(tmp_path_factory.mktemp("upstream"), _provider, **DEADLINES) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    yield _gateway
    wait_until(lambda: len(_gateway.parts.flights) == 0, what="every flight to land")
    wait_until(lambda: upstream_in_use(_gateway) == 0, what="no upstream connection in use")
    wait_until(lambda: provider.in_flight == 0, what="the provider to be left alone")


@pytest.fixture
def patient(tmp_path, provider):
    """A gateway with ordinary deadlines: an answer that is cut short by one of a busy machine's has no known cost."""
    with LightGateway(tmp_path, provider) as gateway:
        yield gateway


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port whose queue of connections is full: the kernel answers nothing at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()


def refused(dialect: str, response: httpx.Response, status: int) -> str:
    """Check that an error has the dialect's shape and return its message."""
    assert response.status_code == status, response.text
    body = response.json()
    if dialect == "anthropic":
        assert body["type"] == "error"
    assert response.headers["retry-after"]
    return str(body["error"]["message"])


@pytest.mark.parametrize(("dialect", "path", "body"), ROUTES)
@pytest.mark.parametrize("where", ["black hole", "refused"])
def test_f15_a_provider_that_cannot_be_connected_to(tmp_path, provider, dialect, path, body, where):
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(black_hole()) if where == "black hole" else free_port()
        upstream = {f"AGENTCACHE_UPSTREAM_{dialect.upper()}": f"http://127.0.0.1:{port}/v1"}
        gateway = stack.enter_context(LightGateway(tmp_path, provider, **DEADLINES, **upstream))
        started = time.monotonic()
        response = httpx.post(gateway.url + path, json=body("f15"), headers=headers(gateway), timeout=20)
        took = time.monotonic() - started
        assert "127.0.0.1" in refused(dialect, response, 504 if where == "black hole" else 502)
        assert took < CONNECT + 15  # it was the deadline for connecting that ended it, or nothing at all
        if where == "black hole":
            assert took >= CONNECT * 0.9
            record(f"F15 connect {dialect}", deadline_s=CONNECT, took_s=round(took, 3))


@pytest.mark.parametrize(("dialect", "path", "body"), ROUTES)
@pytest.mark.parametrize(
    ("name", "script", "deadline"),
    [
        ("first byte", {"wire": "never-answer"}, FIRST_BYTE),
        ("idle", {"stall_after": 0}, IDLE),
        ("total", {"chunk_delay": 0.3}, TOTAL),
    ],
)
def test_f15_deadlines_end_a_wait(gateway, provider, dialect, path, body, name, script, deadline):
    started = time.monotonic()
    # Plain, so that nothing is sent before the whole is here; the total needs chunks, which only a stream has.
    question = body(f"f15 {name}", stream=name == "total")
    response = httpx.post(gateway.url + path, json=question, headers=headers(gateway, script=script), timeout=20)
    took = time.monotonic() - started
    if name == "total":
        assert response.status_code == 200
        assert "upstream_timeout" in response.text or "time" in response.text.rsplit("data: ", 1)[1]
    else:
        assert "127.0.0.1" in refused(dialect, response, 504)
    assert deadline * 0.9 <= took < deadline + 15  # generous: the machine may be busy
    record(f"F15 {name} {dialect}", deadline_s=deadline, took_s=round(took, 3))


@pytest.mark.parametrize(("dialect", "path", "body"), ROUTES)
@pytest.mark.parametrize("script", [{"wire": "never-answer"}, {"status": 503}, {"fin_after_chunks": 0}])
def test_f15_a_stale_answer_stands_in_where_it_may(gateway, provider, dialect, path, body, script):
    question = body(f"f15 stale {script}")
    first = httpx.post(gateway.url + path, json=question, headers=headers(gateway, X_AgentCache_TTL="60"))
    assert first.status_code == 200
    gateway.clock.move(120)
    try:
        given = headers(gateway, script=script, cache_control="stale-if-error=3600")
        stale = httpx.post(gateway.url + path, json=question, headers=given, timeout=20)
        assert stale.content == first.content
        assert "detail=stale-if-error" in stale.headers["cache-status"]
        assert int(stale.headers["age"]) >= 120
        forbidden = headers(gateway, script=script, cache_control="stale-if-error=1")
        assert httpx.post(gateway.url + path, json=question, headers=forbidden, timeout=20).status_code >= 500
    finally:
        gateway.clock.move(-120)


@pytest.mark.parametrize(("dialect", "path", "body"), ROUTES)
@pytest.mark.parametrize(("name", "script"), [("stall", {"stall_after": 3}), ("drip", {"chunk_delay": 0.6})])
async def test_f16_a_stream_that_stalls_ends_in_an_error(gateway, provider, dialect, path, body, name, script):
    before = entries(gateway)
    async with client(gateway) as http:
        given = headers(gateway, script=script)
        answers = await asyncio.gather(
            *(http.post(path, json=body(f"f16 {name} {i}", stream=True), headers=given) for i in range(10))
        )
    for answer in answers:
        assert '"error"' in answer.text.rstrip().rsplit("data: ", 1)[1]
        assert "[DONE]" not in answer.text
        assert "message_stop" not in answer.text
    wait_until(lambda: provider.in_flight == 0, what="the provider to see its callers hang up")
    assert upstream_in_use(gateway) == 0
    assert entries(gateway) == before
    record(f"F16 {name} {dialect}", streams=10, held_sockets_after=0, stored=0)


GARBAGE = ["truncated-chunk", "cl-and-te", "huge-header", "continue-flood", "gzip-bomb", "gzip-error", "garbage"]


@pytest.mark.parametrize(("dialect", "path", "body"), ROUTES)
async def test_f17_garbage_is_a_502_in_bounded_memory_and_costs_the_connection(patient, provider, dialect, path, body):
    gateway, process = patient, psutil.Process()
    async with client(gateway) as http:

        async def ask(wire: str, number: int) -> httpx.Response:
            given = headers(gateway, script={"wire": wire})
            return await http.post(path, json=body(f"f17 {wire} {number}"), headers=given)

        for wire in GARBAGE:
            await ask(wire, 0)
        before = process.memory_info().rss
        for wire in GARBAGE:
            for number in range(1, 6):
                answer = await ask(wire, number)
                if wire != "continue-flood":  # 10,000 interim answers before a good one are legal, if few bytes
                    refused(dialect, answer, 502)
                # Nothing of a bad exchange is waiting on the next connection.
                after = await http.post(path, json=body(f"f17 after {wire} {number}"), headers=headers(gateway))
                assert after.status_code == 200
        growth = process.memory_info().rss - before
    assert growth <= 32 << 20
    record(f"F17 {dialect}", kinds=len(GARBAGE), exchanges=5 * len(GARBAGE), rss_growth_mib=round(growth / 2**20, 1))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_f17_an_endless_answer_takes_bounded_memory_and_ends(gateway, provider, stream):
    process = psutil.Process()
    got = 0
    async with client(gateway) as http:
        given = headers(gateway, script={"wire": "endless"})
        # Before its deadline comes on a busy machine, an answer may bring little; then others do.
        for prompt in ("warm", "measured", *map(str, range(20))):
            if got > 8 << 20 and prompt != "measured":
                break
            peak = before = process.memory_info().rss
            question = chat(f"f17 endless {stream} {prompt}", stream=stream)
            with contextlib.suppress(httpx.HTTPError):  # a plain answer can only be cut: its status is long gone
                async with http.stream("POST", CHAT_PATH, json=question, headers=given) as answer:
                    async for piece in answer.aiter_raw():
                        got += len(piece)
                        peak = max(peak, process.memory_info().rss)
    assert got > 8 << 20
    assert peak - before <= 32 << 20
    record(f"F17 endless {'stream' if stream else 'plain'}", passed_mib=got >> 20, rss_growth_mib=(peak - before) >> 20)


async def test_f17_an_endless_answer_that_nobody_reads_is_given_up(gateway, provider):
    async with client(gateway) as http:
        given = headers(gateway, script={"wire": "endless"})
        for stream in (False, True):
            async with http.stream(
                "POST", CHAT_PATH, json=chat(f"left {stream}", stream=stream), headers=given
            ) as answer:
                async for _ in answer.aiter_raw(1 << 20):
                    break
    wait_until(lambda: upstream_in_use(gateway) == 0, 60, "the provider to be left")
    wait_until(lambda: len(gateway.parts.flights) == 0, 60, "the flights to end")


def vanish(
    gateway: Any, path: str, question: dict[str, Any], given: dict[str, str], seconds: float, *, reset: bool
) -> None:
    """Send a request and break the connection after a while, whatever came."""
    content = json.dumps(question).encode()
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in given.items()] + [f"content-length: {len(content)}", "", ""]
    with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall("\r\n".join(lines).encode() + content)
        time.sleep(seconds)


def test_f19_callers_that_vanish_leave_nothing_behind_and_are_counted(patient, provider):
    gateway = patient
    chooser = random.Random(19)
    known = len(gateway.events)
    threads = []
    for number in range(60):
        stream = number % 2 == 0
        given = headers(gateway, script={"delay": 0.05, "chunk_delay": 0.005, "text": "a b c d e f g h"})
        question = chat(f"f19 {number}", stream=stream)
        if number % 4 < 2:
            seconds = chooser.choice([0.0, 0.02, 0.06, 0.08, 0.12])
            arguments: Any = (gateway, CHAT_PATH, question, given, seconds)
            threads.append(threading.Thread(target=vanish, args=arguments, kwargs={"reset": number % 8 < 4}))
        else:

            def stay(question: Any = question, given: Any = given) -> None:
                assert httpx.post(gateway.url + CHAT_PATH, json=question, headers=given, timeout=20).status_code == 200

            threads.append(threading.Thread(target=stay))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(gateway.parts.flights) == 0, what="every flight to land")
    events = gateway.events[known:]
    gone = [event for event in events if event.status == 499]
    assert gone
    # A reset can overtake its request, which then never was one; whatever reached the provider was finished and kept,
    # and is paid for in exactly one event, whoever had left.
    assert sum(event.cost_usd_nanos > 0 for event in events) == provider.call_count
    assert len({event.id for event in events}) == len(events)
    assert len(events) - len(gone) >= 30
    calls = provider.call_count
    for number in range(60):
        answer = httpx.post(gateway.url + CHAT_PATH, json=chat(f"f19 {number}"), headers=headers(gateway))
        assert status_of(answer) in ("hit", "miss")
    assert provider.call_count - calls == 60 - calls
    record("F19", callers=60, vanished=30, seen_leaving=len(gone), leaked_upstreams=upstream_in_use(gateway))


@pytest.mark.parametrize("mode", ["off", "read-only"])
@pytest.mark.parametrize("script", [{"wire": "never-answer"}, {"stall_after": 0}, {"stall_after": 2}])
def test_f19_a_call_that_is_kept_for_nobody_ends_with_its_caller(tmp_path, mode, script):
    with FakeProvider() as provider, LightGateway(tmp_path, provider) as gateway:
        given = headers(gateway, script=script, X_AgentCache_Mode=mode)
        vanish(gateway, CHAT_PATH, chat("f19 kept for nobody", stream=True), given, 0.3, reset=False)
        # The deadlines are minutes here.
        wait_until(lambda: provider.in_flight == 0, 60, "the provider to be left")
        wait_until(lambda: upstream_in_use(gateway) == 0, 60, "the connection to be given back")
        wait_until(lambda: [event.status for event in gateway.events] == [499], 60, "the event")


def test_f19_an_upload_that_breaks_off_ends_the_call(tmp_path):
    with FakeProvider() as provider, LightGateway(tmp_path, provider) as gateway:
        lines = ["POST /openai/v1/files HTTP/1.1", "host: x", "content-type: multipart/form-data; boundary=x"]
        lines += [f"{name}: {value}" for name, value in headers(gateway).items()]
        with socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))) as connection:
            connection.sendall("\r\n".join([*lines, "content-length: 1000000", "", ""]).encode() + b"x" * 100_000)
            wait_until(lambda: upstream_in_use(gateway) == 1, 60, "the upload to begin")
        wait_until(lambda: upstream_in_use(gateway) == 0, 60, "the connection to be given back")
