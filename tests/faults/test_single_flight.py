"""C9 to C12: concurrent identical misses are one upstream call, whoever leaves, fails or dawdles."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import statistics
import time
from collections import Counter
from typing import Any

import httpx
import psutil
import pytest

from agentcache.engine.flights import Flight, Flights
from agentcache.gateway.ports import Outcome
from tests.faults.scenes import CHAT_PATH, chat, client, entries, headers, status_of, upstream_in_use
from tests.support.chaos import ChaosProxy
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.reliability import record
from tests.support.virtual_loop import VirtualLoop, run_virtual

CALLERS = 200


@pytest.fixture(scope="module")
def _gateway(tmp_path_factory, _provider):
    folder = tmp_path_factory.mktemp("single-flight")
    with LightGateway(folder, _provider, AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS="1") as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway, provider):
    yield _gateway
    wait_until(lambda: len(_gateway.parts.flights) == 0, what="every flight to land")
    assert upstream_in_use(_gateway) == 0


def text_of(response: httpx.Response) -> str:
    """Return what the answer says, streamed or not."""
    if "event-stream" not in response.headers["content-type"]:
        return response.json()["choices"][0]["message"]["content"]
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    assert response.text.endswith("data: [DONE]\n\n")
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def burst(
    gateway: Any, body: dict[str, Any], number: int = CALLERS, *, mixed: bool = True
) -> list[httpx.Response]:
    """Send the same question so often at once; every other caller wants a stream."""
    async with client(gateway, connections=number) as http:
        given = headers(gateway)
        calls = (
            http.post(CHAT_PATH, json={**body, "stream": mixed and i % 2 == 1}, headers=given) for i in range(number)
        )
        return await asyncio.gather(*calls)


async def release_until_done(provider: Any, calls: asyncio.Future[Any], wait_seconds: float) -> None:
    await asyncio.to_thread(provider.wait_for_calls, 1)
    await asyncio.sleep(wait_seconds)
    while not calls.done():
        provider.release()
        await asyncio.sleep(0.05)


async def test_c9_200_identical_misses_are_one_call(gateway, provider):
    provider.script(hold=True, times=None)
    calls = asyncio.ensure_future(burst(gateway, chat("c9 one process")))
    await release_until_done(provider, calls, 0.7)
    answers = await calls
    assert {answer.status_code for answer in answers} == {200}
    assert len({text_of(answer) for answer in answers}) == 1
    assert provider.call_count == 1
    found = Counter(map(status_of, answers))
    assert found == {"miss": 1, "collapsed": CALLERS - 1}
    events = [event for event in gateway.events[-CALLERS:] if event.model == "gpt-4o-mini"]
    assert Counter(event.outcome for event in events) == {Outcome.MISS.value: 1, Outcome.COALESCED.value: CALLERS - 1}
    assert sum(event.cost_usd_nanos > 0 for event in events) == 1
    record("C9 one process", callers=CALLERS, upstream_calls=provider.call_count, amplification=1.0)


async def test_c9_two_processes_make_one_call_together(two_workers, provider, request):
    kind = request.node.callspec.params["two_workers"]
    provider.script(hold=True, times=None)
    calls = asyncio.ensure_future(burst(two_workers, chat(f"c9 {kind}")))
    await release_until_done(provider, calls, 1.5)
    answers = await calls
    assert {answer.status_code for answer in answers} == {200}
    assert len({text_of(answer) for answer in answers}) == 1
    assert provider.call_count == 1
    found = Counter(map(status_of, answers))
    # Whoever follows another worker is collapsed, too; who comes late finds the entry.
    assert found["miss"] == 1
    assert found["collapsed"] > 0
    wait_until(lambda: len([e for e in two_workers.events if e.cost_usd_nanos]) >= 1, what="the usage events")
    record(f"C9 two processes {kind}", callers=CALLERS, upstream_calls=provider.call_count, amplification=1.0)


async def test_c10_a_leader_that_hangs_up_at_any_moment_fails_nobody(gateway, provider):
    chooser = random.Random(10)
    provider.script(chunk_delay=0.004, text="one two three four five six seven eight", times=None)

    async def one(number: int) -> list[str]:
        body = chat(f"c10 {number}", stream=number % 2 == 0)
        given = headers(gateway)
        async with client(gateway) as leading, client(gateway) as following:
            leader = asyncio.create_task(leading.post(CHAT_PATH, json=body, headers=given))
            await asyncio.sleep(chooser.random() * 0.02)
            followers = [
                asyncio.create_task(following.post(CHAT_PATH, json={**body, "stream": bool(i)}, headers=given))
                for i in range(2)
            ]
            await asyncio.sleep(chooser.random() * 0.06)
            leader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leader
            return [text_of(answer) for answer in await asyncio.gather(*followers)]

    for start in range(0, 50, 10):
        for texts in await asyncio.gather(*(one(number) for number in range(start, start + 10))):
            assert len(set(texts)) == 1
            assert texts[0].endswith("eight")
    assert provider.call_count == 50
    wait_until(lambda: len(gateway.parts.flights) == 0, what="every flight to land")
    for number in range(50):
        (again,) = await burst(gateway, chat(f"c10 {number}"), 1, mixed=False)
        assert status_of(again) == "hit"
    gone = [event for event in gateway.events if event.status == 499]
    assert gone, "no leader was caught in the act"
    # Their upstream calls were made and paid for all the same.
    assert sum(event.cost_usd_nanos > 0 for event in gone) > 0
    record("C10 sockets", runs=50, hung_up_midway=len(gone), follower_errors=0, stored=50)


async def _virtual_burst(loop: VirtualLoop) -> tuple[int, int]:
    chance = loop.random
    flights: Flights[str, bytes] = Flights(1 << 20)
    chunks = [b"%d," % i for i in range(chance.randrange(1, 12))]
    calls = 0

    async def lead(flight: Flight[str, bytes]) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(chance.random())
        flight.open("head")
        for chunk in chunks:
            await asyncio.sleep(chance.random() * 0.2)
            await flight.add(chunk, len(chunk))

    async def read() -> bytes:
        flight, _ = flights.join(b"k" * 32, lead)
        with flight.seat() as seat:
            await seat.head()
            return b"".join([chunk async for chunk in seat.chunks()])

    leader = asyncio.create_task(read())
    await asyncio.sleep(0)
    followers = []
    for _ in range(chance.randrange(1, 6)):
        await asyncio.sleep(chance.random() * 0.3)
        followers.append(asyncio.create_task(read()))
    await asyncio.sleep(chance.random() * 2)
    leader.cancel()
    assert await asyncio.gather(*followers) == [b"".join(chunks)] * len(followers)
    with contextlib.suppress(asyncio.CancelledError):
        await leader
    await asyncio.sleep(5)
    assert len(flights) == 0
    return calls, len(followers)


def test_c10_in_1000_orders_of_events():
    followers = 0
    for seed in range(1000):
        run = run_virtual(_virtual_burst, seed=seed)
        assert run.leaked == (), seed
        assert run.unhandled == (), seed
        followers += run.result[1]
    record("C10 virtual", runs=1000, followers=followers, follower_errors=0, leaked_tasks=0)


FAILURES = [
    ("500", {"status": 500}, {500}),
    ("timeout", {"wire": "never-answer"}, {504}),
    ("reset", {"rst_after_bytes": 10}, {502}),
    ("closed", {"fin_after_chunks": 0}, {502}),
]


@pytest.mark.parametrize(("name", "script", "statuses"), FAILURES, ids=[failure[0] for failure in FAILURES])
async def test_c11_a_failed_leader_is_replaced_once(gateway, provider, name, script, statuses):
    number = 40
    provider.script(**{"delay": 0.3, **script}, times=1)
    provider.script(delay=0.1, times=None)
    started = time.monotonic()
    answers = await burst(gateway, chat(f"c11 once {name}"), number, mixed=False)
    waits = [answer.elapsed.total_seconds() for answer in answers]
    assert time.monotonic() - started < 60
    assert provider.call_count == 2
    # The caller whose own call it was is told the truth, all others are answered.
    assert Counter(answer.status_code for answer in answers) == {statuses.copy().pop(): 1, 200: number - 1}
    again = await burst(gateway, chat(f"c11 once {name}"), 1, mixed=False)
    assert status_of(again[0]) == "hit"
    p99 = round(1000 * statistics.quantiles(waits, n=100)[98])
    record(f"C11 {name}", callers=number, calls_per_burst=2, failed=1, p99_wait_ms=p99)


@pytest.mark.parametrize(("name", "script", "statuses"), FAILURES, ids=[failure[0] for failure in FAILURES])
async def test_c11_a_provider_that_is_down_is_asked_twice_per_burst_and_nothing_is_kept(
    gateway, provider, name, script, statuses
):
    provider.script(**{"delay": 0.3, **script}, times=None)
    answers = await burst(gateway, chat(f"c11 down {name}"), 40, mixed=False)
    assert {answer.status_code for answer in answers} == statuses
    assert provider.call_count == 2
    provider.clear_scripts()
    (later,) = await burst(gateway, chat(f"c11 down {name}"), 1, mixed=False)
    assert (later.status_code, status_of(later)) == (200, "miss")


async def test_c11_across_processes_everyone_is_answered(two_workers, provider, request):
    kind = request.node.callspec.params["two_workers"]
    provider.script(delay=0.8, status=500, times=1)
    provider.script(delay=0.8, times=None)
    answers = await burst(two_workers, chat(f"c11 two {kind}"), 60, mixed=False)
    assert provider.call_count == 2
    assert Counter(answer.status_code for answer in answers) == {500: 1, 200: 59}
    record(f"C11 two processes {kind}", callers=60, calls_per_burst=2, failed=1)


async def test_c11_across_processes_a_provider_that_is_down_is_asked_twice_per_burst(two_workers, provider, request):
    kind = request.node.callspec.params["two_workers"]
    bursts = 12
    for number in range(bursts):
        before = provider.call_count
        # The replacement fails at once, before the other process can have claimed anything.
        provider.script(delay=0.8, status=500, times=1)
        provider.script(status=500, times=None)
        answers = await burst(two_workers, chat(f"c11 twice {kind} {number}"), 24, mixed=False)
        assert {answer.status_code for answer in answers} == {500}
        assert provider.call_count - before == 2
        provider.clear_scripts()
    (later,) = await burst(two_workers, chat(f"c11 twice {kind} 0"), 1, mixed=False)
    assert (later.status_code, status_of(later)) == (200, "miss")
    record(f"C11 down, two processes {kind}", bursts=bursts, calls_per_burst=2)


async def test_c13_across_processes_one_refresh_for_an_expiry(two_workers, provider, request):
    kind = request.node.callspec.params["two_workers"]
    given = headers(two_workers) | {"X-AgentCache-Key": two_workers.create_key("--scope", "admin")}
    policy = {
        "name": "Two", "match": {"prompt": "c13 two"}, "lifetime_seconds": 1, "stale_while_revalidate_seconds": 3600,
    }  # fmt: skip
    expiries, callers, shared = 0, 24, 0
    async with client(two_workers) as http:
        await http.post("/api/policies", json=policy, headers=given)

        async def ask(name: str) -> httpx.Response:
            # A connection each, so that both processes have some of them.
            async with client(two_workers, connections=1) as own:
                return await own.post(CHAT_PATH, json=chat(f"c13 two {kind} {name}"), headers=given)

        async with asyncio.timeout(60):
            # It holds in a process once that has asked for the key's rights anew.
            answers = [await ask("warm up 0")]
            while not all("x-agentcache-policy" in answer.headers for answer in answers):
                answers = [await ask(f"warm up {time.monotonic()}") for _ in range(12)]
        first = await ask("news")
        # On a busy machine one process may take all connections; then another expiry shows what two do.
        while shared < 3:
            expiries += 1
            await asyncio.sleep(1.1)
            calls = provider.call_count
            provider.script(hold=True, times=1)
            answers = await asyncio.gather(*(ask("news") for _ in range(callers // 2)))
            await asyncio.to_thread(provider.wait_for_calls, calls + 1)
            answers += await asyncio.gather(*(ask("news") for _ in range(callers // 2)))
            assert {answer.content for answer in answers} == {first.content}
            # Each process that is asked begins one, and one of the two finds out that it is under way.
            words = Counter(answer.headers["x-agentcache-refresh"] for answer in answers)
            assert words["started"] >= 1 and words["none"] == 0
            shared += words["started"] >= 2
            assert provider.call_count == calls + 1
            provider.release()
            async with asyncio.timeout(60):
                while (later := await ask("news")).content == first.content:
                    await asyncio.sleep(0.05)
            first = later
    record(f"C13 two processes {kind}", expiries=expiries, callers=expiries * callers, refreshes_per_expiry=1)


def server_processes(gateway: Any) -> list[psutil.Process]:
    children = psutil.Process(gateway.server.process.pid).children(recursive=True)
    return [child for child in children if "agentcache.supervisor.server" in child.cmdline()]


def resident(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


async def test_c12_a_slow_follower_holds_up_nobody(_two_on_sqlite, provider):
    gateway = _two_on_sqlite
    text = "abcdefghi " * 3_000
    given = headers(gateway)

    async def answers(prompt: str, number: int) -> list[httpx.Response]:
        async with client(gateway, timeout=60) as http:
            body = chat(prompt, stream=True)
            return await asyncio.gather(*(http.post(CHAT_PATH, json=body, headers=given) for _ in range(number)))

    processes = server_processes(gateway)
    provider.script(text=text, times=None)
    started = time.monotonic()
    # So many that both processes come to their size: connections go to whichever is awake first.
    warm = 6
    for number in range(warm):
        assert all(text_of(answer) == text for answer in await answers(f"c12 warm {number}", 8))
    usual = (time.monotonic() - started) / warm
    before = resident(processes)
    with ChaosProxy(int(gateway.url.rsplit(":", 1)[1])) as proxy:
        proxy.down.bandwidth = 1.0
        proxy.down.slice_bytes = 1
        slow = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
        content = json.dumps(chat("c12 slow", stream=True)).encode()
        lines = [f"POST {CHAT_PATH} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in given.items()] + [f"content-length: {len(content)}", "", ""]
        await asyncio.to_thread(slow.sendall, "\r\n".join(lines).encode() + content)
        await asyncio.to_thread(provider.wait_for_calls, warm + 1)
        started = time.monotonic()
        others = await answers("c12 slow", 8)
        took = time.monotonic() - started
        growth = resident(processes) - before
        assert [text_of(answer) == text for answer in others] == [True] * 8
        slow.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert b"HTTP/1.1 200 OK".startswith(slow.recv(15))
        slow.close()
    assert provider.call_count == warm + 1
    assert took < 10 * usual + 5  # a bound against being held up, no benchmark
    assert growth <= 8 << 20
    record(
        "C12",
        followers=8,
        answer_mib=round(len(others[0].content) / 2**20, 1),
        time_ratio=round(took / usual, 2),
        rss_growth_mib=round(growth / 2**20, 1),
    )


def test_nothing_of_these_bursts_is_left(gateway):
    assert entries(gateway) > 0
    assert gateway.provider.in_flight == 0
