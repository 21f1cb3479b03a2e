"""One random fault after the other, for long runs: a provider that misbehaves in eleven ways, and a job worker that dies or freezes."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

import psutil

from tests.support.chaos import ChaosProxy, Faults

#: Seconds for which a fault lasts.
LASTS: float = 6.0
#: Seconds after a fault in which a call may still fail: connections it broke are found broken when they are used.
GRACE: float = 4.0

#: What the provider's connections do, upwards (what it is sent) or downwards (what it answers).
_UPWARDS = {"does not read": Faults(stall=True), "loses requests": Faults(black_hole=True)}
_DOWNWARDS = {
    "answers late": Faults(latency=0.5, jitter=1.0),
    "answers slowly": Faults(bandwidth=400),
    "answers byte by byte": Faults(slice_bytes=1),
    "stalls": Faults(stall=True),
    "ends in the middle": Faults(cut_after=120),
    "resets in the middle": Faults(reset_after=120),
    "closes one way": Faults(half_close_after=120),
}
_OF_THE_PROVIDER = (*_UPWARDS, *_DOWNWARDS, "resets everything", "has closed its port")
_OF_THE_WORKER = ("worker frozen", "worker killed")


class Misfortune:
    """Lets something go wrong every `every` seconds, until it is stopped; use as a context manager.

    `worker` finds the job worker at the moment. It is killed in the first `kills_for` seconds only, so that one process is there to
    be watched from then on.
    """

    def __init__(
        self, proxy: ChaosProxy, worker: Callable[[], psutil.Process | None], *, every: float, kills_for: float
    ) -> None:
        self.happened: Counter[str] = Counter()
        self._proxy, self._worker, self._every = proxy, worker, every
        self._chance = random.Random(24)
        self._kills_for = kills_for
        self._excused_until = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="misfortune", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def excuses(self, began: float) -> bool:
        """Say whether a call that began then, by the monotonic clock, and failed now met a fault."""
        return began < self._excused_until

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(max(self._every - LASTS, 0.0)):
            kinds = _OF_THE_PROVIDER + _OF_THE_WORKER
            kind = self._chance.choice(kinds if time.monotonic() - began < self._kills_for else kinds[:-1])
            self.happened[kind] += 1
            self._excused_until = time.monotonic() + LASTS + GRACE
            if kind in _OF_THE_PROVIDER:
                self._trouble_provider(kind)
            else:
                self._trouble_worker(kind)

    def _trouble_provider(self, kind: str) -> None:
        proxy = self._proxy
        proxy.up, proxy.down = _UPWARDS.get(kind, Faults()), _DOWNWARDS.get(kind, Faults())
        if kind == "has closed its port":
            proxy.close_port()
        proxy.refuse = kind == "resets everything"
        if proxy.refuse or kind == "has closed its port":
            proxy.reset_all()
        self._over.wait(LASTS)
        proxy.heal()
        # What was lost on the way is not waited for any longer: its connection ends, as it does behind a router that starts anew.
        if kind == "loses requests":
            proxy.reset_all()
        if kind == "has closed its port":
            proxy.open_port()
        self._excused_until = time.monotonic() + GRACE

    def _trouble_worker(self, kind: str) -> None:
        found = self._worker()
        # It may be on its way back from the fault before.
        with contextlib.suppress(psutil.NoSuchProcess):
            if found is not None and kind == "worker killed":
                found.send_signal(signal.SIGKILL)
            elif found is not None:
                found.send_signal(signal.SIGSTOP)
                self._over.wait(LASTS)
                found.send_signal(signal.SIGCONT)
