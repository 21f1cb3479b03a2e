"""An event loop without a clock or sockets: time jumps to the next timer, and a seed decides who runs next.

Every order in which ready callbacks could run is reachable, so a race that needs an unlucky order is found by trying
seeds, and a seed replays it exactly. Code under it must not do I/O, use threads or expect callbacks in call order.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import random
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Something waits, but nothing is ready and no timer is set."""


class Livelock(AssertionError):
    """The run took more steps than it was allowed."""


class VirtualLoop(base_events.BaseEventLoop):
    """The loop itself. `random` is the run's only source of chance; tests may draw from it too."""

    def __init__(self, seed: int = 0, *, max_steps: int = 1_000_000) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.steps = 0
        #: Exceptions that asyncio could only report (`Task exception was never retrieved`, failed callbacks).
        self.unhandled: list[dict[str, Any]] = []
        self._now = 0.0
        self._max_steps = max_steps
        self.set_exception_handler(lambda _loop, context: self.unhandled.append(context))

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._now

    def allow_steps(self, more: int) -> None:
        """Let the loop take so many more steps from here on."""
        self._max_steps = self.steps + more

    def _run_once(self) -> None:
        loop: Any = self  # the queues are private to asyncio, and typed nowhere
        while loop._scheduled and loop._scheduled[0]._cancelled:
            loop._timer_cancelled_count -= 1
            heapq.heappop(loop._scheduled)._scheduled = False
        if not loop._ready and not loop._stopping:
            if not loop._scheduled:
                raise Deadlock(f"nothing can happen any more after {self._now:.3f} virtual seconds")
            self._now = max(self._now, loop._scheduled[0]._when)
        while loop._scheduled and loop._scheduled[0]._when <= self._now:
            timer = heapq.heappop(loop._scheduled)
            timer._scheduled = False
            loop._ready.append(timer)
        if not loop._ready:
            return
        self.steps += 1
        if self.steps > self._max_steps:
            raise Livelock(f"no end after {self._max_steps} steps")
        chosen = self.random.randrange(len(loop._ready))
        loop._ready.rotate(-chosen)
        handle = loop._ready.popleft()
        loop._ready.rotate(chosen)
        if not handle._cancelled:
            handle._run()

    def _write_to_self(self) -> None:
        """Wake nobody: the loop never sleeps."""

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # ours is plainer
        """Run `func` at some later step of the loop; there are no threads here."""
        future = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - it belongs to the caller
                future.set_exception(error)

        self.call_later(self.random.random() * 0.001, run)
        return future


class LoopClock:
    """The loop's time as a `Clock`; `now()` starts at `epoch` Unix seconds."""

    def __init__(self, loop: VirtualLoop, epoch: float = 1_800_000_000.0) -> None:
        self._loop = loop
        self._epoch = epoch

    def now(self) -> float:
        """Return virtual Unix seconds."""
        return self._epoch + self._loop.time()

    def monotonic(self) -> float:
        """Return virtual seconds since the loop began."""
        return self._loop.time()


@dataclass(frozen=True)
class VirtualRun(Generic[T]):
    """How a run ended: its result, tasks still alive at its end, reported exceptions, steps and virtual seconds."""

    result: T
    leaked: tuple[str, ...]
    unhandled: tuple[dict[str, Any], ...]
    steps: int
    seconds: float


def run_virtual(
    main: Callable[[VirtualLoop], Coroutine[Any, Any, T]], *, seed: int = 0, max_steps: int = 1_000_000
) -> VirtualRun[T]:
    """Run `main(loop)` to its end under one seed. An exception of `main` is raised with the seed as a note."""
    loop = VirtualLoop(seed, max_steps=max_steps)
    events.set_event_loop(loop)
    task = loop.create_task(main(loop), name="main")
    try:
        result = loop.run_until_complete(task)
        leaked = sorted(f"{left.get_name()}: {left.get_coro()}" for left in asyncio.all_tasks(loop))
        seconds, steps = loop.time(), loop.steps
    except BaseException as error:
        error.add_note(f"seed {seed}, {loop.steps} steps, {loop.time():.6f} virtual seconds")
        raise
    finally:
        try:
            loop.allow_steps(100_000)
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            events.set_event_loop(None)
            loop.close()
    del task
    gc.collect(0)  # tasks that failed unseen report themselves when they are collected
    return VirtualRun(result, tuple(leaked), tuple(loop.unhandled), steps, seconds)


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
