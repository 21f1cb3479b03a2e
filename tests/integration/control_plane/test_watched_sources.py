"""From a page that changes to a fresh answer for the next caller, with a real gateway, a real web server and load."""

import asyncio
import contextlib
import random
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from agentcache.engine.stores.open_stores import open_stores
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import SystemClock
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.listeners.models import Listener, ListenerEvent
from agentcache.listeners.reading.reader import Reader
from agentcache.listeners.services import records, turns
from agentcache.listeners.watching import Watch
from agentcache.teams.models import Team
from tests.faults.scenes import CHAT_PATH, chat, client, headers, status_of
from tests.support.gateway import LightGateway
from tests.support.reliability import record
from tests.support.tiers import count
from tests.support.watched_site import page, watched_site

PAGES, CALLERS, SECONDS = count(20, 200), 8, count(4, 60)
VERSION = re.compile(r"Version (\d+)\.")


@pytest.fixture
def gateway(sqlite_project, provider):
    # Records and entries of one installation, as a server and its job worker have them.
    with LightGateway(sqlite_project.data_dir, provider) as gateway:
        yield gateway


@pytest.fixture
async def watch(gateway, sqlite_project, monkeypatch):
    # All pages are on one host here.
    monkeypatch.setattr(turns, "HOST_PAUSE", timedelta(0))
    threads, clock = DatabaseThreads(answer_within_seconds=60), SystemClock()
    stores = open_stores(gateway.settings, clock)
    async with Reader() as reader:
        guarded = GuardedClient(AllowList.parse("127.0.0.1"))
        yield Watch(threads, stores.entries, guarded, reader, clock, "https://cache.example.com"), threads
    await stores.close()
    threads.close()


def add_listeners(gateway, urls):
    """Watch pages every second, below what plans allow: the test has no quarter of an hour."""
    team = Team.objects.create(id=gateway.tenant().id, name="Acme", slug="acme", wrapped_data_key=b"")
    now = datetime.now(UTC)
    Listener.objects.bulk_create(
        Listener(
            team=team, url=url, host=f"host-{number}", fingerprint=url, check_interval_seconds=1, next_check_at=now
        )
        for number, url in enumerate(urls)
    )  # fmt: skip


class Pages:
    """What each page says, what its listener has acknowledged, and what callers got."""

    def __init__(self, site, http, gateway, provider):
        self.site, self.http, self.gateway, self.provider = site, http, gateway, provider
        self.now = dict.fromkeys(range(PAGES), 0)
        self.acknowledged = dict.fromkeys(range(PAGES), 0)
        self.answers = self.hits = self.violations = 0

    def url(self, number):
        return f"{self.site.url}/{number}"

    def change(self, number):
        version = self.now[number] + 1
        # The provider knows what the page says when it is asked, which may be long after the call was made.
        self.provider.script(
            text=f"Version {version}.",
            times=None,
            when=lambda call: f"page {number} ".encode() in call.body and self.now[number] == version,
        )
        self.now[number] = version
        self.site.put(f"/{number}", page(f"Version {version}."))

    async def call(self, number):
        """Ask what the page says."""
        least = self.acknowledged[number]
        given = headers(self.gateway, X_AgentCache_Sources=self.url(number))
        answer = await self.http.post(CHAT_PATH, json=chat(f"What does page {number} say?"), headers=given)
        said = int(VERSION.search(answer.json()["choices"][0]["message"]["content"])[1])
        self.answers += 1
        self.hits += status_of(answer) == "hit"
        self.violations += said < least
        return said


async def test_a_change_leads_to_a_fresh_answer_in_one_interval(gateway, watch, provider):
    looking, threads = watch
    async with watched_site() as site, client(gateway) as http:
        pages = Pages(site, http, gateway, provider)
        pages.change(0)
        await threads.run(lambda: add_listeners(gateway, [pages.url(0)]))
        await look(looking, threads)
        assert [await pages.call(0), await pages.call(0)] == [1, 1]
        assert pages.hits == 1
        pages.change(0)
        assert await pages.call(0) == 1
        await look(looking, threads)
        assert await pages.call(0) == 2


async def look(watch, threads):
    """Let the interval pass, and check."""
    await threads.run(lambda: Listener.objects.update(next_check_at=datetime.now(UTC)))
    assert await watch.start_due() == 1
    await watch.settle()


async def test_no_answer_from_before_an_acknowledged_change_under_load(gateway, watch, provider, monkeypatch):
    """F24: pages change at random under load."""
    looking, threads = watch
    chance, stop = random.Random(24), asyncio.Event()
    async with watched_site() as site, client(gateway) as http, contextlib.AsyncExitStack() as stack:
        pages = Pages(site, http, gateway, provider)
        for number in range(PAGES):
            pages.change(number)
        await threads.run(lambda: add_listeners(gateway, [pages.url(number) for number in range(PAGES)]))
        write = records.record

        def noting(checks):
            kept = write(checks)
            for check in checks:
                difference = getattr(check.finding, "difference", None)
                if difference is not None:
                    number = int(check.listener.url.rpartition("/")[2])
                    versions = [int(found) for found in re.findall(r"\+Version (\d+)", difference.diff)]
                    pages.acknowledged[number] = max(pages.acknowledged[number], *versions)
            return kept

        monkeypatch.setattr(records, "record", noting)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = tasks.create_task(looking.run(stop))

        async def change():
            while not stop.is_set():
                pages.change(chance.randrange(PAGES))
                await asyncio.sleep(0.02)

        async def call():
            while not stop.is_set():
                await pages.call(chance.randrange(PAGES))

        for work in (change, *[call] * CALLERS):
            tasks.create_task(work())
        ends = time.monotonic() + SECONDS
        # On a busy machine as long as it takes to have seen something.
        while time.monotonic() < ends or sum(pages.acknowledged.values()) < PAGES or not pages.hits:
            await asyncio.sleep(0.05)
            assert time.monotonic() < ends + 60
        stop.set()
        await running
    changes = await threads.run(ListenerEvent.objects.filter(kind="changed").count)
    assert changes > PAGES / 2
    assert pages.violations == 0
    record(
        "F24 watched pages",
        violations=pages.violations,
        pages=PAGES,
        changes=changes,
        answers=pages.answers,
        hits=pages.hits,
    )
