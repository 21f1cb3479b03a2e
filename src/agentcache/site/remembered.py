"""A value that is made at most every so many seconds in a process, however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from agentcache.kit.clock import Clock, SystemClock

T = TypeVar("T")


class Remembered(Generic[T]):
    """Keeps one value for as long as `seconds_of` it says. The key says what it was made for; another makes it anew."""

    def __init__(self, seconds_of: Callable[[T], float], clock: Clock | None = None) -> None:
        self._seconds_of = seconds_of
        self._clock = clock or SystemClock()
        # One at a time makes it: visitors who come together wait for the first instead of asking the database, too.
        self._lock = threading.Lock()
        self._kept: tuple[object, float, T] | None = None

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return the value, made now if there is none or it is too old. What `make` raises is not kept."""
        with self._lock:
            now = self._clock.monotonic()
            if self._kept is not None and self._kept[0] == key and now < self._kept[1]:
                return self._kept[2]
            value = make()
            self._kept = (key, now + self._seconds_of(value), value)
            return value

    def forget(self) -> None:
        """Have the value made anew when it is asked for next."""
        with self._lock:
            self._kept = None
