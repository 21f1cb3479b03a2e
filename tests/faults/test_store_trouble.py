"""F4, F8 to F12 through the gateway: whatever happens to the store, every call reaches its provider."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import structlog

from agentcache.engine.stores.breaker import BreakerState
from agentcache.engine.stores.sqlite_file import PAGE_BYTES, CacheFile
from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.support.chaos import ChaosProxy
from tests.support.fake_resp import FakeResp
from tests.support.gateway import LightGateway
from tests.support.guarded import wait_until
from tests.support.redis_server import RedisServer
from tests.support.reliability import record

#: The product's own, where the test gateway is more patient.
BUDGET = {"AGENTCACHE_STORE_BUDGET_MS": "50"}


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 16 MiB: a tmpfs where that may be mounted, else a page limit, under which SQLite says the same."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    if not mounted:
        connect = CacheFile.connect

        def connect_with_limit(self: CacheFile, **options: Any) -> Any:
            connection = connect(self, **options)
            ballast = sum(path.stat().st_size for path in folder.glob("ballast"))
            connection.execute(f"PRAGMA max_page_count = {((12 << 20) - ballast) // PAGE_BYTES}")
            return connection

        monkeypatch.setattr(CacheFile, "connect", connect_with_limit)
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def detail_of(response: httpx.Response) -> str:
    return response.headers["cache-status"].partition("detail=")[2]


async def test_f4_a_full_cache_disk_fails_no_call_and_is_used_again_once_there_is_room(small_disk, provider):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 << 20))
    text = "x" * 60_000
    provider.script(text=text, times=None)
    with LightGateway(small_disk, provider) as gateway:
        async with client(gateway) as http:

            async def ask(number: int) -> httpx.Response:
                stream = number % 3 == 0
                return await http.post(CHAT_PATH, json=chat(f"f4 {number}", stream=stream), headers=headers(gateway))

            answers = [answer for start in range(0, 300, 10)
                       for answer in await asyncio.gather(*map(ask, range(start, start + 10)))]  # fmt: skip
            assert {answer.status_code for answer in answers} == {200}
            assert all(text in answer.text for answer in answers)
            details = Counter(map(detail_of, answers))
            assert details["storage_full"] > 0
            # What is stored is still served while nothing more can be.
            stored = next(i for i, answer in enumerate(answers) if "; stored" in answer.headers["cache-status"])
            assert status_of(await ask(stored)) == "hit"
            # The server says so, and says that it serves all the same.
            readiness = await http.get("/readyz")
            assert readiness.status_code == 200
            ballast.unlink()
            if not small_disk.is_mount():
                gateway.parts.entries._store.writer._link.drop()
            freed_at, number, answer = time.monotonic(), 1000, answers[-1]
            while "; stored" not in answer.headers["cache-status"]:
                number += 1
                answer = await ask(number)
                assert answer.status_code == 200
                assert time.monotonic() - freed_at < 60
            record(
                "F4 through the gateway",
                calls=len(answers) + number - 1000,
                served=len(answers) + number - 1000,
                refused_by_the_disk=details["storage_full"],
                recovered_s=round(time.monotonic() - freed_at, 2),
            )


class Load:
    """Callers that ask again and again, for entries and for what is not stored, and note every answer."""

    def __init__(self, gateway: LightGateway, name: str, callers: int = 12) -> None:
        self.gateway = gateway
        self.name = name
        self.callers = callers
        #: (seconds since the start, seconds it took, status, status of the cache)
        self.answers: list[tuple[float, float, int, str]] = []
        self._number = 0

    async def __aenter__(self) -> Self:
        self._http = client(self.gateway)
        await self._http.post(CHAT_PATH, json=chat(f"{self.name} known"), headers=headers(self.gateway))
        self._started = time.monotonic()
        self._running = True
        self._tasks = [asyncio.create_task(self._call(caller)) for caller in range(self.callers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._http.aclose()

    async def _call(self, caller: int) -> None:
        given = headers(self.gateway)
        while self._running:
            self._number += 1
            prompt = f"{self.name} {'known' if caller % 2 else self._number}"
            began = time.monotonic()
            answer = await self._http.post(CHAT_PATH, json=chat(prompt, stream=caller % 3 == 0), headers=given)
            now = time.monotonic()
            self.answers.append((now - self._started, now - began, answer.status_code, status_of(answer)))
            await asyncio.sleep(0.03)

    def p99_ms(self, since: float = 0.0, until: float = 1e9) -> float:
        waits = [took for at, took, *_ in self.answers if since <= at < until]
        return round(1000 * (statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else max(waits, default=0)), 1)

    async def until_hit(self, since: float) -> None:
        """Wait until an answer after `since` came from the cache."""
        async with asyncio.timeout(60):
            while not any(at > since and status == "hit" for at, _, _, status in self.answers):
                await asyncio.sleep(0.01)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def check(self) -> None:
        """Every call was answered, and well."""
        assert self.answers
        assert {status for _, _, status, _ in self.answers} == {200}


async def until_state(gateway: Any, state: BreakerState, seconds: float) -> float:
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while gateway.parts.entries.state is not state:
            await asyncio.sleep(0.005)
    return round(time.monotonic() - started, 3)


async def test_f8_a_frozen_redis_fails_no_call(tmp_path, provider, redis_server):
    with (
        structlog.testing.capture_logs() as lines,
        LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_server.url, **BUDGET) as gateway,
    ):
        async with Load(gateway, "f8") as load:
            await asyncio.sleep(0.6)
            frozen_at = load.elapsed
            redis_server.freeze()
            opened_s = await until_state(gateway, BreakerState.OPEN, 60)
            open_at = load.elapsed
            await asyncio.sleep(1.0)
            thawed_at = load.elapsed
            redis_server.thaw()
            closed_s = await until_state(gateway, BreakerState.CLOSED, 60)
            await load.until_hit(since=thawed_at + closed_s + 0.2)
        load.check()
        changes = [line["event"] for line in lines if "breaker" in line["event"]]
        assert changes == ["store breaker opened", "store breaker closed"]
        probes = gateway.parts.entries.breaker.probes
    record(
        "F8 through the gateway",
        calls=len(load.answers),
        failed=0,
        opened_after_s=opened_s,
        closed_after_s=closed_s,
        p99_ms_before=load.p99_ms(0, frozen_at),
        p99_ms_detecting=load.p99_ms(frozen_at, open_at + 0.1),
        p99_ms_open=load.p99_ms(open_at + 0.1, thawed_at),
        probes=probes,
        log_lines=len(changes),
    )


async def test_f9_a_redis_that_dies_and_returns_fails_no_call(tmp_path, provider, redis_server):
    with LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_server.url, **BUDGET) as gateway:
        async with Load(gateway, "f9") as load:
            await asyncio.sleep(0.4)
            redis_server.kill()
            await until_state(gateway, BreakerState.OPEN, 60)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(redis_server.start)
            await until_state(gateway, BreakerState.CLOSED, 60)
            await load.until_hit(since=load.elapsed)
        load.check()
    record("F9 killed and restarted, through the gateway", calls=len(load.answers), failed=0)


@pytest.mark.parametrize(
    "mode", ["loading", "noauth", "oom", "readonly", "moved", "garbage", "silent", "close", "busy"]
)
async def test_f9_a_redis_that_refuses_fails_no_call(tmp_path, provider, mode):
    with FakeResp(mode) as fake, LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=fake.url, **BUDGET) as gateway:
        async with Load(gateway, f"f9 {mode}", callers=6) as load:
            await asyncio.sleep(0.6)
        load.check()
        assert not {status for *_, status in load.answers} & {"hit"}
        async with client(gateway) as http:
            readiness = await http.get("/readyz")
        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
    slowest = round(1000 * max(took for _, took, *_ in load.answers), 1)
    record(f"F9 {mode} through the gateway", calls=len(load.answers), failed=0, slowest_ms=slowest)


async def test_f10_200_callers_of_a_slow_redis_are_all_answered(tmp_path, provider, redis_server):
    with ChaosProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        with LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=url, **BUDGET) as gateway:
            async with client(gateway) as http:
                given = headers(gateway)
                await http.post(CHAT_PATH, json=chat("f10 known"), headers=given)
                proxy.down.latency = 1.5
                answers = await asyncio.gather(
                    *(http.post(CHAT_PATH, json=chat(f"f10 {number}"), headers=given) for number in range(200))
                )
                assert {answer.status_code for answer in answers} == {200}
                details = Counter(map(detail_of, answers))
                assert set(details) <= {"store_unavailable", "store_busy"}
                proxy.heal()
                await until_state(gateway, BreakerState.CLOSED, 60)
                async with asyncio.timeout(60):
                    while status_of(await http.post(CHAT_PATH, json=chat("f10 known"), headers=given)) != "hit":
                        await asyncio.sleep(0.05)
    record("F10 through the gateway", callers=200, failed=0, bypassed=sum(details.values()))


async def test_f11_f12_one_probe_and_one_line_however_many_ask(tmp_path, provider, redis_server):
    with (
        structlog.testing.capture_logs() as lines,
        LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_server.url, **BUDGET) as gateway,
    ):
        # However slow the machine is, some calls are answered before the first probe is.
        breaker, is_thawed = gateway.parts.entries.breaker, threading.Event()
        probe = breaker._probe

        async def probe_once_thawed():
            while not is_thawed.is_set():
                await asyncio.sleep(0.005)
            await probe()

        breaker._probe = probe_once_thawed
        async with Load(gateway, "f11", callers=24) as load:
            await asyncio.sleep(0.3)
            redis_server.freeze()
            await until_state(gateway, BreakerState.OPEN, 60)
            opened_with = len(load.answers)
            async with asyncio.timeout(60):
                while len(load.answers) <= opened_with + 10:
                    await asyncio.sleep(0.005)
            redis_server.thaw()
            is_thawed.set()
            await until_state(gateway, BreakerState.CLOSED, 60)
            while_open = len(load.answers) - opened_with
        load.check()
        assert while_open > 10
        assert breaker.probes == 1
        changes = [line["event"] for line in lines]
        assert changes == ["store breaker opened", "store breaker closed"]
    record("F11, F12 through the gateway", calls_while_open=while_open, probes=1, log_lines=len(changes))


async def test_a_redis_that_goes_away_during_a_flight_fails_neither_leader_nor_followers(tmp_path, provider):
    """The lock of a single flight fails open: without Redis each process flies on its own."""
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        settings = {"AGENTCACHE_REDIS_URL": redis.url, **BUDGET}
        gateways = [stack.enter_context(LightGateway(tmp_path / name, provider, **settings)) for name in ("one", "two")]
        for stream in (False, True):
            provider.reset()
            provider.script(**({"hold_after": 3} if stream else {"hold": True}), times=2)
            question = chat(f"gone midway {stream}", stream=stream)

            async def ask(gateway: LightGateway, question: Any = question) -> httpx.Response:
                async with client(gateway) as http:
                    return await http.post(CHAT_PATH, json=question, headers=headers(gateway))

            leaders = [asyncio.create_task(ask(gateways[0])) for _ in range(3)]
            await asyncio.to_thread(provider.wait_for_calls, 1)
            followers = [asyncio.create_task(ask(gateways[1])) for _ in range(3)]
            await asyncio.sleep(0.3)
            assert provider.call_count == 1
            redis.freeze()
            await asyncio.sleep(0.3)
            provider.release()
            for _ in range(40):
                if all(task.done() for task in [*leaders, *followers]):
                    break
                await asyncio.sleep(0.1)
                provider.release()
            answers = await asyncio.gather(*leaders, *followers)
            redis.thaw()
            for gateway in gateways:
                await until_state(gateway, BreakerState.CLOSED, 60)
            # The leader's own callers never depend on Redis.
            assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
            assert "error" not in answers[0].text
            # A follower has the rest, or asks for itself; a stream that was begun can only end in an error event.
            for answer in answers[3:]:
                assert answer.status_code == 200
                assert answer.text.endswith("data: [DONE]\n\n") or not stream or '"error"' in answer.text
            assert provider.call_count <= 2
            wait_until(lambda: not any(len(gateway.parts.flights) for gateway in gateways), what="flights to land")
    record("Single flight without its board", runs=2, failed=0)


async def test_a_defect_in_the_store_fails_no_call_either(tmp_path, provider, monkeypatch):
    async def broken(*_: object, **__: object) -> None:
        raise TypeError("not what was expected")

    with LightGateway(tmp_path, provider) as gateway:
        for method in ("get", "put"):
            with monkeypatch.context() as patch, structlog.testing.capture_logs() as lines:
                patch.setattr(gateway.parts.entries, method, broken)
                async with client(gateway) as http:
                    for stream in (False, True):
                        question = chat(f"defect {method} {stream}", stream=stream)
                        answer = await http.post(CHAT_PATH, json=question, headers=headers(gateway))
                        assert answer.status_code == 200
                        assert "error" not in answer.text
            assert len([line for line in lines if line["log_level"] == "error"]) == 2
