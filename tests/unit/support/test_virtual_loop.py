from __future__ import annotations

import asyncio

import pytest

from tests.support.virtual_loop import Deadlock, Livelock, LoopClock, run_virtual


async def _append_in_turn(order, name):
    for step in range(3):
        await asyncio.sleep(0)
        order.append(f"{name}{step}")


async def _race(loop):
    order: list[str] = []
    await asyncio.gather(*(_append_in_turn(order, name) for name in "abc"))
    return tuple(order)


def test_a_seed_replays_and_other_seeds_differ():
    runs = [run_virtual(_race, seed=seed).result for seed in range(30)]
    assert runs == [run_virtual(_race, seed=seed).result for seed in range(30)]
    assert len(set(runs)) > 20
    for order in runs:
        assert [step for step in order if step[0] == "a"] == ["a0", "a1", "a2"]


def test_time_jumps_and_timers_fire_in_order():
    async def main(loop):
        clock = LoopClock(loop, epoch=1000.0)
        fired: list[float] = []
        for delay in (3600.0, 5.0, 86_400.0):
            loop.call_later(delay, lambda delay=delay: fired.append(delay))
        await asyncio.sleep(100_000)
        return fired, clock.now(), clock.monotonic()

    run = run_virtual(main)
    assert run.result == ([5.0, 3600.0, 86_400.0], 101_000.0, 100_000.0)
    assert run.seconds == 100_000.0


def test_timeouts_and_cancellation_work():
    async def main(loop):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(11)
        task = asyncio.create_task(asyncio.sleep(50))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return loop.time()

    assert {run_virtual(main, seed=seed).result for seed in range(20)} == {11.0}


def test_a_race_is_found_by_some_seed_and_only_by_some():
    async def main(_loop):
        balance = 0

        async def add():
            nonlocal balance
            seen = balance
            await asyncio.sleep(0)
            balance = seen + 1

        await asyncio.gather(add(), add())
        return balance

    assert {run_virtual(main, seed=seed).result for seed in range(50)} == {1, 2}


def test_locks_queues_and_executors():
    async def main(loop):
        lock, queue = asyncio.Lock(), asyncio.Queue[int]()
        inside = 0

        async def work(number):
            nonlocal inside
            async with lock:
                inside += 1
                assert inside == 1
                await asyncio.sleep(loop.random.random())
                inside -= 1
            await queue.put(await asyncio.to_thread(lambda: number * 2))

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(work(number))
        return sorted(queue.get_nowait() for _ in range(10))

    for seed in range(10):
        assert run_virtual(main, seed=seed).result == list(range(0, 20, 2))


def test_leaked_tasks_and_unseen_exceptions_are_reported():
    async def fail():
        raise ValueError("unseen")

    async def main(loop):
        loop.create_task(asyncio.sleep(100), name="left behind")
        loop.create_task(fail())
        await asyncio.sleep(1)

    run = run_virtual(main)
    assert [name.split(":")[0] for name in run.leaked] == ["left behind"]
    assert [str(context["exception"]) for context in run.unhandled] == ["unseen"]
    clean = run_virtual(_race)
    assert (clean.leaked, clean.unhandled) == ((), ())


def test_deadlock_livelock_and_failures_name_the_seed():
    async def wait_for_ever(loop):
        await loop.create_future()

    async def spin(_loop):
        while True:
            await asyncio.sleep(0)

    async def fail(_loop):
        raise ValueError("broken")

    with pytest.raises(Deadlock) as deadlock:
        run_virtual(wait_for_ever, seed=7)
    assert deadlock.value.__notes__[0].startswith("seed 7")
    with pytest.raises(Livelock):
        run_virtual(spin, max_steps=100)
    with pytest.raises(ValueError, match="broken"):
        run_virtual(fail)
