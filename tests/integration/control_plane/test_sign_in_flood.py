"""A4: five hundred sign-ins at once take two hashing slots and a short queue, and hits go on."""

from __future__ import annotations

import asyncio
import time

import httpx2 as httpx
import psutil
import pytest

from tests.support.api_person import ApiPerson
from tests.support.browser.site import Site
from tests.support.migrated_site import prepare
from tests.support.reliability import record

SIGN_INS = 500
#: What one hash takes, and how many may be under way.
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


async def hits(site: Site, key: str, until: asyncio.Event, times: list[float]) -> None:
    """Ask for the same again, one after the other; each has to be a hit."""
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"Authorization": "Bearer sk-upstream", "X-AgentCache-Key": key}
    async with httpx.AsyncClient(base_url=site.url, timeout=60) as client:
        while not until.is_set():
            began = time.perf_counter()
            answer = await client.post("/openai/v1/chat/completions", json=body, headers=headers)
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200
            assert "hit" in answer.headers["Cache-Status"]


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


async def storm(site: Site, key: str) -> tuple[list[httpx.Response], list[float], list[float], Memory]:
    calm: list[float] = []
    busy: list[float] = []
    enough = asyncio.Event()
    asking = asyncio.create_task(hits(site, key, enough, calm))
    while len(calm) < 300:
        await asyncio.sleep(0.01)
    enough.set()
    await asking
    memory, over = Memory(site), asyncio.Event()
    asking = asyncio.create_task(hits(site, key, over, busy))
    answers = await flood(site, memory)
    over.set()
    await asking
    return answers, calm, busy, memory


@pytest.mark.timeout(360)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_flood_of_sign_ins_takes_two_slots_and_leaves_hits_alone(request, tmp_path, engine):
    settings = prepare(request, engine, tmp_path / "site")
    with Site(tmp_path / "site", AGENTCACHE_WORKERS="1", **settings) as site:
        ada = ApiPerson(site).join()
        _, key = ada.new_key()
        assert site.call(key, PROMPT).status_code == 200
        answers, calm, busy, memory = asyncio.run(storm(site, key))
        statuses = {status: sum(answer.status_code == status for answer in answers) for status in (401, 503)}
        assert sum(statuses.values()) == SIGN_INS, site.server.output[-4000:]
        assert statuses[401] > 0, "nobody was served"
        assert statuses[503] > 0, "nobody was turned away"
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.json()["code"] in ("sign_in_busy", "overloaded", "unavailable"), answer.text
        # Two hashes, five hundred connections and the threads that answer them; a third hash would not fit in.
        assert memory.growth_mib < (SLOTS + 1) * HASH_MIB
        assert len(busy) > 0
        # And the door is open again.
        assert ada.sign_in().token
    record(
        f"A4 {engine}", sign_ins=SIGN_INS, checked=statuses[401], turned_away=statuses[503], hits_meanwhile=len(busy),
        failed_hits=0, rss_growth_mib=round(memory.growth_mib, 1), threads_most=memory.threads_most,
        p99_ratio=round(p99(busy) / p99(calm), 2), p99_calm_ms=round(p99(calm) * 1000, 1), p99_flood_ms=round(p99(busy) * 1000, 1),
    )  # fmt: skip
