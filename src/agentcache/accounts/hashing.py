"""Password hashes: argon2id, few at a time, so that a flood of sign-ins cannot take the memory or the processor."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.hashers import Argon2PasswordHasher

from agentcache.kit.errors import Unavailable

#: Each running hash holds 46 MiB and a whole core; where there are but two cores, one is left to the cache.
SLOTS = 2 if (os.cpu_count() or 1) > 2 else 1
#: Callers who may wait for a slot; the next one is asked to come back.
QUEUE = 32


class TooManyHashes(Unavailable):
    """Too many people are signing in at this moment; try again shortly."""

    code = "sign_in_busy"


class Slots:
    """A few places to work and a short queue; whoever finds the queue full is turned away at once."""

    def __init__(self, slots: int, queue: int) -> None:
        self._running = threading.BoundedSemaphore(slots)
        self._admitted = threading.BoundedSemaphore(slots + queue)
        self._mine = threading.local()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the queue, before anything else is done for the caller. Raises `TooManyHashes`."""
        if getattr(self._mine, "held", False):
            yield
            return
        if not self._admitted.acquire(blocking=False):
            raise TooManyHashes
        self._mine.held = True
        try:
            yield
        finally:
            self._mine.held = False
            self._admitted.release()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place to work."""
        with self.place(), self._running:
            yield


SLOTS_OF_PROCESS = Slots(SLOTS, QUEUE)


class Argon2id(Argon2PasswordHasher):
    """OWASP's second setting for argon2id: 46 MiB, one lane; two passes, where it asks for one."""

    time_cost = 2
    memory_cost = 46 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        """Return the hash of a password."""
        with SLOTS_OF_PROCESS.slot():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Say whether a password belongs to a hash."""
        with SLOTS_OF_PROCESS.slot():
            return super().verify(password, encoded)

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: there is one setting only, and hashes of a former one are renewed at the next sign-in."""
