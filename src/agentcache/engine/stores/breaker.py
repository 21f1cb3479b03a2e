"""A circuit breaker: after a few failures callers stop asking, and one probe at a time finds out when to start again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum

from agentcache.engine.stores.port import StoreUnavailable
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

log = get_logger(__name__)


class BreakerState(Enum):
    """`HALF_OPEN` means that the one probe is under way; callers are still turned away."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after `failures_max` failures in a row, or after failing for `seconds_max`; probes until one succeeds.

    Nobody pays for a probe: it runs in a task of its own, first after `probe_seconds`, then at twice that.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        failures_max: int = 3,
        seconds_max: float = 0.5,
        probe_seconds: float = 0.5,
    ) -> None:
        self.state = BreakerState.CLOSED
        #: Times it opened, and probes sent, since start.
        self.opened = 0
        self.probes = 0
        self._name = name
        self._probe = probe
        self._clock = clock
        self._failures_max = failures_max
        self._seconds_max = seconds_max
        self._probe_seconds = probe_seconds
        self._failures = 0
        self._failing_since = 0.0
        self._failed_at = 0.0
        self._prober: asyncio.Task[None] | None = None

    @property
    def lets_through(self) -> bool:
        """Whether callers may ask."""
        return self.state is BreakerState.CLOSED

    def record_success(self) -> None:
        """Forget earlier failures."""
        self._failures = 0

    def record_failure(self, reason: str, started_at: float) -> None:
        """Count the failure of a call that began at monotonic time `started_at`; may open.

        Calls that were under way when another failed say nothing new: a burst of them counts once, or a moment in
        which this process itself had no time would look like an outage.
        """
        if self.state is not BreakerState.CLOSED or (self._failures and started_at < self._failed_at):
            return
        now = self._failed_at = self._clock.monotonic()
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if self._failures >= self._failures_max or now - self._failing_since >= self._seconds_max:
            self._open(reason)

    async def close(self) -> None:
        """Stop probing."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)

    def _open(self, reason: str) -> None:
        self.state = BreakerState.OPEN
        self.opened += 1
        log.warning("store breaker opened", store=self._name, reason=reason)
        self._prober = asyncio.get_running_loop().create_task(self._probe_until_well(), name="store-probe")

    async def _probe_until_well(self) -> None:
        opened_at = self._clock.monotonic()
        pause = self._probe_seconds
        while True:
            await asyncio.sleep(pause)
            self.state = BreakerState.HALF_OPEN
            self.probes += 1
            try:
                await self._probe()
            except StoreUnavailable:
                self.state = BreakerState.OPEN
                pause = 2 * self._probe_seconds
            else:
                self.state = BreakerState.CLOSED
                self._failures = 0
                log.warning(
                    "store breaker closed", store=self._name, open_seconds=round(self._clock.monotonic() - opened_at, 3)
                )
                return
