"""Receivers that hang and drip, and endpoints that lead inside (W5, W6)."""

import asyncio
import contextlib
import socket
import time
from functools import partial

import pytest
from django.db import transaction

from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import JobKind, Pool, Workers
from agentcache.kit.clock import SystemClock
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.egress.guarded import GuardedClient
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.jobs import LIMITS, UNREACHABLE, EndpointDelivery
from agentcache.webhooks.models import Attempt, Delivery, Endpoint
from agentcache.webhooks.services import DELIVER
from tests.support.reliability import record
from tests.support.tiers import count
from tests.support.webhooks import make_endpoint, sample
from tests.unit.kit.egress.test_addresses import INTERNAL

GOOD, BAD, MESSAGES = 10, 10, count(8, 100)
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.fixture
def project(sqlite_project):
    return sqlite_project


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()


@contextlib.asynccontextmanager
async def hanging():
    """Serve a receiver that takes requests and answers half of them never, the other half one byte at a time."""
    visits, tasks = [], []

    async def serve(reader, writer):
        visits.append(1)
        tasks.append(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):
            await hang(reader, writer)

    async def hang(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if len(visits) % 2:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while True:
                    writer.write(b"x")
                    # Raises when the sender has hung up.
                    await writer.drain()
                    await asyncio.sleep(0.2)
            await asyncio.sleep(3600)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", visits
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def emit_all(team, messages):
    for _ in range(messages):
        with transaction.atomic():
            services.emit(team.pk, "cache.invalidated", sample("cache.invalidated"))


def make_endpoints(team, urls):
    for number, url in enumerate(urls):
        Endpoint.objects.filter(pk=make_endpoint(team).pk).update(url=url, description=str(number))


async def test_w5_receivers_that_hang_hold_up_nobody_else(team, receiver, threads):
    client = GuardedClient(AllowList.parse("127.0.0.1"), LIMITS)
    deliver = EndpointDelivery(threads, current_secrets(), client, SystemClock())
    async with hanging() as (url, visits):
        # The bad ones first: what is oldest is begun first.
        await threads.run(partial(make_endpoints, team, [url] * BAD + [receiver.url] * GOOD), within_seconds=60)
        await threads.run(partial(emit_all, team, MESSAGES), within_seconds=count(60, 600))
        workers = Workers(dict.fromkeys(Pool, threads), {DELIVER: JobKind(deliver, pool=Pool.WEBHOOKS)})
        stop = asyncio.Event()
        running, began = asyncio.create_task(workers.run(stop, drain_seconds=0.0)), time.monotonic()
        async with asyncio.timeout(count(60, 600)):
            while len(receiver.deliveries) < GOOD * MESSAGES:
                await asyncio.sleep(0.02)
        # A try at a hanging receiver takes its 15 seconds, and each has two of them at once.
        rounds = 1 + int((time.monotonic() - began) / LIMITS.total_seconds)
        stop.set()
        await running
    failed = await threads.run(lambda: set(Attempt.objects.exclude(status=200).values_list("delivery__endpoint__url")))
    assert failed <= {(url,)}
    # Oldest first, those of the hanging ones are before all others, and nobody has waited for them to end.
    assert len(visits) <= BAD * 2 * rounds
    record("W5", good=GOOD, hanging=BAD, delivered=len(receiver.deliveries), tries_at_hanging_ones=len(visits))


class resolving_to:  # noqa: N801 - reads as a verb where it is used
    """Resolve any name to one address."""

    def __init__(self, address):
        self._address = address

    async def __call__(self, _host, port):
        if ":" in self._address:
            return [(socket.AF_INET6, (self._address, port, 0, 0))]
        return [(socket.AF_INET, (self._address, port))]


async def try_once(threads, team, url, client):
    """Deliver one message to a URL, however it came into the database; return the attempt."""
    await threads.run(lambda: Endpoint.objects.update(url=url))
    await threads.run(partial(emit_all, team, 1))
    row = await threads.run(lambda: Delivery.objects.order_by("-id")[0])
    deliver = EndpointDelivery(threads, current_secrets(), client, SystemClock())
    with contextlib.suppress(Exception):
        await deliver({"delivery_id": row.pk, "round": 0})
    return await threads.run(lambda: Attempt.objects.get(delivery=row))


async def test_w6_no_endpoint_leads_inside(team, receiver, threads, monkeypatch):
    connects = []

    async def note(*given):
        connects.append(given)
        raise ConnectionRefusedError

    await threads.run(partial(make_endpoint, team))
    monkeypatch.setattr("agentcache.kit.egress.guarded.open_connection", note)
    for address in INTERNAL:
        host = f"[{address}]" if ":" in address else address
        for url, client in (
            (f"https://{host}/hook", GuardedClient(limits=LIMITS)),
            ("https://hooks.example.com/hook", GuardedClient(limits=LIMITS, resolver=resolving_to(address))),
        ):
            attempt = await try_once(threads, team, url, client)
            assert (attempt.status, attempt.failure, attempt.response) == (None, UNREACHABLE, ""), url
    for url in (
        receiver.url,
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "gopher://hooks.example.com/",
    ):
        attempt = await try_once(threads, team, url, GuardedClient(limits=LIMITS))
        assert attempt.failure == UNREACHABLE
    assert connects == []
    assert receiver.deliveries == []
    record("W6", vectors=2 * len(INTERNAL) + 5, connects=len(connects))


async def test_w6_a_redirect_is_a_failure_and_is_not_followed(team, receiver, threads):
    client = GuardedClient(AllowList.parse("127.0.0.1"), LIMITS)
    await threads.run(partial(make_endpoint, team))
    receiver.answers = list(REDIRECTS)
    receiver.headers = {"location": receiver.url + "/inside"}
    for status in REDIRECTS:
        attempt = await try_once(threads, team, receiver.url, client)
        assert attempt.status == status
    assert {delivery.path for delivery in receiver.deliveries} == {"/hook"}
    assert await threads.run(Delivery.objects.filter(state="waiting").count) == len(REDIRECTS)
    record("W6 redirects", redirects=len(REDIRECTS), followed=0)
