"""A4: hundreds of sign-ins at once take at most two hashing slots and a short queue, and hits go on."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Self

import httpx2 as httpx
import psutil
import pytest

from tests.support.api_person import ApiPerson
from tests.support.browser.site import Site
from tests.support.migrated_site import prepare
from tests.support.reliability import record
from tests.support.tiers import ENGINES, before_release, count

SIGN_INS = count(150, 500)
ROUNDS = 3
#: What one hash takes, and how many may be under way at most.
HASH_MIB, SLOTS = 46, 2
PROMPT = "asked again and again"


class Memory:
    """The most that the serving process has held, beyond what it held at first."""

    def __init__(self, site: Site) -> None:
        children = psutil.Process(site.server.process.pid).children()
        [self._process] = [child for child in children if "agentcache.supervisor.server" in " ".join(child.cmdline())]
        self._before = self._most = self._process.memory_info().rss
        self.threads_most = 0

    def look(self) -> None:
        self._most = max(self._most, self._process.memory_info().rss)
        self.threads_most = max(self.threads_most, self._process.num_threads())

    @property
    def growth_mib(self) -> float:
        return (self._most - self._before) / 2**20


class Hits:
    """`with Hits(site, key) as hits:` asks for the same again and again, elsewhere; `hits.times` are the seconds."""

    def __init__(self, site: Site, key: str) -> None:
        self._command = [sys.executable, "-m", "tests.support.hits_program", site.url, key, PROMPT]
        self.times: list[float] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        output = self._process.communicate("", timeout=60)[0]
        assert self._process.returncode == 0, output
        self.times = json.loads(output)


async def flood(site: Site, memory: Memory) -> list[httpx.Response]:
    """Sign in from everywhere at once, to accounts that are there and to others: no limit but the slots is met."""
    limits = httpx.Limits(max_connections=SIGN_INS, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=site.url, timeout=120, limits=limits) as client:

        async def sign_in(number: int) -> httpx.Response:
            given = {"email": f"person{number}@example.com", "password": "not the password at all"}
            network = {"X-Forwarded-For": f"198.18.{number // 250}.{number % 250}"}
            return await client.post("/api/account/login", json=given, headers=network)

        under_way = asyncio.gather(*(sign_in(number) for number in range(SIGN_INS)))
        while not under_way.done():
            memory.look()
            await asyncio.sleep(0.01)
        return await under_way


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def storm(
    site: Site, key: str, *, asked: Site | None = None
) -> tuple[list[httpx.Response], list[float], list[float], Memory]:
    """Flood a site while hits are taken from it, or from the one that is asked instead."""
    calm: list[float] = []
    # A busy machine may take the whole time to start the program that asks.
    while not calm:
        with Hits(asked or site, key) as quiet:
            time.sleep(count(1, 4) / 2)
        calm = quiet.times
    memory = Memory(site)
    with Hits(asked or site, key) as busy:
        answers = asyncio.run(flood(site, memory))
    return answers, calm, busy.times, memory


@pytest.mark.timeout(360)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_flood_of_sign_ins_takes_few_slots_and_leaves_hits_alone(request, tmp_path, engine):
    settings = prepare(request, engine, tmp_path / "site")
    with Site(tmp_path / "site", AGENTCACHE_WORKERS="1", **settings) as site:
        ada = ApiPerson(site).join()
        _, key = ada.new_key()
        assert site.call(key, PROMPT).status_code == 200
        answers, calm, busy, memory = storm(site, key)
        statuses = {status: sum(answer.status_code == status for answer in answers) for status in (401, 503)}
        assert sum(statuses.values()) == SIGN_INS, site.server.output[-4000:]
        assert statuses[401] > 0, "nobody was served"
        assert statuses[503] > 0, "nobody was turned away"
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.json()["code"] in ("sign_in_busy", "overloaded", "unavailable"), answer.text
        # All connections and the threads that answer them included.
        assert memory.growth_mib <= SLOTS * HASH_MIB
        assert len(busy) > 0
        # And the door is open again.
        assert ada.sign_in().token
    record(
        f"A4 {engine}", sign_ins=SIGN_INS, checked=statuses[401], turned_away=statuses[503], hits_meanwhile=len(busy),
        failed_hits=0, rss_growth_mib=round(memory.growth_mib, 1), threads_most=memory.threads_most,
        p99_ratio=round(p99(busy) / p99(calm), 2), p99_calm_ms=round(p99(calm) * 1000, 1), p99_flood_ms=round(p99(busy) * 1000, 1),
    )  # fmt: skip


@before_release
@pytest.mark.timeout(600)
def test_hits_wait_no_longer_than_those_of_an_idle_server_on_the_machine(request, tmp_path):
    """What a flood takes from everybody on the machine, its client included, is no fault of the server that it meets."""
    with ExitStack() as stack:
        flooded, idle = (
            stack.enter_context(
                Site(tmp_path / name, AGENTCACHE_WORKERS="1", **prepare(request, "sqlite", tmp_path / name))
            )
            for name in ("flooded", "idle")
        )
        keys = {}
        for site in (flooded, idle):
            _, keys[site] = ApiPerson(site).join().new_key()
            assert site.call(keys[site], PROMPT).status_code == 200
        worst: dict[Site, list[float]] = {flooded: [], idle: []}
        # In turns, as the machine changes from minute to minute.
        for _ in range(ROUNDS):
            for asked in (flooded, idle):
                answers, _, busy, _ = storm(flooded, keys[asked], asked=asked)
                assert {answer.status_code for answer in answers} == {401, 503}
                worst[asked].append(p99(busy))
    own, machine = statistics.median(worst[flooded]), statistics.median(worst[idle])
    record(
        "A4 beside an idle server", sign_ins=SIGN_INS, rounds=ROUNDS, p99_own_ms=round(own * 1000, 1),
        p99_idle_ms=round(machine * 1000, 1), p99_ratio=round(own / machine, 2),
    )  # fmt: skip
