"""Flights: sharing, leaving, failing, and readers of every speed (C9-C12 in one process)."""

from __future__ import annotations

import asyncio

import pytest

from agentcache.engine.flights import Flight, FlightAborted, Flights, ReaderTooSlow
from agentcache.kit.errors import UpstreamTimeout

AFlight = Flight[str, bytes]
KEY = b"k" * 32


async def _read(flight: AFlight) -> bytes:
    with flight.seat() as seat:
        await seat.head()
        return b"".join([chunk async for chunk in seat.chunks()])


async def test_two_hundred_readers_share_one_call() -> None:
    flights: Flights[str, bytes] = Flights(1000)
    calls = 0

    async def lead(flight: AFlight) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        flight.open("head")
        for part in (b"a", b"b", b"c"):
            await asyncio.sleep(0)
            await flight.add(part, 1)

    async def caller() -> bytes:
        return await _read(flights.join(KEY, lead)[0])

    assert await asyncio.gather(*(caller() for _ in range(200))) == [b"abc"] * 200
    assert calls == 1
    assert len(flights) == 0


async def test_a_late_reader_sees_everything() -> None:
    flights: Flights[str, bytes] = Flights(1000)
    go_on = asyncio.Event()

    async def lead(flight: AFlight) -> None:
        flight.open("head")
        await flight.add(b"early ", 6)
        await go_on.wait()
        await flight.add(b"late", 4)

    first = asyncio.create_task(_read(flights.join(KEY, lead)[0]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(_read(flights.join(KEY, lead)[0]))
    await asyncio.sleep(0.01)
    go_on.set()
    assert await first == await second == b"early late"


async def test_the_first_caller_may_leave() -> None:
    flights: Flights[str, bytes] = Flights(1000)
    go_on = asyncio.Event()

    async def lead(flight: AFlight) -> None:
        flight.open("head")
        await go_on.wait()
        await flight.add(b"answer", 6)

    flight, leads = flights.join(KEY, lead)
    first = asyncio.create_task(_read(flight))
    await asyncio.sleep(0)
    follower = asyncio.create_task(_read(flights.join(KEY, lead)[0]))
    await asyncio.sleep(0)
    first.cancel()
    go_on.set()
    assert leads
    assert await follower == b"answer"


async def test_a_failure_reaches_every_reader_and_is_not_kept() -> None:
    flights: Flights[str, bytes] = Flights(1000)

    async def lead(flight: AFlight) -> None:
        await asyncio.sleep(0)
        raise UpstreamTimeout

    flight, _ = flights.join(KEY, lead)
    results = await asyncio.gather(*(_read(flight) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [UpstreamTimeout] * 3
    assert flights.join(KEY, lead)[1], "the next caller leads anew"
    await flights.drain(1)


async def test_a_replacement_knows_that_it_is_one() -> None:
    flights: Flights[str, bytes] = Flights(1000)

    async def lead(flight: AFlight) -> None:
        await asyncio.sleep(0)

    flight, leads = flights.join(KEY, lead, after_failure=True)
    assert leads and flight.is_replacement
    await flights.drain(1)


async def test_an_answer_larger_than_the_buffer_waits_for_the_fastest_and_drops_the_slow() -> None:
    flights: Flights[str, bytes] = Flights(100)
    kept_at_most = 0

    async def lead(flight: AFlight) -> None:
        nonlocal kept_at_most
        flight.open("head")
        for _ in range(100):
            await flight.add(b"x" * 10, 10)
            kept_at_most = max(kept_at_most, flight._bytes)
            await asyncio.sleep(0)

    flight, _ = flights.join(KEY, lead)

    async def crawl() -> None:
        with flight.seat() as seat:
            async for _ in seat.chunks():
                await asyncio.sleep(1)

    slow = asyncio.create_task(crawl())
    assert len(await _read(flight)) == 1000
    assert kept_at_most <= 100
    assert flight.overflowed and not flight.joinable
    with pytest.raises(ReaderTooSlow):
        await slow


async def test_an_overlong_answer_without_readers_is_given_up() -> None:
    flights: Flights[str, bytes] = Flights(100)

    async def lead(flight: AFlight) -> None:
        flight.open("head")
        for _ in range(50):
            await flight.add(b"x" * 10, 10)

    flight, _ = flights.join(KEY, lead)
    async with asyncio.timeout(60):
        while not flight.done:
            await flight.progress()
    assert isinstance(flight.error, FlightAborted)


async def test_draining_lets_flights_finish_and_aborts_the_rest() -> None:
    flights: Flights[str, bytes] = Flights(100)

    async def quick(flight: AFlight) -> None:
        await asyncio.sleep(0.01)
        flight.open("head")

    async def endless(flight: AFlight) -> None:
        flight.open("head")
        await asyncio.Event().wait()

    done, _ = flights.join(b"1", quick)
    cut, _ = flights.join(b"2", endless)
    reader = asyncio.create_task(_read(cut))
    await asyncio.sleep(0)
    await flights.drain(0.1)
    assert done.error is None and done.done
    with pytest.raises(FlightAborted):
        await reader
    assert len(flights) == 0


@pytest.mark.parametrize("seed", range(200))
async def test_random_departures_never_hurt_those_who_stay(seed: int) -> None:
    import random

    chance = random.Random(seed)
    flights: Flights[str, bytes] = Flights(1000)
    calls = 0

    async def lead(flight: AFlight) -> None:
        nonlocal calls
        calls += 1
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        flight.open("head")
        for part in (b"a", b"b", b"c"):
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
            await flight.add(part, 1)

    callers = [asyncio.create_task(_read(flights.join(KEY, lead)[0])) for _ in range(8)]
    leaving = chance.sample(callers, 5)
    for caller in leaving:
        for _ in range(chance.randint(0, 4)):
            await asyncio.sleep(0)
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    for caller, result in zip(callers, results, strict=True):
        assert result == b"abc" or (caller in leaving and isinstance(result, asyncio.CancelledError))
    assert calls == 1
    await flights.drain(1)
    assert len(flights) == 0


async def _until_done(flight: AFlight) -> None:
    async with asyncio.timeout(60):
        while not flight.done:
            await flight.progress()


async def test_a_call_that_is_worth_nothing_unheard_stops_with_its_last_reader() -> None:
    flights: Flights[str, bytes] = Flights(1000)
    stopped = asyncio.Event()

    async def lead(flight: AFlight) -> None:
        flight.open("head")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    flight, _ = flights.join(KEY, lead, outlives_readers=False)
    readers = [asyncio.create_task(_read(flights.join(KEY, lead)[0])) for _ in range(2)]
    await asyncio.sleep(0.01)
    readers[0].cancel()
    await asyncio.sleep(0.01)
    assert not flight.done
    readers[1].cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    # Off the table at once, so that nobody joins what is about to stop.
    assert flight.done
    replacement, leads = flights.join(KEY, lead)
    assert leads
    await asyncio.wait_for(stopped.wait(), 60)
    await flights.drain(0)
    await _until_done(replacement)


async def test_what_is_to_happen_at_the_end_happens_once_and_also_afterwards() -> None:
    flight: AFlight = Flight(KEY, 1000)
    happened: list[str] = []
    flight.when_ended(lambda: happened.append("first"))
    assert happened == []
    flight.finish()
    flight.finish()
    flight.when_ended(lambda: happened.append("later"))
    assert happened == ["first", "later"]
